/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's virtio driver for tests: 16 MiB of RAM, a loop, a clock, a PCI layer
 * that only remembers (BAR n of the one device at 0xe0000000 + n * 64 KiB), and
 * split rings driven through the device's own registers.
 */
#ifndef TESTS_VIRTIO_GUEST_H
#define TESTS_VIRTIO_GUEST_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "base/epoch.h"
#include "device/virtio/virtio.h"
#include "machine/machine.h"

enum { G_RAM = 16 << 20, G_BUFS = 0x100000 };
enum { G_NOTIFY = 2 };

struct guest {
	struct machine m;
	struct ram_slot *ram;
	unsigned irqs[VIRTIO_MAX_QUEUES + 1];   /* MSI-X messages a vector */
	bool msix, intx;
};
struct g_queue {
	unsigned index, size;
	uint64_t desc, avail, used;
	uint16_t next_desc, avail_idx, seen;
};
struct g_buf { uint64_t gpa; uint32_t len; };

static struct guest *the_guest;

/* --- the PCI layer -------------------------------------------------------- */

bool pci_function_init(struct machine *m, struct pci_function *f, int slot,
		       const struct pci_ids *ids, const struct device_ops *ops, const char *id,
		       struct error *err)
{
	f->dev.ops = ops;
	f->dev.machine = m;
	snprintf(f->dev.id, sizeof(f->dev.id), "%s", id);
	m->devices = &f->dev;
	f->next_cap = 0x40;
	return true;
}
void pci_bar_add(struct pci_function *f, unsigned n, uint64_t size, unsigned flags,
		 const struct io_ops *ops, void *opaque)
{
	memory_add_io(f->dev.machine->memory, "bar", 0xe0000000ull + n * 0x10000, size, 1, ops, opaque);
}
unsigned pci_cap_add(struct pci_function *f, uint8_t id, unsigned len)
{
	unsigned at = f->next_cap;
	f->next_cap += ALIGN_UP(len, 4u);
	return at;
}
void pci_msix_add(struct pci_function *f, unsigned bar, unsigned vectors) { }
void pci_msix_raise(struct pci_function *f, unsigned vector) { the_guest->irqs[vector]++; }
bool pci_msix_enabled(const struct pci_function *f) { return the_guest->msix; }
void pci_intx(struct pci_function *f, bool level) { the_guest->intx = level; }
bool pci_xfer(struct pci_function *f, struct state *s) { return true; }
void pci_function_reset(struct pci_function *f) { }

/* --- the machine ---------------------------------------------------------- */

static void UNUSED guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	the_guest = g;
	g->msix = true;
	epoch_enter();
	pthread_mutex_init(&g->m.board, NULL);
	g->m.virtio_bus = virtio_pci_init;
	g->m.memory = memory_new(BIT(40) - 1);
	g->m.loop = loop_new(NULL);
	g->m.clock = clock_new(g->m.loop, NULL);
	clock_resume(g->m.clock);
	g->ram = memory_add_ram(g->m.memory, "ram", 0, G_RAM, 0, false, -1, 0, NULL);
	assert_non_null(g->ram);
}

static UNUSED struct virtio_device *g_device(struct guest *g)
{
	return container_of(container_of(g->m.devices, struct pci_function, dev), struct virtio_device, pci);
}

static void UNUSED guest_free(struct guest *g)
{
	if (g->m.devices)
		g->m.devices->ops->destroy(g->m.devices);
	clock_free(g->m.clock);
	loop_free(g->m.loop);
	memory_free(g->m.memory);
	epoch_leave();
}

static void g_stop(void *g) { loop_stop(((struct guest *)g)->m.loop); }

/* One turn of the loop. */
static void g_turn(struct guest *g)
{
	loop_post(g->m.loop, g_stop, g);
	loop_run(g->m.loop);
}

/* Turns until *p differs from `old`, at most a few seconds. */
static bool UNUSED g_until(struct guest *g, const void *p, uint16_t old)
{
	for (unsigned i = 0; i < 5000; i++) {
		g_turn(g);
		if (le16_get(p) != old)
			return true;
		struct timespec ms = { .tv_nsec = 1000000 };
		nanosleep(&ms, NULL);
	}
	return false;
}

static uint64_t g_reg(struct guest *g, unsigned off, unsigned size)
{
	return memory_load(g->m.memory, 0xe0000000ull + off, size);
}
static void g_set(struct guest *g, unsigned off, uint64_t v, unsigned size)
{
	memory_store(g->m.memory, 0xe0000000ull + off, v, size);
}
static UNUSED void *g_ptr(struct guest *g, uint64_t gpa) { return g->ram->host + gpa; }

/* --- the driver ----------------------------------------------------------- */

static uint64_t UNUSED g_offered(struct guest *g)
{
	g_set(g, 0, 0, 4);
	uint64_t low = g_reg(g, 4, 4);
	g_set(g, 0, 1, 4);
	return low | g_reg(g, 4, 4) << 32;
}

