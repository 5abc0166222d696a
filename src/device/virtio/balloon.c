/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon (virtio 1.2 5.5): pages the guest gives up, and free pages it
 * reports, go back to the host at once.  The driver takes pages back without
 * asking when it runs out of memory.  Statistics arrive in a buffer that the
 * device keeps until it wants fresh ones.
 */
#include "device/virtio/virtio.h"

#include "machine/machine.h"

enum { F_MUST_TELL_HOST = 0, F_STATS_VQ = 1, F_DEFLATE_ON_OOM = 2, F_REPORTING = 5 };
enum { INFLATE, DEFLATE, STATS, REPORTING, QUEUES };
enum { QUEUE = 128, CONFIG_SIZE = 8, PFN_SHIFT = 12, BATCH = 64 };

struct virtio_balloon {
	struct virtio_device v;
	uint32_t target, actual;          /* pages of 4 KiB in the balloon */
	bool stats_held;
	struct virtq_chain chain, stats_chain;
	uint64_t stats[BALLOON_STATS];
};

/* Give the pages of one request back, neighbours together. */
static void inflate(struct virtio_balloon *b, const struct virtq_chain *c)
{
	struct memory *m = b->v.pci.dev.machine->memory;
	uint64_t first = 0, count = 0;
	uint8_t raw[4];
	for (size_t at = 0; iov_to_buf(c->out, c->nout, at, raw, 4) == 4; at += 4) {
		uint64_t pfn = le32_get(raw);
		if (count && pfn == first + count) {
			count++;
		} else if (count && pfn + 1 == first) {
			first--;
			count++;
		} else {
			memory_discard(m, first << PFN_SHIFT, count << PFN_SHIFT);
			first = pfn;
			count = 1;
		}
	}
	memory_discard(m, first << PFN_SHIFT, count << PFN_SHIFT);
}

static void report(struct virtio_balloon *b, const struct virtq_chain *c)
{
	for (unsigned i = 0; i < c->npins; i++)
		memory_discard(b->v.pci.dev.machine->memory, c->pin[i].gpa, c->pin[i].len);
}

/* 5.5.6.3: (tag, value) pairs, 10 bytes each. */
static void read_stats(struct virtio_balloon *b, const struct virtq_chain *c)
{
	uint8_t raw[10];
	for (size_t at = 0; iov_to_buf(c->out, c->nout, at, raw, 10) == 10; at += 10)
		if (le16_get(raw) < BALLOON_STATS)
			b->stats[le16_get(raw)] = le64_get(raw + 2);
}

static void take_stats(struct virtio_balloon *b)
{
	if (b->stats_held || virtq_pop(&b->v.vq[STATS], &b->stats_chain) <= 0)
		return;
	read_stats(b, &b->stats_chain);
	b->stats_held = true;
}

static void balloon_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	unsigned n;
	if (q == STATS) {
		take_stats(b);
		return;
	}
	for (n = 0; n < BATCH && virtq_pop(&v->vq[q], &b->chain) > 0; n++) {
		if (q == INFLATE)
			inflate(b, &b->chain);
		else if (q == REPORTING)
			report(b, &b->chain);
		virtq_push(&v->vq[q], &b->chain, 0);
	}
	virtq_signal(&v->vq[q]);
	if (n == BATCH)
		virtio_kick(v, q);
}

static void balloon_config(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	uint8_t c[CONFIG_SIZE];
	le32_put(c, b->target);
	le32_put(c + 4, b->actual);
	memcpy(buf, c + off, n);
}

static void balloon_config_write(struct virtio_device *v, unsigned off, const void *buf, unsigned n)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	if (off == 4 && n == 4)
		b->actual = le32_get(buf);
}

static void balloon_reset(struct virtio_device *v)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	if (b->stats_held)
		virtq_drop(&v->vq[STATS], &b->stats_chain);
	b->stats_held = false;
	b->actual = 0;
}

static void balloon_drain(struct virtio_device *v)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	if (b->stats_held)
		virtq_unpop(&v->vq[STATS], &b->stats_chain);   /* taken again afterwards */
	b->stats_held = false;
}

static bool balloon_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	xfer_u32(s, &b->target);
	xfer_u32(s, &b->actual);
	return state_ok(s);
}

static void balloon_destroy(struct virtio_device *v)
{
	free(container_of(v, struct virtio_balloon, v));
}

static const struct virtio_ops balloon_ops = {
	.name = "virtio-balloon", .device_id = 5, .class_rev = 0x00ff0001, .version = 1,
	.features = BIT(F_MUST_TELL_HOST) | BIT(F_STATS_VQ) | BIT(F_DEFLATE_ON_OOM) | BIT(F_REPORTING),
	.queues = QUEUES, .queue_size = QUEUE, .config_size = CONFIG_SIZE,
	.config_read = balloon_config, .config_write = balloon_config_write,
	.notify = balloon_notify, .reset = balloon_reset, .xfer = balloon_xfer,
	.drain = balloon_drain, .destroy = balloon_destroy,
};

static struct virtio_balloon *find(struct machine *m)
{
	for (struct device *d = m->devices; d; d = d->next)
		if (!strcmp(d->ops->name, balloon_ops.name))
			return container_of(container_of(container_of(d, struct pci_function, dev),
					struct virtio_device, pci), struct virtio_balloon, v);
	return NULL;
}

bool virtio_balloon_set(struct machine *m, uint64_t bytes)
{
	struct virtio_balloon *b = find(m);
	if (!b)
		return false;
	b->target = (uint32_t)MIN(bytes >> PFN_SHIFT, (uint64_t)UINT32_MAX);
	virtio_config_changed(&b->v);
	return true;
}

bool virtio_balloon_get(struct machine *m, uint64_t *bytes, uint64_t stats[BALLOON_STATS])
{
	struct virtio_balloon *b = find(m);
	if (!b)
		return false;
	*bytes = (uint64_t)b->actual << PFN_SHIFT;
	memcpy(stats, b->stats, sizeof(b->stats));
	if (b->stats_held) {              /* giving the buffer back asks for fresh ones */
		b->stats_held = false;
		virtq_push(&b->v.vq[STATS], &b->stats_chain, 0);
		virtq_signal(&b->v.vq[STATS]);
	}
	return true;
}

bool virtio_balloon_create(struct machine *m, struct error *err)
{
	struct virtio_balloon *b = xnew(struct virtio_balloon);
	char id[32];
	memset(b->stats, 0xff, sizeof(b->stats));
	virtio_id(m, &balloon_ops, id);
	if (virtio_init(m, &b->v, &balloon_ops, id, err))
		return true;
	free(b);
	return false;
}
