/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk and virtio-rng as a driver sees them. */
#include "virtio_guest.h"

#include <fcntl.h>

#include "disk/disk.h"

enum { DISK_SIZE = 4 << 20, HDR = 0x200000, DATA = 0x210000, STATUS = 0x20f000 };

struct fixture { struct guest g; struct g_queue q; char path[64]; };

static int setup_cpus(void **state, bool readonly, uint64_t features, unsigned cpus)
{
	struct fixture *f = xnew(struct fixture);
	guest_init(&f->g);
	strcpy(f->path, "/tmp/abyme-blk-XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0 && !ftruncate(fd, DISK_SIZE));
	struct disk_options o = { .path = f->path, .fd = fd, .readonly = readonly };
	struct disk *d = disk_open(&o, f->g.m.loop, NULL);
	assert_non_null(d);
	f->g.m.nvcpus = cpus;
	assert_true(virtio_blk_create(&f->g.m, d, "serial-0123456789abcdef", NULL));
	f->g.m.nvcpus = 0;
	g_negotiate(&f->g, features ? features : g_offered(&f->g));
	g_queue(&f->g, &f->q, 0, 16);
	g_live(&f->g);
	assert_int_equal(g_reg(&f->g, 0x14, 1), 15);
	*state = f;
	return 0;
}
static int setup_with(void **state, bool readonly, uint64_t features) { return setup_cpus(state, readonly, features, 1); }
static int setup_three(void **state) { return setup_cpus(state, false, 0, 3); }
static int setup(void **state) { return setup_with(state, false, 0); }
static int setup_readonly(void **state) { return setup_with(state, true, 0); }
static int setup_plain(void **state) { return setup_with(state, false, BIT(32)); }
static int teardown(void **state)
{
	struct fixture *f = *state;
	guest_free(&f->g);
	unlink(f->path);
	free(f);
	return 0;
}

/* One request in the usual framing; its status byte. */
static int request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	uint8_t *h = g_ptr(&f->g, HDR), *st = g_ptr(&f->g, STATUS);
	le32_put(h, type);
	le64_put(h + 8, sector);
	*st = 0xff;
	struct g_buf b[3] = { { HDR, 16 } };
	unsigned n = 1;
	if (len)
		b[n++] = (struct g_buf){ DATA, len };
	b[n++] = (struct g_buf){ STATUS, 1 };
	unsigned nin = 1 + (in && len);
	int64_t written = g_do(&f->g, &f->q, b, n - nin, nin);
	assert_true(written >= 1);
	if (in && !*st)
		assert_true(written == len + 1 || type == 8);
	return *st;
}