/* As far as FEATURES_OK. */
static UNUSED void g_negotiate(struct guest *g, uint64_t features)
{
	g_set(g, 0x14, 1, 1);
	g_set(g, 0x14, 3, 1);
	for (unsigned i = 0; i < 2; i++) {
		g_set(g, 8, i, 4);
		g_set(g, 12, features >> 32 * i & 0xffffffff, 4);
	}
	g_set(g, 0x14, 11, 1);
}

static UNUSED void g_queue(struct guest *g, struct g_queue *q, unsigned index, unsigned size)
{
	*q = (struct g_queue){ .index = index, .size = size };
	q->desc = 0x10000 + index * 0x10000;
	q->avail = q->desc + 16 * VIRTIO_QUEUE_MAX;
	q->used = q->avail + 0x1000;
	memset(g_ptr(g, q->desc), 0, 0x10000);
	g_set(g, 0x16, index, 2);
	g_set(g, 0x18, size, 2);
	g_set(g, 0x1a, index + 1, 2);
	g_set(g, 0x20, q->desc, 4);
	g_set(g, 0x28, q->avail, 4);
	g_set(g, 0x30, q->used, 4);
	g_set(g, 0x1c, 1, 2);
}

static UNUSED void g_live(struct guest *g) { g_set(g, 0x14, 15, 1); g_turn(g); }
/* Reset, all that is offered, queue 0, live. */
static UNUSED void g_begin(struct guest *g, struct g_queue *q, unsigned size)
{
	g_set(g, 0x14, 0, 1);
	g_turn(g);
	g_negotiate(g, g_offered(g));
	g_queue(g, q, 0, size);
	g_live(g);
}

static bool UNUSED g_broken(struct guest *g) { return g_reg(g, 0x14, 1) & VIRTIO_STATUS_NEEDS_RESET; }

static void g_desc(struct guest *g, uint64_t table, unsigned i, uint64_t gpa, uint32_t len,
		   unsigned flags, unsigned next)
{
	uint8_t *d = g_ptr(g, table + 16 * i);
	le64_put(d, gpa);
	le32_put(d + 8, len);
	le16_put(d + 12, (uint16_t)flags);
	le16_put(d + 14, (uint16_t)next);
}

static void g_avail(struct guest *g, struct g_queue *q, unsigned head)
{
	le16_put(g_ptr(g, q->avail + 4 + 2 * (q->avail_idx % q->size)), (uint16_t)head);
	le16_put(g_ptr(g, q->avail + 2), ++q->avail_idx);
}

/* What a device has saved it loads again. */
static UNUSED void g_save_and_load(struct device *d)
{
	struct state *s = state_save_new();
	size_t n;
	if (d->ops->drain)
		d->ops->drain(d);
	d->ops->xfer(d, s, d->ops->version);
	const void *bytes = state_bytes(s, &n);
	struct state *in = state_load_new(bytes, n);
	if (!d->ops->xfer(d, in, d->ops->version))
		abort();
	state_free(in);
	state_free(s);
	if (d->ops->undrain)
		d->ops->undrain(d);
}

static UNUSED void g_kick(struct guest *g, struct g_queue *q)
{
	memory_store(g->m.memory, 0xe0000000ull + G_NOTIFY * 0x10000 + 4 * q->index, q->index, 2);
}

/* A chain of buffers, made available; does not kick. */
static unsigned UNUSED g_add(struct guest *g, struct g_queue *q, const struct g_buf *b, unsigned nout,
			     unsigned nin)
{
	unsigned head = q->next_desc, n = nout + nin;
	for (unsigned i = 0; i < n; i++) {
		unsigned at = (head + i) % q->size, next = (at + 1) % q->size;
		g_desc(g, q->desc, at, b[i].gpa, b[i].len, (i + 1 < n ? 1 : 0) | (i >= nout ? 2 : 0), next);
	}
	q->next_desc = (uint16_t)((head + n) % q->size);
	g_avail(g, q, head);
	return head;
}

static uint16_t UNUSED g_used_idx(struct guest *g, struct g_queue *q) { return le16_get(g_ptr(g, q->used + 2)); }

/* Wait for the next used element; its length, or -1. */
static int64_t UNUSED g_wait(struct guest *g, struct g_queue *q)
{
	if (g_used_idx(g, q) == q->seen && !g_until(g, g_ptr(g, q->used + 2), q->seen))
		return -1;
	return le32_get(g_ptr(g, q->used + 4 + 8 * (q->seen++ % q->size) + 4));
}

/* Add, kick, wait. */
static int64_t UNUSED g_do(struct guest *g, struct g_queue *q, const struct g_buf *b, unsigned nout,
			   unsigned nin)
{
	g_add(g, q, b, nout, nin);
	g_kick(g, q);
	return g_wait(g, q);
}

#endif
