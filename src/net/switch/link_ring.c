/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A port of the switch whose other side is a process with rings (net/ring.h). */
#include "net/switch/link.h"
#include "net/ring.h"

struct ring_link { struct link link; struct ring ring; struct ring_fds fds; };

static struct ring_link *link_of(struct sw_port *p)
{
	return container_of((struct link *)p->link, struct ring_link, link);
}

/* ---- unfinished frames for a port that takes finished ones ---- */

static uint8_t *finish_room(void *opaque, size_t most)
{
	uint8_t *p = ring_reserve(opaque, NET_HDR + most);
	if (p)
		memset(p, 0, NET_HDR);
	return p ? p + NET_HDR : NULL;
}

static void finish_emit(void *opaque, size_t len)
{
	ring_commit(opaque, NET_HDR + len);
}

static bool ring_put(struct sw_port *p, const struct frame *f, bool tagged)
{
	struct ring *r = &link_of(p)->ring;
	if (unlikely(!frame_fits(f, atomic_load_explicit(&r->shared->caps, memory_order_relaxed))))
		return sw_finish(p->sw, f, tagged, finish_room, finish_emit, r);
	size_t len = NET_HDR + frame_len(f) + (tagged ? TAG : 0);
	uint8_t *out = ring_reserve(r, len);
	if (unlikely(!out))
		return false;
	frame_vnet(f, tagged, out);
	frame_write(f, tagged, out + NET_HDR);
	ring_commit(r, len);
	return true;
}

static void ring_flush(struct sw_port *p)
{
	ring_publish(&link_of(p)->ring);
}

static const struct sw_link_ops ops = { .put = ring_put, .flush = ring_flush };

/* The bell is watched edge-triggered, so it need never be read. */
static unsigned ring_poll(struct link *l, unsigned budget)
{
	struct ring_link *k = container_of(l, struct ring_link, link);
	struct ring *r = &k->ring;
	struct frame f;
	const uint8_t *p;
	size_t len;
	unsigned n;
	for (n = 0; n < budget && (p = ring_peek(r, &len)); n++) {
		if (likely(len > NET_HDR && frame_begin(&f, p, p + NET_HDR, len - NET_HDR)))
			sw_input(l->port, &f);
		else
			sw_count_drop(l->port, SW_DROP_malformed);
		ring_release(r, len);
	}
	ring_done(r);
	return n;
}

static bool ring_arm(struct link *l)
{
	return ring_sleep(&container_of(l, struct ring_link, link)->ring);
}

static bool ring_broken(const struct link *l)
{
	return container_of(l, struct ring_link, link)->ring.broken;
}

static void ring_poll_time(struct link *l, unsigned us)
{
	atomic_store(&container_of(l, struct ring_link, link)->ring.shared->poll, us);
}

static void ring_free(struct link *l)
{
	struct ring_link *k = container_of(l, struct ring_link, link);
	ring_close(&k->ring);
	ring_fds_close(&k->fds);
	free(k);
}

static const struct link_ops link_ops = {
	.poll = ring_poll, .arm = ring_arm, .broken = ring_broken, .poll_time = ring_poll_time, .free = ring_free,
};

struct link *link_ring(struct sw *s, const struct link_request *r, struct error *err)
{
	if (r->nfds != 3)
		return error_null(err, 0, "a ring port needs three descriptors");
	struct ring_link *k = xnew(struct ring_link);
	k->fds = (struct ring_fds){ r->fds[0], r->fds[1], r->fds[2] };
	if (!ring_open(&k->ring, &k->fds, true, err)) {
		free(k);
		return NULL;
	}
	k->link.fd = k->fds.to_switch;
	k->link.edge = true;
	if (link_plug(&k->link, s, r, &link_ops, &ops, err))
		return &k->link;
	ring_close(&k->ring);
	free(k);
	return NULL;
}
