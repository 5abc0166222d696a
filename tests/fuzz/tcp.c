/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP of a hostile member to sockets.  Input: records of 16 bytes, each a deed.
 * u8 what: 0 a segment near what is expected, 1 a raw frame of the next record's bytes, 2 the
 * far side writes, 3 it reads, 4 it closes, 5 time goes by; u8 flags; u8 port; u8 scale;
 * i16 of seq; i16 of ack; u16 window; u16 mss; u16 length; u16 of what is free.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/fuzz.h"
#include "lib/tcp_frame.h"

enum { RECORD = 16, PORTS = 4, LONGEST = 60000 };

static struct { uint32_t seq, ack; int far; } known[PORTS];
static uint8_t out[NET_HDR + NET_FRAME_MAX];
static unsigned dialling, left;

static uint8_t *room(void *opaque, size_t len)
{
	if (len > sizeof(out))
		abort();
	return left ? out : NULL;
}

/* What is sent must be sound, and tells what the member knows. */
static void emit(void *opaque, size_t len)
{
	struct frame f;
	struct tcp_segment s;
	left--;
	if (!frame_begin(&f, out, out + NET_HDR, len - NET_HDR) || !tcp_parse(&f, &s))
		abort();
	unsigned port = f.dport % PORTS;
	known[port].ack = s.seq + s.len + !!(s.flags & (TCP_SYN | TCP_FIN));
	known[port].seq = s.ack;
}

static int dial(void *opaque, const struct addr *to, uint16_t port)
{
	int pair[2];
	if (port == 9 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return -1;
	if (known[dialling].far >= 0)
		close(known[dialling].far);
	known[dialling].far = pair[1];
	return pair[0];
}

static size_t record(uint8_t *p, uint8_t what, uint8_t flags, uint16_t len)
{
	memset(p, 0, RECORD);
	p[0] = what;
	p[1] = flags;
	le16_put(p + 8, 1000);
	le16_put(p + 10, 1460);
	le16_put(p + 12, len);
	return RECORD;
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	uint8_t *p = buf;
	if (n > 1)
		return 0;
	p += record(p, 0, TCP_SYN, 0);
	p += record(p, 5, 0, 1);
	p += record(p, 0, TCP_ACK, 0);
	p += record(p, 0, TCP_ACK, n ? 50000 : 500);
	p += record(p, 2, 0, n ? 60000 : 100);
	p += record(p, 5, 0, 1);
	p += record(p, 0, TCP_ACK, 0);
	p += record(p, 3, 0, 60000);
	p += record(p, 4, 0, 0);
	p += record(p, 5, 0, n ? 1000 : 1);
	p += record(p, 0, TCP_ACK | TCP_FIN, 10);
	p += record(p, 5, 0, 1);
	return (size_t)(p - buf);
}

static void segment(struct tcp *t, const uint8_t *r, uint64_t now)
{
	static uint8_t frame[NET_HDR + NET_FRAME_MAX], data[LONGEST];
	unsigned port = r[2] % PORTS;
	struct frame f;
	struct tcp_words w = { addr_v4(0x0a50030a), addr_v4(0xc6336402), (uint16_t)(40000 + port), r[2] & 16 ? 9 : 80,
			       known[port].seq + (uint32_t)(int16_t)le16_get(r + 4), known[port].ack + (uint32_t)(int16_t)le16_get(r + 6),
			       le16_get(r + 8), le16_get(r + 10), r[1], r[3] };
	dialling = port;
	size_t n = tcp_frame(frame, &w, data, MIN(le16_get(r + 12), (uint16_t)LONGEST));
	if (w.flags & TCP_SYN)
		known[port].seq = w.seq + 1;
	else
		known[port].seq += le16_get(r + 12);
	if (frame_begin(&f, frame, frame + NET_HDR, n - NET_HDR))
		tcp_input(t, &f, now);
}

static void raw(struct tcp *t, const uint8_t *p, size_t n, uint64_t now)
{
	uint8_t *copy = xmalloc(MAX(n, (size_t)1));      /* exact: a reader too far is seen */
	struct frame f;
	memcpy(copy, p, n);
	if (n > NET_HDR && frame_begin(&f, copy, copy + NET_HDR, n - NET_HDR))
		tcp_input(t, &f, now);
	free(copy);
}

static void far_side(const uint8_t *r)
{
	static uint8_t buf[1 << 16];
	int *far = &known[r[2] % PORTS].far;
	size_t n = le16_get(r + 12);
	ssize_t got = 0;
	if (*far < 0)
		return;
	if (r[0] % 6 == 2)
		got = send(*far, buf, n, MSG_NOSIGNAL);
	else if (r[0] % 6 == 3)
		got = read(*far, buf, n);
	else
		close_fd(far);
	(void)got;
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct tcp_options o = { .room = room, .emit = emit, .dial = dial, .mtu = 65520, .network = 0x0a500300, .mask = 0xffffff00 };
	struct tcp *t = tcp_new(&o, NULL);
	uint64_t now = 1;
	if (!t)
		abort();
	for (unsigned i = 0; i < PORTS; i++)
		known[i].far = -1;
	for (; size >= RECORD; data += RECORD, size -= RECORD) {
		left = 1 + data[14] % 8;
		if (data[0] % 6 == 0)
			segment(t, data, now);
		else if (data[0] % 6 == 1)
			raw(t, data + 1, MIN(size - 1, (size_t)(RECORD + le16_get(data + 12) % 256)), now);
		else if (data[0] % 6 < 5)
			far_side(data);
		else
			now += le16_get(data + 12) * 1000000ull;
		tcp_events(t);
		for (unsigned i = 0; i < 64 && tcp_work(t, now); i++)
			;
		if (tcp_count(t) > TCP_CONNECTIONS || tcp_timeout_ms(t, now) < -1)
			abort();
	}
	tcp_free(t);
	for (unsigned i = 0; i < PORTS; i++)
		close_fd(&known[i].far);
}