static void write_then_read(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = g_ptr(&f->g, DATA);
	for (unsigned i = 0; i < 8192; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(request(f, 1, 3, 8192, false), 0);
	assert_int_equal(request(f, 4, 0, 0, false), 0);
	auto_close int fd = open(f->path, O_RDONLY);
	uint8_t file[8192];
	assert_true(fd_pread_full(fd, file, 8192, 3 * 512));
	assert_memory_equal(file, data, 8192);
	memset(data, 0, 8192);
	assert_int_equal(request(f, 0, 3, 8192, true), 0);
	assert_memory_equal(file, data, 8192);
	assert_int_equal(request(f, 8, 0, 20, true), 0);
	assert_memory_equal(data, "serial-0123456789abc", 20);
}

static void write_through(void **state) { write_then_read(state); }

/* Header split in three, data in odd pieces, status at the end of the data. */
static void any_framing(void **state)
{
	struct fixture *f = *state;
	uint8_t *h = g_ptr(&f->g, HDR);
	auto_close int fd = open(f->path, O_RDWR);
	assert_true(fd_pwrite_full(fd, "0123456789abcdef", 16, 512));
	le32_put(h, 0);
	le64_put(h + 8, 1);
	struct g_buf b[] = { { HDR, 4 }, { HDR + 4, 11 }, { HDR + 15, 1 }, { DATA, 5 }, { DATA + 100, 508 } };
	assert_int_equal(g_do(&f->g, &f->q, b, 3, 2), 513);
	assert_memory_equal(g_ptr(&f->g, DATA), "01234", 5);
	assert_memory_equal(g_ptr(&f->g, DATA + 100), "56789abcdef", 11);
	assert_int_equal(*(uint8_t *)g_ptr(&f->g, DATA + 100 + 507), 0);
}

static void ranges(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = g_ptr(&f->g, DATA), file[3 * 4096], want[3 * 4096];
	memset(data, 0x77, sizeof(file));
	memset(want, 0x77, sizeof(file));
	assert_int_equal(request(f, 1, 0, sizeof(file), false), 0);
	memset(data, 0, 64);
	le32_put(data + 8, 8);                     /* sectors 0..7 */
	le64_put(data + 16, 17);
	le32_put(data + 24, 2);                    /* sectors 17, 18, may unmap */
	le32_put(data + 28, 1);
	assert_int_equal(request(f, 13, 0, 32, false), 0);
	memset(want, 0, 4096);
	memset(want + 17 * 512, 0, 1024);
	auto_close int fd = open(f->path, O_RDONLY);
	assert_true(fd_pread_full(fd, file, sizeof(file), 0));
	assert_memory_equal(file, want, sizeof(file));
	assert_int_equal(request(f, 11, 0, 32, false), 2);       /* discard knows no flag */
	le32_put(data + 28, 0);
	assert_int_equal(request(f, 11, 0, 32, false), 0);
	assert_int_equal(request(f, 11, 0, 17, false), 1);
	le64_put(data, DISK_SIZE / 512);
	assert_int_equal(request(f, 13, 0, 16, false), 1);
}

static void errors(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(request(f, 0, DISK_SIZE / 512, 512, true), 1);
	assert_int_equal(request(f, 0, ~0ull, 512, true), 1);
	assert_int_equal(request(f, 0, 1ull << 55, 512, true), 1);
	assert_int_equal(request(f, 1, 0, 100, false), 1);
	assert_int_equal(request(f, 99, 0, 0, false), 2);
	assert_false(g_broken(&f->g));
	struct g_buf b[] = { { HDR, 15 }, { STATUS, 1 } };
	g_add(&f->g, &f->q, b, 1, 1);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_true(g_broken(&f->g));
}

static void no_status(void **state)
{
	struct fixture *f = *state;
	struct g_buf b[] = { { HDR, 16 } };
	g_add(&f->g, &f->q, b, 1, 0);
	g_kick(&f->g, &f->q);
	g_turn(&f->g);
	assert_true(g_broken(&f->g));
}

static void readonly(void **state)
{
	struct fixture *f = *state;
	assert_true(g_offered(&f->g) & BIT(5));
	assert_int_equal(request(f, 1, 0, 512, false), 1);
	assert_int_equal(request(f, 0, 0, 512, true), 0);
}

/* The same head made available over and over: bounded, each answered. */
static void more_than_the_ring(void **state)
{
	struct fixture *f = *state;
	struct g_buf b[] = { { HDR, 16 }, { DATA, 512 }, { STATUS, 1 } };
	memset(g_ptr(&f->g, HDR), 0, 16);
	unsigned head = g_add(&f->g, &f->q, b, 1, 2);
	for (unsigned i = 1; i < 16; i++)
		g_avail(&f->g, &f->q, head);
	g_kick(&f->g, &f->q);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(g_wait(&f->g, &f->q), 513);
}

static void config(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(g_reg(&f->g, 0x2000, 4), DISK_SIZE / 512);
	assert_int_equal(g_reg(&f->g, 0x2004, 4), 0);
	assert_int_equal(g_reg(&f->g, 0x200c, 4), 128);
	assert_int_equal(g_reg(&f->g, 0x2014, 4), 512);
}

static void rng(void **state)
{
	struct guest g;
	struct g_queue q;
	guest_init(&g);
	assert_true(virtio_rng_create(&g.m, NULL));
	g_negotiate(&g, BIT(32));
	g_queue(&g, &q, 0, 16);
	g_live(&g);
	struct g_buf b = { DATA, 4096 };
	uint8_t zero[64] = { 0 };
	for (unsigned i = 0; i < 20; i++) {        /* 80 KiB: beyond the burst, the timer helps */
		memset(g_ptr(&g, DATA), 0, 64);
		int64_t n = g_do(&g, &q, &b, 0, 1);
		assert_true(n >= 64 && n <= 4096);
		assert_memory_not_equal(g_ptr(&g, DATA), zero, 64);
	}
	guest_free(&g);
}

/* A queue a CPU: answered where the request came from. */
static void queues(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = g_ptr(&f->g, DATA);
	assert_true(g_offered(&f->g) & BIT(12));
	assert_int_equal(g_reg(&f->g, 0x2000 + 34, 2), 3);
	for (unsigned q = 0; q < 3; q++) {
		if (q) {              /* queue 0 is there already */
			g_queue(&f->g, &f->q, q, 16);
			g_turn(&f->g);
		}
		memset(data, (int)q + 1, 512);
		assert_int_equal(request(f, 1, q, 512, false), 0);
		assert_int_equal(f->g.irqs[q + 1], 1);
	}
	for (unsigned q = 0; q < 3; q++) {
		assert_int_equal(request(f, 0, q, 512, true), 0);
		assert_int_equal(data[511], q + 1);
	}
}

int main(void)
{
#define T(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)
	const struct CMUnitTest tests[] = {
		T(write_then_read, setup), T(write_through, setup_plain), T(any_framing, setup),
		T(ranges, setup), T(errors, setup), T(no_status, setup), T(readonly, setup_readonly),
		T(more_than_the_ring, setup), T(config, setup), T(queues, setup_three), cmocka_unit_test(rng),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
