/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng (virtio 1.2 5.4): the host kernel's random bytes, at most RATE a
 * second, so that a guest cannot keep a host CPU busy making them.
 */
#include "device/virtio/virtio.h"

#include <sys/random.h>

#include "machine/machine.h"

enum { RATE = 1 << 20, BURST = 64 << 10, LEAST = 64, PIECE = 4096 };

struct virtio_rng {
	struct virtio_device v;
	struct clock_timer timer;
	uint64_t tokens, refilled;        /* bytes; ns of machine time */
};

static void refill(struct virtio_rng *r)
{
	uint64_t now = clock_now(r->v.pci.dev.machine->clock);
	uint64_t add = muldiv64(MIN(now - r->refilled, 1000000000ull), RATE, 1000000000);
	if (now < r->refilled)            /* the clock was set back by a load */
		add = BURST;
	if (!add)
		return;
	r->tokens = MIN(r->tokens + add, (uint64_t)BURST);
	r->refilled = now;
}

static bool fill(struct virtio_rng *r, struct virtqueue *vq)
{
	struct virtq_chain c;
	uint8_t buf[PIECE];
	if (virtq_pop(vq, &c) <= 0)
		return false;
	size_t most = MIN(r->tokens, (uint64_t)PIECE);
	ssize_t n = getrandom(buf, MIN(c.in_len, most), 0);
	n = MAX(n, (ssize_t)0);
	buf_to_iov(c.in, c.nin, 0, buf, (size_t)n);
	r->tokens -= MAX((uint64_t)n, (uint64_t)LEAST);       /* an empty buffer costs too */
	virtq_push(vq, &c, (uint32_t)n);
	return true;
}

static void rng_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_rng *r = container_of(v, struct virtio_rng, v);
	refill(r);
	while (r->tokens >= LEAST && fill(r, &v->vq[q]))
		;
	if (r->tokens < LEAST)
		clock_timer_set(&r->timer, r->refilled + muldiv64(PIECE, 1000000000, RATE));
	virtq_signal(&v->vq[q]);
}

static void timer_fired(void *opaque)
{
	struct virtio_rng *r = opaque;
	virtio_kick(&r->v, 0);
}

static void rng_destroy(struct virtio_device *v)
{
	struct virtio_rng *r = container_of(v, struct virtio_rng, v);
	clock_timer_cancel(&r->timer);
	free(r);
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng", .device_id = 4, .class_rev = 0x00ff0001, .version = 1,
	.queues = 1, .queue_size = 64, .notify = rng_notify, .destroy = rng_destroy,
};

bool virtio_rng_create(struct machine *m, struct error *err)
{
	struct virtio_rng *r = xnew(struct virtio_rng);
	char id[32];
	r->tokens = BURST;
	clock_timer_init(&r->timer, m->clock, timer_fired, r);
	virtio_id(m, &rng_ops, id);
	if (virtio_init(m, &r->v, &rng_ops, id, err))
		return true;
	free(r);
	return false;
}
