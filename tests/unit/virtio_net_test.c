/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net against a socket peer: frames, merging, offloads, back pressure, a dead helper. */
#include "virtio_guest.h"

#include <sys/socket.h>

#include "net/port.h"

enum { DATA = 0x210000, RXBUF = 0x400000 };
static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

struct fixture { struct guest g; struct g_queue rx, tx; int fd; };

static int setup_with(void **state, uint64_t mask)
{
	struct fixture *f = xnew(struct fixture);
	int sv[2];
	guest_init(&f->g);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv), 0);
	f->fd = sv[0];
	struct net_port *p = net_socket_port(f->g.m.loop, sv[1], NULL);
	assert_true(virtio_net_create(&f->g.m, p, mac, NULL));
	g_negotiate(&f->g, g_offered(&f->g) & mask);
	g_queue(&f->g, &f->rx, 0, 16);
	g_queue(&f->g, &f->tx, 1, 16);
	g_live(&f->g);
	*state = f;
	return 0;
}
static int setup(void **state) { return setup_with(state, ~0ull); }
static int setup_plain(void **state) { return setup_with(state, BIT(32)); }
static int teardown(void **state)
{
	struct fixture *f = *state;
	guest_free(&f->g);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return 0;
}

static uint16_t be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static void config(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(g_reg(&f->g, 0x2000, 4), 0x01005452);
	assert_int_equal(g_reg(&f->g, 0x2006, 2), 1);
}

static void sends(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = g_ptr(&f->g, DATA), got[2048];
	memset(p, 0, 12);
	for (unsigned i = 12; i < 12 + 100; i++)
		p[i] = (uint8_t)i;
	struct g_buf b[] = { { DATA, 12 }, { DATA + 12, 1 }, { DATA + 13, 99 } };
	assert_int_equal(g_do(&f->g, &f->tx, b, 3, 0), 0);
	assert_int_equal(recv(f->fd, got, sizeof(got), 0), 112);
	assert_memory_equal(got, p, 112);
}

static void completes_checksums(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = g_ptr(&f->g, DATA), got[2048];
	memset(p, 0, 200);
	p[0] = 1;
	le16_put(p + 6, 34);
	le16_put(p + 8, 16);
	for (unsigned i = 46; i < 200; i++)
		p[i] = (uint8_t)(i * 31);
	struct g_buf b = { DATA, 199 };               /* odd */
	g_do(&f->g, &f->tx, &b, 1, 0);
	assert_int_equal(recv(f->fd, got, sizeof(got), 0), 199);
	uint16_t seed = be16(p + 12 + 50);
	/* the driver had put the pseudo header's sum there: all of it sums to ~0 with it */
	assert_int_equal(sum16(got + 46, 199 - 46, seed), 0xffff);
	assert_int_equal(got[0], 0);
}

/* 3000 bytes of TCP/IPv4 payload in segments of 1000: flags, sequence, checksums. */
static void segments_tcp(void **state)
{
	struct fixture *f = *state;
	uint8_t *h = g_ptr(&f->g, DATA), *p = h + 12, got[2048];
	memset(h, 0, 4096);
	h[0] = 1;
	h[1] = 1;
	le16_put(h + 4, 1000);
	le16_put(h + 6, 34);
	le16_put(h + 8, 16);
	p[12] = 8;
	p[14] = 0x45;
	p[18] = 0x12;
	p[14 + 9] = 6;
	memcpy(p + 26, "\x0a\0\2\x0f\x0a\0\2\2", 8);
	p[34 + 4] = 0xff; p[34 + 5] = 0xff; p[34 + 6] = 0xfe; p[34 + 7] = 0;
	p[34 + 12] = 0x50;
	p[34 + 13] = 0x19;                            /* ACK PSH FIN */
	for (unsigned i = 0; i < 2500; i++)
		p[54 + i] = (uint8_t)(i / 10);
	struct g_buf b = { DATA, 12 + 54 + 2500 };
	g_do(&f->g, &f->tx, &b, 1, 0);
	for (unsigned i = 0; i < 3; i++) {
		unsigned n = i < 2 ? 1000 : 500;
		uint8_t *q = got + 12;
		assert_int_equal(recv(f->fd, got, sizeof(got), 0), 12 + 54 + n);
		assert_int_equal(be16(q + 16), 40 + n);
		assert_int_equal(be16(q + 18), 0x1200 + i);
		assert_int_equal(sum16(q + 14, 20, 0), 0xffff);
		uint32_t pseudo = 6 + 20 + n + sum16(q + 26, 8, 0);
		assert_int_equal(sum16(q + 34, 20 + n, pseudo), 0xffff);
		uint32_t seq = (uint32_t)be16(q + 38) << 16 | be16(q + 40);
		assert_int_equal(seq, 0xfffffe00 + 1000 * i);
		assert_int_equal(q[34 + 13], i < 2 ? 0x10 : 0x19);
		assert_memory_equal(q + 54, p + 54 + 1000 * i, n);
	}
}

