/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between the rings of a machine's port and the queues of a vhost-user back
 * end: see vhost.h.  Both sides may change what they gave: a frame is copied once,
 * and its header judged from the copy.
 */
#include "net/vhost.h"

#include "net/ring.h"
#include "net/switch/frame.h"

enum { BATCH = 64 };

static void call(int bell)
{
	uint64_t one = 1;
	ssize_t n UNUSED = write(bell, &one, sizeof(one));
}

/* virtio 1.2 5.1.6.2: what was not negotiated is not used. */
static bool fits(const uint8_t *record, size_t len, unsigned caps, bool *sound)
{
	struct frame f;
	*sound = frame_begin(&f, record, record + NET_HDR, len - NET_HDR);
	return *sound && frame_fits(&f, caps) && !(f.vnet[VNET_GSO] & VNET_ECN);
}

/* ---- to the back end ---- */

static void reclaim(struct vhost_ring *r)
{
	uint32_t len;
	for (int slot; (slot = vhost_ring_next(r, &len)) >= 0; )
		vhost_ring_return(r, (unsigned)slot);
}

/* A free slot; without one, the back end is asked to tell. */
static int slot_for(struct vhost_ring *r)
{
	reclaim(r);
	int slot = vhost_ring_take(r);
	if (slot < 0 && !vhost_ring_arm(r, true)) {
		reclaim(r);
		slot = vhost_ring_take(r);
	}
	return slot;
}

/* The frames that an unfinished one becomes; where there is no slot, the rest is lost. */
static void send_pieces(struct vhost_ring *r, unsigned slot, size_t len)
{
	static uint8_t whole[NET_HDR + NET_FRAME_MAX];
	struct net_split split;
	memcpy(whole, vhost_ring_buffer(r, slot), len);
	bool ok = net_split_begin(&split, whole, whole + NET_HDR, len - NET_HDR);
	for (int s = (int)slot; s >= 0; s = slot_for(r)) {
		uint8_t *p = vhost_ring_buffer(r, (unsigned)s);
		size_t n = ok ? net_split_next(&split, p + NET_HDR) : 0;
		if (!n) {
			vhost_ring_return(r, (unsigned)s);
			return;
		}
		memset(p, 0, NET_HDR);
		vhost_ring_lend(r, (unsigned)s, (uint32_t)(NET_HDR + n), false);
	}
}

unsigned vhost_send_frames(struct vhost *v)
{
	struct vhost_ring *r = &v->memory.ring[VHOST_TX];
	const uint8_t *p;
	size_t len;
	unsigned n;
	int slot;
	vhost_ring_arm(r, false);
	for (n = 0; n < BATCH && (p = ring_peek(v->port, &len)) && (slot = slot_for(r)) >= 0; n++) {
		uint8_t *b = vhost_ring_buffer(r, (unsigned)slot);
		bool sound = false;
		memcpy(b, p, len);
		ring_release(v->port, len);
		if (len > NET_HDR && fits(b, len, v->caps, &sound))
			vhost_ring_lend(r, (unsigned)slot, (uint32_t)len, false);
		else if (sound)
			send_pieces(r, (unsigned)slot, len);
		else
			vhost_ring_return(r, (unsigned)slot);
	}
	ring_done(v->port);
	if (n && vhost_ring_wants_kick(r))
		call(v->bells.kick[VHOST_TX]);
	return n;
}

/* ---- from the back end ---- */

static bool receive_pieces(struct ring *port, uint8_t *record, size_t len)
{
	struct net_split split;
	if (!net_split_begin(&split, record, record + NET_HDR, len - NET_HDR))
		return true;
	for (size_t n; ; ) {
		uint8_t *out = ring_reserve(port, NET_HDR + NET_FRAME_MAX);
		if (!out || !(n = net_split_next(&split, out + NET_HDR)))
			return out;
		memset(out, 0, NET_HDR);
		ring_commit(port, NET_HDR + n);
	}
}

/* num_buffers is the machine's own device's to say. */
static bool receive(struct ring *port, const uint8_t *p, size_t len)
{
	static uint8_t record[NET_HDR + NET_FRAME_MAX];
	bool sound;
	if (len <= NET_HDR || len > sizeof(record))
		return true;
	memcpy(record, p, len);
	memset(record + 10, 0, 2);
	if (!fits(record, len, atomic_load_explicit(&port->shared->caps, memory_order_relaxed), &sound))
		return !sound || receive_pieces(port, record, len);
	uint8_t *out = ring_reserve(port, len);
	if (!out)
		return false;
	memcpy(out, record, len);
	ring_commit(port, len);
	return true;
}

unsigned vhost_take_frames(struct vhost *v)
{
	struct vhost_ring *r = &v->memory.ring[VHOST_RX];
	uint32_t len;
	unsigned n;
	int slot;
	for (n = 0; n < BATCH; n++) {
		if (!ring_reserve(v->port, NET_HDR + NET_FRAME_MAX)) {     /* before a buffer comes back */
			ring_publish(v->port);
			ring_want_room(v->port);
			if (!ring_reserve(v->port, NET_HDR + NET_FRAME_MAX))
				break;
		}
		if ((slot = vhost_ring_next(r, &len)) < 0)
			break;
		receive(v->port, vhost_ring_buffer(r, (unsigned)slot), len);
		vhost_ring_lend(r, (unsigned)slot, VHOST_BUFFER, true);
	}
	ring_publish(v->port);
	if (n && vhost_ring_wants_kick(r))
		call(v->bells.kick[VHOST_RX]);
	return n;
}
