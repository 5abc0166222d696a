/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of vhost-user: u32 request, u32 flags (version 1), u32 size, payload;
 * little-endian here as on the host.  Guest-physical addresses are offsets into the
 * one region of memory that there is; the front end's addresses are those plus BASE.
 */
#include "net/vhost.h"
#include "base/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define REQUESTS(X) \
	X(GET_FEATURES, 1) X(SET_FEATURES, 2) X(SET_OWNER, 3) X(SET_MEM_TABLE, 5) X(SET_VRING_NUM, 8) \
	X(SET_VRING_ADDR, 9) X(SET_VRING_BASE, 10) X(SET_VRING_KICK, 12) X(SET_VRING_CALL, 13) \
	X(GET_PROTOCOL_FEATURES, 15) X(SET_PROTOCOL_FEATURES, 16) X(SET_VRING_ENABLE, 18)
enum request {
#define X(name, number) name = number,
	REQUESTS(X)
#undef X
};
static const char *const names[] = {
#define X(name, number) [number] = #name,
	REQUESTS(X)
#undef X
};

enum { HEADER = 12, PAYLOAD = 64, VERSION = 1, REPLY = 4, NEED_REPLY = 8, ANSWER_MS = 20000 };
enum { F_CSUM = 0, F_GUEST_CSUM = 1, F_GUEST_TSO4 = 7, F_GUEST_TSO6 = 8, F_HOST_TSO4 = 11, F_HOST_TSO6 = 12,
       F_PROTOCOL = 30, F_VERSION_1 = 32, PROTOCOL_REPLY_ACK = 3 };
#define BASE 0x100000000ull
#define WANTED (BIT(F_CSUM) | BIT(F_GUEST_CSUM) | BIT(F_GUEST_TSO4) | BIT(F_GUEST_TSO6) | BIT(F_HOST_TSO4) | \
		BIT(F_HOST_TSO6) | BIT(F_PROTOCOL) | BIT(F_VERSION_1))

static uint64_t now_ms(void) { return monotonic_ns() / 1000000; }

struct talk { int sock; bool acks; struct error *err; };

static bool say(struct talk *t, enum request what, const void *payload, size_t n, int fd, uint32_t flags)
{
	uint8_t m[HEADER + PAYLOAD];
	le32_put(m, what);
	le32_put(m + 4, VERSION | flags);
	le32_put(m + 8, (uint32_t)n);
	if (n)
		memcpy(m + HEADER, payload, n);
	return fds_send(t->sock, m, HEADER + n, &fd, fd >= 0, 0) == (ssize_t)(HEADER + n) ||
		error_set(t->err, errno, "the vhost-user back end does not take %s", names[what]);
}

