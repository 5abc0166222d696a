/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP between a network's member and a socket: a small member of its own beside it,
 * a wire that loses frames, and a clock that the test turns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/tcp_frame.h"

enum { SIZE = 2 << 20, WIRE = 64, STEP_MS = 10 };

struct wired { size_t len; uint8_t *frame; };
struct member {
	struct tcp *tcp;
	uint64_t now_ns;
	unsigned mtu, loss;              /* of 256 frames, each way */
	uint64_t seed;
	uint8_t out[NET_HDR + NET_FRAME_MAX];
	struct wired wire[WIRE];         /* to the member */
	unsigned nwire;
	int far;                         /* the other end of the last socket; -1 */
	bool refuse, cheap;

	struct tcp_words w;
	uint32_t una, max, edge;         /* what it sent, and may */
	uint8_t *sent, *got;             /* SIZE bytes: to send; got */
	size_t ngot;
	unsigned answers, resets, unsplit;
	bool opened, fin_got, fin_acked, stingy;
};

static unsigned dice(struct member *m)
{
	m->seed = m->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(m->seed >> 56);
}

/* ---- what the code under test sees ---- */

static uint8_t *room(void *opaque, size_t len)
{
	struct member *m = opaque;
	assert_true(len <= sizeof(m->out));
	return m->nwire < WIRE ? m->out : NULL;
}

static void emit(void *opaque, size_t len)
{
	struct member *m = opaque;
	if (m->cheap || dice(m) < m->loss)
		return;
	m->wire[m->nwire] = (struct wired){ len, xmalloc(len) };
	memcpy(m->wire[m->nwire++].frame, m->out, len);
}

static int closed_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int held = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_false(bind(held, (struct sockaddr *)&a, n) || getsockname(held, (struct sockaddr *)&a, &n));
	int r = connect(fd, (struct sockaddr *)&a, n);
	assert_true(r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
	close(held);
	return fd;
}

