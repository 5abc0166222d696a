/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-console and virtio-balloon as a driver sees them. */
#include "virtio_guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { DATA = 0x210000, RXBUF = 0x400000 };

static void console(void **state)
{
	struct guest g;
	struct g_queue rx, tx;
	int sv[2];
	guest_init(&g);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_true(virtio_console_create(&g.m, sv[1], NULL));
	g_negotiate(&g, g_offered(&g));
	g_queue(&g, &rx, 0, 16);
	g_queue(&g, &tx, 1, 16);
	g_live(&g);
	char got[32];
	memcpy(g_ptr(&g, DATA), "hello, world", 12);
	struct g_buf out[] = { { DATA, 5 }, { DATA + 5, 7 } }, in = { RXBUF, 4 };
	assert_int_equal(g_do(&g, &tx, out, 2, 0), 0);
	assert_int_equal(read(sv[0], got, sizeof(got)), 12);
	assert_memory_equal(got, "hello, world", 12);
	assert_int_equal(write(sv[0], "answer", 6), 6);      /* before there is a buffer */
	assert_int_equal(g_do(&g, &rx, &in, 0, 1), 4);
	assert_memory_equal(g_ptr(&g, RXBUF), "answ", 4);
	assert_int_equal(g_do(&g, &rx, &in, 0, 1), 2);
	assert_memory_equal(g_ptr(&g, RXBUF), "er", 2);
	/* More than the stream takes, a save and a load in the middle: every byte once. */
	enum { N = 4 << 20 };
	auto_free uint8_t *all = xmalloc(N);
	uint8_t *want = g_ptr(&g, 0x800000);
	for (unsigned i = 0; i < N; i++)
		want[i] = (uint8_t)(i * 13 + i / 251);
	struct g_buf big = { 0x800000, N };
	g_add(&g, &tx, &big, 1, 0);
	g_kick(&g, &tx);
	size_t at = 0;
	for (unsigned turn = 0; at < N && turn < 100000; turn++) {
		g_turn(&g);
		ssize_t r = recv(sv[0], all + at, 50000, MSG_DONTWAIT);
		at += r > 0 ? (size_t)r : 0;
		if (turn == 20) {
			struct device *d = g.m.devices;
			d->ops->drain(d);
			struct state *s = state_save_new();
			assert_true(d->ops->xfer(d, s, 1));
			size_t n;
			const void *p = state_bytes(s, &n);
			d->ops->reset(d);
			struct state *l = state_load_new(p, n);
			assert_true(d->ops->xfer(d, l, 1));
			g_device(&g)->drained = false;
			d->ops->loaded(d);
			state_free(s);
			state_free(l);
		}
	}
	assert_int_equal(at, N);
	assert_memory_equal(all, want, N);
	assert_int_equal(g_wait(&g, &tx), 0);
	close(sv[0]);
	guest_free(&g);
}

static bool resident(struct guest *g, uint64_t gpa)
{
	off_t data = lseek(g->ram->fd, (off_t)gpa, SEEK_DATA);
	return data == (off_t)gpa;
}

static void balloon(void **state)
{
	struct guest g;
	struct g_queue q[4];
	guest_init(&g);
	assert_true(virtio_balloon_create(&g.m, NULL));
	g_negotiate(&g, g_offered(&g));
	for (unsigned i = 0; i < 4; i++)
		g_queue(&g, &q[i], i, 16);
	g_live(&g);
	assert_true(virtio_balloon_set(&g.m, 5 << 20));
	assert_int_equal(g_reg(&g, 0x2000, 4), 1280);
	memset(g_ptr(&g, 0x800000), 1, 1 << 20);
	static const uint32_t pfns[] = { 0x800, 0x801, 0x805, 0x804, 0x803, 0x880, 0xffffffff, 0xe0000 };
	for (unsigned i = 0; i < ARRAY_SIZE(pfns); i++)
		le32_put((uint8_t *)g_ptr(&g, DATA) + 4 * i, pfns[i]);
	struct g_buf b = { DATA, sizeof(pfns) + 3 };         /* a ragged end */
	assert_int_equal(g_do(&g, &q[0], &b, 1, 0), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_false(resident(&g, (uint64_t)pfns[i] << 12));
	assert_true(resident(&g, 0x802000));
	assert_true(resident(&g, 0x806000));
	g_set(&g, 0x2004, 6, 4);
	struct g_buf free_pages[] = { { 0x810000, 0x4000 }, { 0x820800, 0x2000 } };
	assert_int_equal(g_do(&g, &q[3], free_pages, 0, 2), 0);
	assert_false(resident(&g, 0x813000));
	assert_true(resident(&g, 0x820000) && !resident(&g, 0x821000) && resident(&g, 0x822000));
	uint64_t bytes, stats[BALLOON_STATS];
	memcpy(g_ptr(&g, DATA), "\4\0\1\2\0\0\0\0\0\0" "\xff\xff\1\1\1\1\1\1\1\1", 20);
	struct g_buf st = { DATA, 20 };
	g_add(&g, &q[2], &st, 1, 0);
	g_kick(&g, &q[2]);
	g_turn(&g);
	assert_int_equal(g_used_idx(&g, &q[2]), 0);
	assert_true(virtio_balloon_get(&g.m, &bytes, stats));
	assert_int_equal(bytes, 6 << 12);
	assert_int_equal(stats[4], 0x201);
	assert_true(stats[5] == ~0ull);
	assert_int_equal(g_wait(&g, &q[2]), 0);
	guest_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(console), cmocka_unit_test(balloon) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
