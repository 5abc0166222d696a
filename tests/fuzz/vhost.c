/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user back end that lies: its answers to the handshake, and then what it
 * leaves in the used rings and the buffers.  Input: u8 length of the answers, the
 * answers; then turns of u8 ring, u32 slot, u32 length, u16 used index, 12 bytes of
 * header and 64 of frame for the slot's buffer.
 */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "lib/fuzz.h"
#include "net/ring.h"
#include "net/vhost.h"

enum { TURN = 1 + 4 + 4 + 2 + 12 + 64 };

static struct vhost v;
static struct ring ring, machine;
static struct ring_fds fds;

static void build(void)
{
	struct error err;
	if (!vhost_memory_make(&v.memory, &err) || !ring_make(&fds, &err) || !ring_open(&ring, &fds, true, &err) ||
	    !ring_open(&machine, &fds, false, &err))
		abort();
	v.port = &ring;
	for (unsigned i = 0; i < VHOST_RINGS; i++) {
		v.bells.kick[i] = eventfd(0, EFD_NONBLOCK);
		v.bells.call[i] = eventfd(0, EFD_NONBLOCK);
	}
}

static size_t answer(uint8_t *p, uint32_t request, uint64_t value)
{
	le32_put(p, request);
	le32_put(p + 4, 5);
	le32_put(p + 8, 8);
	le64_put(p + 12, value);
	return 20;
}

static size_t turn(uint8_t *p, unsigned at, uint32_t slot, uint32_t len, uint16_t used)
{
	memset(p, 0, TURN);
	p[0] = (uint8_t)at;
	le32_put(p + 1, slot);
	le32_put(p + 5, len);
	le16_put(p + 9, used);
	memset(p + 23, 0xff, 6);
	return TURN;
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	uint8_t *p = buf + 1;
	if (n > 1)
		return 0;
	p += answer(p, 1, n ? 0x140000003ull : 0x1000000ffull);
	if (n) {
		p += answer(p, 15, 8);
		p += answer(p, 5, 0);
	}
	buf[0] = (uint8_t)(p - buf - 1);
	p += turn(p, 0, 127, 80, 1);
	p += turn(p, 0, 126, 60000, 2);
	p[-76] = 1;
	p += turn(p, 1, 0, 0, 1);
	return (size_t)(p - buf);
}

static void handshake(const uint8_t *data, size_t size)
{
	int pair[2];
	unsigned caps;
	struct error err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	if (write(pair[1], data, size) != (ssize_t)size)
		abort();
	shutdown(pair[1], SHUT_WR);
	if (vhost_handshake(pair[0], &v.memory, &v.bells, &caps, &err))
		v.caps = caps;
	close(pair[0]);
	close(pair[1]);
}

/* What the guest sends, plain and unfinished, so that slots are lent. */
static void offer(void)
{
	static const uint8_t head[NET_HDR + 60] = { 1, 1, 0, 0, 0, 2, 34, 0, 16, [NET_HDR + 12] = 8, [NET_HDR + 14] = 0x45,
						    [NET_HDR + 23] = 6, [NET_HDR + 46] = 0x50 };
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *p = ring_reserve(&machine, sizeof(head));
		if (!p)
			return;
		memcpy(p, head, sizeof(head));
		if (i)
			memset(p, 0, NET_HDR);
		ring_commit(&machine, sizeof(head));
	}
	ring_publish(&machine);
}

static void take(void)
{
	size_t len;
	while (ring_peek(&machine, &len)) {
		if (len > RING_RECORD_MAX)
			abort();
		ring_release(&machine, len);
	}
	ring_done(&machine);
	if (machine.broken)
		abort();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (!v.port)
		build();
	vhost_memory_reset(&v.memory);
	v.caps = size & 7;
	atomic_store(&ring.shared->caps, (uint32_t)(size >> 3) & 7);
	size_t n = size ? MIN((size_t)data[0], size - 1) : 0;
	if (n)
		handshake(data + 1, n);
	for (data += n + 1, size -= MIN(size, n + 1); size >= TURN; data += TURN, size -= TURN) {
		struct vhost_ring *r = &v.memory.ring[data[0] & 1];
		uint32_t slot = le32_get(data + 1);
		le32_put(r->used + 4 + 8 * (r->seen % VHOST_SLOTS), slot);
		le32_put(r->used + 8 + 8 * (r->seen % VHOST_SLOTS), le32_get(data + 5));
		le16_put(r->used + 2, le16_get(data + 9));
		memcpy(vhost_ring_buffer(r, slot % VHOST_SLOTS), data + 11, 76);
		offer();
		vhost_send_frames(&v);
		vhost_take_frames(&v);
		take();
		for (unsigned i = 0; i < VHOST_RINGS; i++)
			if (v.memory.ring[i].nfree > VHOST_SLOTS)
				abort();
	}
}