static int dial(void *opaque, const struct addr *to, uint16_t port)
{
	struct member *m = opaque;
	int pair[2];
	if (m->cheap)
		return eventfd(0, EFD_NONBLOCK);
	if (m->refuse)
		return closed_port();
	assert_false(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	m->far = pair[1];
	return pair[0];
}

/* ---- the member ---- */

static bool say(struct member *m, uint8_t flags, uint32_t seq, const uint8_t *data, size_t len)
{
	static uint8_t frame[NET_HDR + NET_FRAME_MAX];
	struct frame f;
	if (m->loss && dice(m) < m->loss)
		return true;
	m->w.flags = flags;
	m->w.seq = seq;
	size_t n = tcp_frame(frame, &m->w, data, len);
	assert_true(frame_begin(&f, frame, frame + NET_HDR, n - NET_HDR));
	return tcp_input(m->tcp, &f, m->now_ns);
}

static void check_frame(struct member *m, const struct frame *f, const struct tcp_segment *s)
{
	assert_memory_equal(f->head, "\x02\0\0\0\0\2\x02\0\0\0\0\1", 12);
	assert_memory_equal(&f->dst, &m->w.src, 16);
	assert_int_equal(f->dport, m->w.sport);
	unsigned gso = f->vnet[VNET_GSO] ? le16_get(f->vnet + 4) : s->len;
	assert_true(gso <= m->w.mss && gso + 40 <= m->mtu);
	m->unsplit += s->len > m->w.mss;
}

static void take(struct member *m, const struct tcp_segment *s)
{
	bool fin = s->flags & TCP_FIN;
	if (s->seq != m->w.ack || (!s->len && !fin)) {
		if (s->len || fin || s->seq != m->w.ack)
			say(m, TCP_ACK, m->max, NULL, 0);
		return;
	}
	assert_true(m->ngot + s->len <= SIZE);
	for (unsigned i = 0; i < 2; i++) {
		memcpy(m->got + m->ngot, s->data[i].iov_base, s->data[i].iov_len);
		m->ngot += s->data[i].iov_len;
	}
	m->w.ack += s->len + fin;
	m->fin_got |= fin;
	say(m, TCP_ACK, m->max, NULL, 0);
}

static void hear(struct member *m, const uint8_t *frame, size_t len)
{
	struct frame f;
	struct tcp_segment s;
	assert_true(frame_begin(&f, frame, frame + NET_HDR, len - NET_HDR) && tcp_parse(&f, &s));
	check_frame(m, &f, &s);
	m->answers++;
	m->resets += !!(s.flags & TCP_RST);
	if (s.flags & TCP_RST)
		return;
	if (s.flags & TCP_SYN) {
		m->opened = true;
		m->w.ack = s.seq + 1;
		m->una = m->max = MAX(m->max, s.ack);
		m->edge = s.ack + s.window;
		m->w.window = m->stingy ? 0 : 0xffff;
		say(m, TCP_ACK, m->max, NULL, 0);
		return;
	}
	if (tcp_before(m->una, s.ack))
		m->una = s.ack;
	if (tcp_before(m->edge, s.ack + ((uint32_t)s.window << TCP_SCALE)))
		m->edge = s.ack + ((uint32_t)s.window << TCP_SCALE);
	m->fin_acked |= m->una == m->w.seq + 1 && m->w.flags & TCP_FIN;
	take(m, &s);
}

static void deliver(struct member *m)
{
	struct wired w[WIRE];
	unsigned n = m->nwire;
	memcpy(w, m->wire, sizeof(w));
	m->nwire = 0;
	for (unsigned i = 0; i < n; i++) {
		hear(m, w[i].frame, w[i].len);
		free(w[i].frame);
	}
}

static void step(struct member *m, unsigned ms)
{
	m->now_ns += ms * 1000000ull;
	tcp_events(m->tcp);
	while (tcp_work(m->tcp, m->now_ns))
		;
	deliver(m);
	tcp_work(m->tcp, m->now_ns);
	deliver(m);
}

static void begin(struct member *m, bool v6, unsigned mtu, unsigned loss)
{
	struct tcp_options o = { .room = room, .emit = emit, .dial = dial, .opaque = m, .mtu = mtu, .network = 0x0a500300,
				 .mask = 0xffffff00, .ipv6 = true, .prefix6 = { 0xfd, 1 } };
	*m = (struct member){ .now_ns = 1000000000, .mtu = mtu, .loss = loss, .seed = 7, .far = -1 };
	m->w = (struct tcp_words){ addr_v4(0x0a50030a), addr_v4(0xc6336402), 40000, 80, 0, 0, 0xffff, (uint16_t)(mtu - 60), 0, 4 };
	if (v6) {
		m->w.src = (struct addr){ { 0xfd, 1, [15] = 10 } };
		m->w.dst = (struct addr){ { 0x20, 1, 0x0d, 0xb8, [15] = 2 } };
	}
	m->sent = xmalloc(SIZE);
	m->got = xmalloc(SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		m->sent[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_non_null(m->tcp = tcp_new(&o, NULL));
}

static void end(struct member *m)
{
	tcp_free(m->tcp);
	deliver(m);
	close_fd(&m->far);
	free(m->sent);
	free(m->got);
}

static void open_one(struct member *m)
{
	const uint32_t isn = 0xfffff000;      /* it wraps */
	m->max = isn + 1;
	for (unsigned i = 0; i < 1000 && !m->opened; i++) {
		if (i % 20 == 0)
			assert_true(say(m, TCP_SYN, isn, NULL, 0));
		step(m, STEP_MS);
	}
	assert_true(m->opened);
	m->una = m->max = isn + 1;
}

/* ---- bulk ---- */

/* Bytes there, from `una` again whenever a step went by without an acknowledgement. */
static void send_some(struct member *m, uint32_t base)
{
	uint32_t before = m->una;
	for (uint32_t at = m->una; at - base < SIZE && tcp_before(at, m->edge); ) {
		uint32_t n = MIN(500 + 200 * dice(m), SIZE - (at - base));
		n = MIN(n, m->edge - at);
		m->max = tcp_before(m->max, at + n) ? at + n : m->max;
		say(m, TCP_ACK, at, m->sent + (at - base), n);
		at += n;
	}
	if (m->una == m->edge)
		say(m, TCP_ACK, m->una - 1, NULL, 0);      /* the window's opening may have been lost */
	if (before - base == SIZE) {
		m->max = before + 1;
		say(m, TCP_ACK | TCP_FIN, before, NULL, 0);
	}
}

struct far_end { size_t sent, got; bool eof; };

static void far_side(struct member *m, struct far_end *x)
{
	uint8_t buf[50000];
	ssize_t n;
	if (x->sent < SIZE && (n = send(m->far, m->sent + x->sent, MIN(SIZE - x->sent, 100000ul), MSG_NOSIGNAL)) > 0) {
		x->sent += (size_t)n;
		if (x->sent == SIZE)
			shutdown(m->far, SHUT_WR);
	}
	while (!x->eof && (n = read(m->far, buf, 1 + dice(m) * 190u)) >= 0) {
		assert_memory_equal(buf, m->sent + x->got, n);
		x->got += (size_t)n;
		x->eof = !n;
		if (dice(m) < 100)
			return;
	}
}

static void transfer(bool v6, unsigned mtu, unsigned loss)
{
	struct member m;
	struct far_end x = { 0 };
	begin(&m, v6, mtu, loss);
	open_one(&m);
	uint32_t base = m.una;
	unsigned turns;
	for (turns = 0; turns < 100000 && !(x.eof && m.fin_got && m.una == base + SIZE + 1); turns++) {
		if (m.una != base + SIZE + 1)
			send_some(&m, base);
		step(&m, STEP_MS);
		far_side(&m, &x);
	}
	assert_int_equal(x.got, SIZE);
	assert_int_equal(m.ngot, SIZE);
	assert_memory_equal(m.got, m.sent, SIZE);
	assert_true(x.eof && m.fin_got);
	assert_int_equal(m.resets, 0);
	assert_true(mtu > 60000 || m.unsplit);
	for (unsigned i = 0; i < 2000 && tcp_count(m.tcp); i++) {
		step(&m, 100);
		say(&m, TCP_ACK, m.max, NULL, 0);      /* the last one may have been lost */
		if (i > 1000)
			m.loss = 0;
		if (i % 100 == 99)
			step(&m, 6000);
	}
	assert_int_equal(tcp_count(m.tcp), 0);
	end(&m);
}

static void bulk(void **state)
{
	transfer(false, 1500, 0);
	transfer(true, 1500, 0);
	transfer(false, 65520, 0);
}

static void bulk_with_losses(void **state)
{
	transfer(false, 1500, 12);
	transfer(true, 65520, 25);
	transfer(false, 9000, 60);
}

/* ---- beginnings and ends ---- */

static void not_ours(void **state)
{
	const uint32_t inside[] = { 0x0a500301, 0x7f000001, 0, 0xe0000001, 0xffffffff };
	struct member m;
	begin(&m, false, 1500, 0);
	struct addr there = m.w.dst;
	for (unsigned i = 0; i < ARRAY_SIZE(inside); i++) {
		m.w.dst = addr_v4(inside[i]);
		assert_false(say(&m, TCP_SYN, 1, NULL, 0));
	}
	m.w.src = (struct addr){ { 0xfd, 1, [15] = 10 } };
	const struct addr inside6[] = { { { 0xfd, 1, [15] = 1 } }, { { [15] = 1 } }, { { 0xfe, 0x80, [15] = 1 } }, { { 0xff, 2, [15] = 1 } } };
	for (unsigned i = 0; i < ARRAY_SIZE(inside6); i++) {
		m.w.dst = inside6[i];
		assert_false(say(&m, TCP_SYN, 1, NULL, 0));
	}
	m.w.dst = there;
	m.w.src = addr_v4(0x0a50030a);
	assert_false(say(&m, TCP_ACK, 1, NULL, 0));
	assert_false(say(&m, TCP_SYN | TCP_ACK, 1, NULL, 0));
	assert_int_equal(tcp_count(m.tcp), 0);
	end(&m);
}

static void checks_sums_and_fragments(void **state)
{
	uint8_t b[NET_HDR + NET_FRAME_MAX], data[300];
	struct member m;
	struct frame f;
	struct tcp_segment s;
	begin(&m, false, 1500, 0);
	memset(data, 0x5a, sizeof(data));
	m.w.flags = TCP_ACK;
	size_t n = tcp_frame(b, &m.w, data, sizeof(data));
	uint8_t *l4 = b + NET_HDR + 34;
	memset(b, 0, NET_HDR);
	assert_true(frame_begin(&f, b, b + NET_HDR, n - NET_HDR));
	assert_false(tcp_parse(&f, &s));
	be16_put(l4 + 16, inet_sum(l4, 20 + sizeof(data), inet_pseudo(&m.w.src, &m.w.dst, IP_TCP, 20 + sizeof(data))));
	assert_true(frame_begin(&f, b, b + NET_HDR, n - NET_HDR) && tcp_parse(&f, &s));
	assert_int_equal(s.len, sizeof(data));
	assert_int_equal(s.data[0].iov_len + s.data[1].iov_len, sizeof(data));
	/* what a frame has behind its packet is no data */
	assert_true(frame_begin(&f, b, b + NET_HDR, n - NET_HDR + 7) && tcp_parse(&f, &s));
	assert_int_equal(s.len, sizeof(data));
	for (size_t cut = 14; cut < n - NET_HDR; cut++)
		if (frame_begin(&f, b, b + NET_HDR, cut))
			assert_false(tcp_parse(&f, &s));
	b[NET_HDR + 14 + 6] = 0x20;
	assert_true(frame_begin(&f, b, b + NET_HDR, n - NET_HDR));
	assert_false(tcp_parse(&f, &s));
	end(&m);
}

static void refused(void **state)
{
	struct member m;
	begin(&m, false, 1500, 0);
	m.refuse = true;
	assert_true(say(&m, TCP_SYN, 1, NULL, 0));
	for (unsigned i = 0; i < 1000 && !m.resets; i++) {
		step(&m, 1);
		usleep(1000);
	}
	assert_int_equal(m.resets, 1);
	assert_int_equal(tcp_count(m.tcp), 0);
	end(&m);
}

static bool far_has_ended(struct member *m)
{
	uint8_t b;
	return read(m->far, &b, 1) == 0 || errno != EAGAIN;
}

static void resets(void **state)
{
	struct member m;
	begin(&m, false, 1500, 0);
	open_one(&m);
	step(&m, 1);
	say(&m, TCP_RST, m.max - 1, NULL, 0);
	say(&m, TCP_RST, m.max + (1 << 20), NULL, 0);
	assert_int_equal(tcp_count(m.tcp), 1);
	unsigned before = m.answers;
	say(&m, TCP_SYN, 77, NULL, 0);      /* RFC 5961 4.2: it is asked */
	step(&m, 1);
	assert_int_equal(m.answers, before + 1);
	assert_false(far_has_ended(&m));
	say(&m, TCP_RST, m.max, NULL, 0);
	assert_int_equal(tcp_count(m.tcp), 0);
	assert_true(far_has_ended(&m));
	step(&m, 1);
	assert_int_equal(m.resets, 0);
	end(&m);
}

static void a_shut_window(void **state)
{
	struct member m;
	begin(&m, false, 1500, 0);
	m.stingy = true;
	open_one(&m);
	assert_int_equal(send(m.far, m.sent, 5000, 0), 5000);
	unsigned before = m.answers;
	for (unsigned i = 0; i < 6000; i++)      /* ten minutes: it asks, less and less often */
		step(&m, 100);
	assert_int_equal(m.ngot, 0);
	assert_in_range(m.answers - before, 10, 30);
	m.w.window = 0xffff;                     /* what its next question is answered with */
	for (unsigned i = 0; i < 700 && m.ngot < 5000; i++)
		step(&m, 100);
	assert_int_equal(m.ngot, 5000);
	assert_memory_equal(m.got, m.sent, 5000);
	end(&m);
}

/* Who says nothing more is given up, and the far side hears of it. */
static void a_dead_member(void **state)
{
	struct member m;
	begin(&m, false, 1500, 0);
	open_one(&m);
	assert_int_equal(send(m.far, m.sent, 5000, 0), 5000);
	m.loss = 256;
	for (unsigned i = 0; i < 2000 && tcp_count(m.tcp); i++)
		step(&m, 1000);
	assert_int_equal(tcp_count(m.tcp), 0);
	assert_true(far_has_ended(&m));
	end(&m);
}

static void nobody_has_them_all(void **state)
{
	struct rlimit r;
	struct member m;
	assert_false(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = r.rlim_max;
	assert_false(setrlimit(RLIMIT_NOFILE, &r));
	if (r.rlim_max < TCP_PER_MEMBER + 200)
		skip();
	begin(&m, false, 1500, 0);
	m.cheap = true;
	for (unsigned i = 0; i < TCP_PER_MEMBER + 100; i++) {
		m.w.sport = (uint16_t)(1000 + i);
		m.now_ns++;
		assert_true(say(&m, TCP_SYN, 1, NULL, 0));
	}
	assert_int_equal(tcp_count(m.tcp), TCP_PER_MEMBER);
	end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bulk),
		cmocka_unit_test(bulk_with_losses),
		cmocka_unit_test(not_ours),
		cmocka_unit_test(checks_sums_and_fragments),
		cmocka_unit_test(refused),
		cmocka_unit_test(resets),
		cmocka_unit_test(a_shut_window),
		cmocka_unit_test(a_dead_member),
		cmocka_unit_test(nobody_has_them_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