static void hostile_headers(void **state)
{
	struct fixture *f = *state;
	uint8_t *h = g_ptr(&f->g, DATA), got[70000];
	unsigned seed = 7;
	for (unsigned i = 0; i < 20000; i++) {
		for (unsigned k = 0; k < 80; k++)
			h[k] = (uint8_t)rand_r(&seed);
		h[0] &= 1;
		h[1] = "\0\1\4\1"[i % 4];
		le16_put(h + 6, (uint16_t)(rand_r(&seed) % 60));
		h[12 + 14] = i & 1 ? 0x45 : 0x60;
		struct g_buf b = { DATA, 1 + (uint32_t)rand_r(&seed) % (i % 50 ? 400 : 70000) };
		assert_int_equal(g_do(&f->g, &f->tx, &b, 1, 0), 0);
		while (recv(f->fd, got, sizeof(got), 0) > 0)
			;
	}
	assert_false(g_broken(&f->g));
}

static void receives_merged(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[312];
	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)i;
	memset(frame, 0xff, 12);                      /* a lying header */
	for (unsigned i = 0; i < 4; i++) {
		struct g_buf b = { RXBUF + i * 4096, 100 };
		g_add(&f->g, &f->rx, &b, 0, 1);
	}
	g_kick(&f->g, &f->rx);
	assert_int_equal(send(f->fd, frame, sizeof(frame), 0), sizeof(frame));
	assert_int_equal(g_wait(&f->g, &f->rx), 100);
	assert_int_equal(g_wait(&f->g, &f->rx), 100);
	assert_int_equal(g_wait(&f->g, &f->rx), 100);
	assert_int_equal(g_wait(&f->g, &f->rx), 12);
	uint8_t *got = g_ptr(&f->g, RXBUF), want[12] = { [0] = 2, [10] = 4 };
	assert_memory_equal(got, want, 12);
	assert_memory_equal(got + 12, frame + 12, 88);
	assert_memory_equal(got + 3 * 4096, frame + 300, 12);
}

static void waits_for_buffers(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[112] = { 0 };
	for (unsigned i = 0; i < 5; i++) {
		frame[20] = (uint8_t)i;
		assert_int_equal(send(f->fd, frame, sizeof(frame), 0), sizeof(frame));
	}
	for (unsigned i = 0; i < 10; i++)
		g_turn(&f->g);
	assert_int_equal(g_used_idx(&f->g, &f->rx), 0);
	for (unsigned i = 0; i < 5; i++) {
		struct g_buf b = { RXBUF + i * 4096, 2048 };
		assert_int_equal(g_do(&f->g, &f->rx, &b, 0, 1), 112);
		assert_int_equal(*((uint8_t *)g_ptr(&f->g, b.gpa) + 20), i);
	}
}

/* Nobody reads: chains stay in the queue; then all arrive, in order. */
static void back_pressure(void **state)
{
	struct fixture *f = *state;
	unsigned sent = 0, got = 0;
	uint8_t frame[70000], *p = g_ptr(&f->g, DATA);
	memset(p, 0, 60012);
	while (sent < 4000) {
		if ((uint16_t)(sent - g_used_idx(&f->g, &f->tx)) < 16) {
			le32_put(p + (sent % 16) * 0x10000 + 100, sent);
			struct g_buf b = { DATA + (sent % 16) * 0x10000, 60012 };
			g_add(&f->g, &f->tx, &b, 1, 0);
			g_kick(&f->g, &f->tx);
			sent++;
			continue;
		}
		if (recv(f->fd, frame, sizeof(frame), 0) == 60012) {
			assert_int_equal(le32_get(frame + 100), got);
			got++;
		}
		g_turn(&f->g);
	}
	for (unsigned i = 0; i < 1000 && got < sent; i++) {
		while (recv(f->fd, frame, sizeof(frame), 0) == 60012)
			assert_int_equal(le32_get(frame + 100), got++);
		g_turn(&f->g);
	}
	assert_int_equal(got, sent);
}

static void helper_dies(void **state)
{
	struct fixture *f = *state;
	close(f->fd);
	f->fd = -1;
	g_set(&f->g, 0x10, 0, 2);
	for (unsigned i = 0; i < 5; i++)
		g_turn(&f->g);
	assert_int_equal(g_reg(&f->g, 0x2006, 2), 0);
	assert_int_equal(f->g.irqs[0], 1);
	struct g_buf b = { DATA, 100 };
	assert_int_equal(g_do(&f->g, &f->tx, &b, 1, 0), 0);
}

int main(void)
{
#define T(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)
	const struct CMUnitTest tests[] = {
		T(config, setup), T(sends, setup), T(sends, setup_plain), T(completes_checksums, setup),
		T(segments_tcp, setup), T(hostile_headers, setup), T(receives_merged, setup),
		T(waits_for_buffers, setup), T(waits_for_buffers, setup_plain), T(back_pressure, setup),
		T(helper_dies, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