/* Exactly n bytes; any descriptors are refused by not being asked for. */
static bool hear_bytes(struct talk *t, uint8_t *p, size_t n, uint64_t until)
{
	while (n) {
		struct pollfd w = { .fd = t->sock, .events = POLLIN };
		uint64_t now = now_ms();
		if (now >= until || poll(&w, 1, (int)(until - now)) <= 0)
			return error_set(t->err, ETIMEDOUT, "the vhost-user back end does not answer");
		ssize_t r = recv(t->sock, p, n, MSG_DONTWAIT);
		if (r < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (r <= 0)
			return error_set(t->err, r ? errno : 0, "the vhost-user back end has hung up");
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static bool hear(struct talk *t, enum request what, uint64_t *value)
{
	uint8_t m[HEADER + 8];
	uint64_t until = now_ms() + ANSWER_MS;
	if (!hear_bytes(t, m, HEADER, until))
		return false;
	if (le32_get(m) != what || (le32_get(m + 4) & 7) != (VERSION | REPLY) || le32_get(m + 8) != 8)
		return error_set(t->err, 0, "the vhost-user back end answers %s by something else", names[what]);
	if (!hear_bytes(t, m + HEADER, 8, until))
		return false;
	*value = le64_get(m + HEADER);
	return true;
}

static bool ask(struct talk *t, enum request what, uint64_t *value)
{
	return say(t, what, NULL, 0, -1, 0) && hear(t, what, value);
}

static bool tell(struct talk *t, enum request what, uint64_t value, int fd)
{
	uint8_t p[8];
	le64_put(p, value);
	return say(t, what, p, sizeof(p), fd, 0);
}

/* struct vhost_vring_state */
static bool tell_ring(struct talk *t, enum request what, unsigned ring, uint32_t value)
{
	uint8_t p[8];
	le32_put(p, ring);
	le32_put(p + 4, value);
	return say(t, what, p, sizeof(p), -1, 0);
}

static bool agree(struct talk *t, uint64_t *features)
{
	uint64_t protocol;
	if (!ask(t, GET_FEATURES, features))
		return false;
	*features &= WANTED;
	if (!(*features & BIT(F_VERSION_1)))
		return error_set(t->err, 0, "the vhost-user back end does not know virtio 1");
	if (*features & BIT(F_PROTOCOL)) {
		if (!ask(t, GET_PROTOCOL_FEATURES, &protocol))
			return false;
		protocol &= BIT(PROTOCOL_REPLY_ACK);
		t->acks = protocol;
		if (!tell(t, SET_PROTOCOL_FEATURES, protocol, -1))
			return false;
	}
	return say(t, SET_OWNER, NULL, 0, -1, 0) && tell(t, SET_FEATURES, *features, -1);
}

static bool give_memory(struct talk *t, const struct vhost_memory *m)
{
	uint8_t p[8 + 32] = { 1 };                /* one region: address, size, ours, offset */
	uint64_t failed = 0;
	le64_put(p + 16, VHOST_MEMORY);
	le64_put(p + 24, BASE);
	if (!say(t, SET_MEM_TABLE, p, sizeof(p), m->fd, t->acks ? NEED_REPLY : 0) ||
	    (t->acks && !hear(t, SET_MEM_TABLE, &failed)))
		return false;
	return !failed || error_set(t->err, 0, "the vhost-user back end cannot map the port's memory");
}

static bool start_ring(struct talk *t, const struct vhost_memory *m, const struct vhost_bells *b, unsigned i)
{
	const struct vhost_ring *r = &m->ring[i];
	uint8_t p[40] = { (uint8_t)i };           /* struct vhost_vring_addr */
	le64_put(p + 8, BASE + (uint64_t)(r->desc - m->map));
	le64_put(p + 16, BASE + (uint64_t)(r->used - m->map));
	le64_put(p + 24, BASE + (uint64_t)(r->avail - m->map));
	return tell_ring(t, SET_VRING_NUM, i, VHOST_SLOTS) && tell_ring(t, SET_VRING_BASE, i, 0) &&
		say(t, SET_VRING_ADDR, p, sizeof(p), -1, 0) &&
		tell(t, SET_VRING_KICK, i, b->kick[i]) && tell(t, SET_VRING_CALL, i, b->call[i]);
}

bool vhost_handshake(int sock, const struct vhost_memory *m, const struct vhost_bells *b, unsigned *caps,
		     struct error *err)
{
	struct talk t = { .sock = sock, .err = err };
	uint64_t features;
	bool ok = agree(&t, &features) && give_memory(&t, m);
	for (unsigned i = 0; ok && i < VHOST_RINGS; i++)
		ok = start_ring(&t, m, b, i);
	for (unsigned i = 0; ok && features & BIT(F_PROTOCOL) && i < VHOST_RINGS; i++)
		ok = tell_ring(&t, SET_VRING_ENABLE, i, 1);
	if (ok)
		*caps = (features & BIT(F_CSUM) ? NET_CAP_CSUM : 0u) | (features & BIT(F_HOST_TSO4) ? NET_CAP_TSO4 : 0u) |
			(features & BIT(F_HOST_TSO6) ? NET_CAP_TSO6 : 0u);
	return ok;
}
