/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine for tests of the board's chips: RAM, ports, a loop, a clock that
 * stands still until it is set, one vCPU that runs nothing.  Interrupt messages
 * are only recorded; with FIXTURE_HAS_LAPICS they go to engine/soft's local APICs.
 */
#ifndef TESTS_BOARD_FIXTURE_H
#define TESTS_BOARD_FIXTURE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/epoch.h"
#include "device/chipset.h"
#include "machine/machine.h"
#include "engine/lapic.h"

struct fixture {
	struct machine m;
	struct machine_config config;
	struct vcpu vcpu, *vcpus[1];
	unsigned messages, kicks, resets;      /* what reached the CPUs and the machine */
	uint8_t last_vector;
	enum machine_end end;
	int end_status;
};
static struct fixture fx;

/* --- what the chips call ---------------------------------------------------- */
void device_add(struct machine *m, struct device *d, const struct device_ops *ops, const char *id)
{
	struct device **p = &m->devices;
	while (*p)
		p = &(*p)->next;
	d->ops = ops;
	d->machine = m;
	snprintf(d->id, sizeof(d->id), "%s", id);
	*p = d;
}
#ifndef FIXTURE_HAS_LAPICS
void lapic_deliver(struct machine *m, uint32_t dest, bool logical, unsigned mode, uint8_t vector,
		   bool level, bool x2)
{
	fx.messages++;
	fx.last_vector = vector;
}
void lapic_msi(struct machine *m, uint64_t addr, uint32_t data)
{
	fx.messages++;
	fx.last_vector = (uint8_t)data;
}
#endif
void vcpu_request(struct vcpu *v, uint32_t bits) { fx.kicks++; }
void machine_reset_request(struct machine *m) { fx.resets++; }
void machine_end_request(struct machine *m, enum machine_end why, int status)
{
	fx.end = why;
	fx.end_status = status;
}

/* --- set-up ------------------------------------------------------------------ */
static void lock_board(void *m) { board_lock(m); }
static void unlock_board(void *m) { board_unlock(m); }

static UNUSED struct machine *fixture_new(uint64_t ram)
{
	memset(&fx, 0, sizeof(fx));
	struct machine *m = &fx.m;
	fx.config = (struct machine_config){
		.vcpus = 1, .memory = ram, .kernel_fd = -1, .initrd_fd = -1, .firmware_fd = -1, .nvram_fd = -1, .video_rom_fd = -1,
		.serial_fd = { -1, -1 }, .console_fd = -1, .control_fd = -1, .gdb_fd = -1,
		.state_fd = -1, .tpm_fd = -1, .tpm_data_fd = -1, .sound_fd = -1,
	};
	epoch_enter();
	static const struct engine_ops no_engine = { .name = "none" };
	m->config = &fx.config;
	m->engine = &no_engine;
	pthread_mutex_init(&m->board, NULL);
	m->memory = memory_new(BIT(40) - 1);
	m->ports = memory_new(0xffff);
	memory_set_lock(m->memory, lock_board, unlock_board, m);
	memory_set_lock(m->ports, lock_board, unlock_board, m);
	m->ram_low = memory_add_ram(m->memory, "ram-low", 0, MIN(ram, BOARD_LOW_RAM_MAX), 0, false,
				    -1, 0, NULL);
	assert_non_null(m->ram_low);
	if (ram > BOARD_LOW_RAM_MAX)
		m->ram_high = memory_add_ram(m->memory, "ram-high", BOARD_HIGH_RAM,
					     ram - BOARD_LOW_RAM_MAX, 0, false, -1, 0, NULL);
	m->loop = loop_new(NULL);
	m->clock = clock_new(m->loop, NULL);
	fx.vcpu.machine = m;
	fx.vcpus[0] = &fx.vcpu;
	m->vcpus = fx.vcpus;
	m->nvcpus = 1;
	m->board_data = xnew(struct board);
	return m;
}

/* The chips that others need for their interrupt lines. */
static UNUSED void fixture_controllers(struct machine *m)
{
	assert_true(i8259_create(m, NULL) && ioapic_create(m, NULL));
}

static UNUSED void fixture_free(struct machine *m)
{
	for (struct device *d = m->devices, *next; d; d = next) {
		next = d->next;
		if (d->ops->destroy)
			d->ops->destroy(d);
	}
	board_free(m);
	clock_free(m->clock);
	loop_free(m->loop);
	memory_free(m->ports);
	memory_free(m->memory);
	pthread_mutex_destroy(&m->board);
	epoch_leave();
}

/* --- access ------------------------------------------------------------------ */
static UNUSED uint32_t in(unsigned port, unsigned size)
{ return (uint32_t)memory_load(fx.m.ports, port, size); }
static UNUSED uint8_t inb(unsigned port) { return (uint8_t)in(port, 1); }
static UNUSED void out(unsigned port, uint32_t v, unsigned size)
{ memory_store(fx.m.ports, port, v, size); }
static UNUSED void outb(unsigned port, uint8_t v) { out(port, v, 1); }
static UNUSED uint32_t mmio_in(uint64_t gpa) { return (uint32_t)memory_load(fx.m.memory, gpa, 4); }
static UNUSED void mmio_out(uint64_t gpa, uint32_t v) { memory_store(fx.m.memory, gpa, v, 4); }

static void stop_loop(void *m) { loop_stop(((struct machine *)m)->loop); }

/* Turn the loop once, so that timers that are due fire. */
static UNUSED void fixture_turn(struct machine *m)
{
	loop_post(m->loop, stop_loop, m);
	loop_run(m->loop);
}

/* Of 200 us each: what waits for a disk's threads gives a busy host a minute. */
enum { FIXTURE_TURNS = 300000 };

/* Run the machine's clock from `ns` on until *counter changes or 2 s pass. */
static UNUSED bool fixture_until(struct machine *m, const unsigned *counter, unsigned old)
{
	clock_resume(m->clock);
	for (unsigned i = 0; i < 2000 && *counter == old; i++) {
		fixture_turn(m);
		usleep(1000);
	}
	clock_pause(m->clock);
	return *counter != old;
}

/* Save device `d` and load it again over itself: the record must be stable. */
static UNUSED void fixture_state_round_trip(struct device *d)
{
	struct state *s = state_save_new(), *l, *again = state_save_new();
	size_t n, n2;
	assert_true(d->ops->xfer(d, s, d->ops->version));
	const void *bytes = state_bytes(s, &n);
	l = state_load_new(bytes, n);
	assert_true(d->ops->xfer(d, l, d->ops->version));
	if (d->ops->loaded)
		d->ops->loaded(d);
	assert_true(d->ops->xfer(d, again, d->ops->version));
	const void *bytes2 = state_bytes(again, &n2);
	assert_int_equal(n, n2);
	assert_memory_equal(bytes, bytes2, n);
	state_free(s);
	state_free(l);
	state_free(again);
}

static UNUSED int fixture_file(const void *data, size_t n)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0 && fd_write_full(fd, data, n));
	return fd;
}

#endif
