/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 disks as machines use them: many requests in flight, several in one
 * cluster, flushes among them, over io_uring and over threads, against a copy in
 * memory; and snapshots made beside them.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "disk/disk.h"
#include "disk/image.h"

enum { SIZE = 4 << 20, BASE = 3 << 20, BATCH = 200, PIECE = SIZE / BATCH / 512 * 512 };

static char dir[64];
static struct loop *loop;

static void create(const char *path, unsigned bits, const char *backing)
{
	struct qcow2_create c = { .size = SIZE, .cluster_bits = bits, .version = 3, .backing = backing,
				  .backing_format = backing ? "raw" : NULL };
	struct image_file *f = image_file_fd(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	struct error err;
	if (!qcow2_create(f, &c, &err))
		fail_msg("%s", err.text);
	f->ops->close(f);
}

static struct disk *open_disk(const char *path, bool no_uring)
{
	struct error err;
	struct disk_options o = { .path = path, .fd = -1, .format = "qcow2", .no_uring = no_uring };
	struct disk *d = disk_open(&o, loop, &err);
	if (!d)
		fail_msg("%s", err.text);
	return d;
}

static void done(struct disk_request *r, int result) { *(int *)r->opaque = result; }

struct batch { struct disk_request r[BATCH]; struct iovec v[2 * BATCH]; int result[BATCH]; uint8_t data[SIZE]; };

/* Pieces are neighbours: some cluster always has several requests at once. */
static void one_batch(struct disk *d, struct batch *b, uint8_t *model, unsigned *seed)
{
	disk_plug(d);
	for (unsigned i = 0; i < BATCH; i++) {
		uint64_t n = 512 * (1 + (uint64_t)rand_r(seed) % (PIECE / 512)), split = (uint64_t)rand_r(seed) % n;
		enum disk_op op = (enum disk_op)(rand_r(seed) % 12);
		op = op > DISK_WRITE_ZEROES ? op & 1 : op;
		uint64_t at = (uint64_t)i * PIECE;
		uint8_t *p = b->data + at;
		for (uint64_t k = 0; k < n && op == DISK_WRITE; k += 5)
			p[k] = (uint8_t)rand_r(seed);
		b->v[2 * i] = (struct iovec){ p, split };
		b->v[2 * i + 1] = (struct iovec){ p + split, n - split };
		b->r[i] = (struct disk_request){ .op = op, .offset = op == DISK_FLUSH ? 0 : at,
			.length = op == DISK_FLUSH ? 0 : n, .iov = b->v + 2 * i, .niov = 2,
			.unmap = rand_r(seed) & 1, .done = done, .opaque = &b->result[i] };
		b->result[i] = 1;
		if (op == DISK_WRITE)
			memcpy(model + at, p, n);
		if (op == DISK_DISCARD || op == DISK_WRITE_ZEROES)
			memset(model + at, 0, n);
		disk_submit(d, &b->r[i]);
	}
	disk_unplug(d);
	disk_drain(d);
	for (unsigned i = 0; i < BATCH; i++) {
		assert_int_equal(b->result[i], 0);
		if (b->r[i].op == DISK_READ)
			assert_memory_equal(b->data + b->r[i].offset, model + b->r[i].offset, b->r[i].length);
	}
}

static void verify(const char *path, const uint8_t *model)
{
	struct image_open o = { .path = path, .fd = -1, .readonly = true };
	struct image_check found;
	struct image *i = image_open(&o, NULL);
	auto_free uint8_t *got = xmalloc(SIZE);
	assert_non_null(i);
	assert_int_equal(image_read(i, got, SIZE, 0), 0);
	assert_memory_equal(got, model, SIZE);
	assert_true(qcow2_check(i, false, &found, NULL));
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.leaks, 0);
	image_close(i);
}

static void scribble(unsigned bits, bool backing, bool no_uring, unsigned seed)
{
	auto_free char *path = xasprintf("%s/top", dir), *base = xasprintf("%s/base", dir);
	auto_free uint8_t *model = xcalloc(1, SIZE);
	auto_free struct batch *b = xcalloc(1, sizeof(*b));
	auto_close int fd = open(base, O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (unsigned i = 0; i < BASE && backing; i++)
		model[i] = (uint8_t)rand_r(&seed);
	assert_true(fd_write_full(fd, model, BASE));
	create(path, bits, backing ? "base" : NULL);
	for (unsigned part = 0; part < 3; part++) {
		struct disk *d = open_disk(path, no_uring);
		for (unsigned n = 0; n < 6; n++)
			one_batch(d, b, model, &seed);
		disk_close(d);
		verify(path, model);
	}
}

static void in_flight(void **state)
{
	static const unsigned bits[] = { 9, 12, 16, 18 };
	for (unsigned k = 0; k < ARRAY_SIZE(bits); k++)
		for (unsigned way = 0; way < 4; way++)
			scribble(bits[k], way & 1, way & 2, 10 * k + way);
}

/* --- snapshots beside requests ------------------------------------------------- */

struct step { struct disk *disk; enum disk_snapshot what; bool ended, ok; struct error err; };

static void *step_run(void *opaque)
{
	struct step *s = opaque;
	s->ok = disk_snapshot(s->disk, s->what, "s", &s->err);
	__atomic_store_n(&s->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A step on a thread of its own, as the control socket's, and requests for as long as it takes. */
static void beside(struct disk *d, struct batch *b, uint8_t *model, unsigned *seed, enum disk_snapshot what)
{
	struct step s = { .disk = d, .what = what };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, step_run, &s), 0);
	do
		one_batch(d, b, model, seed);
	while (!__atomic_load_n(&s.ended, __ATOMIC_ACQUIRE));
	pthread_join(thread, NULL);
	if (!s.ok)
		fail_msg("%s", s.err.text);
}

static void verify_snapshot(const char *path, const uint8_t *then)
{
	struct image_open o = { .path = path, .fd = -1, .readonly = true };
	struct image *i = image_open(&o, NULL);
	auto_free uint8_t *got = xmalloc(SIZE);
	assert_true(i && qcow2_snapshot_show(i, "s", NULL));
	assert_int_equal(image_read(i, got, SIZE, 0), 0);
	assert_memory_equal(got, then, SIZE);
	image_close(i);
}

/* Every second one is taken while nothing is in flight, so that it is known what it must have. */
static void snapshots_beside(unsigned bits, bool no_uring, unsigned seed)
{
	auto_free char *path = xasprintf("%s/snap", dir);
	auto_free uint8_t *model = xcalloc(1, SIZE), *then = xmalloc(SIZE);
	auto_free struct batch *b = xcalloc(1, sizeof(*b));
	create(path, bits, NULL);
	for (unsigned n = 0; n < 6; n++) {
		struct disk *d = open_disk(path, no_uring);
		bool quiet = n & 1;
		one_batch(d, b, model, &seed);
		beside(d, b, model, &seed, DISK_SNAPSHOT_PREPARE);
		if (quiet)
			assert_true(disk_snapshot(d, DISK_SNAPSHOT_TAKE, "s", NULL));
		else
			beside(d, b, model, &seed, DISK_SNAPSHOT_TAKE);
		memcpy(then, model, SIZE);
		one_batch(d, b, model, &seed);
		beside(d, b, model, &seed, DISK_SNAPSHOT_KEEP);
		one_batch(d, b, model, &seed);
		disk_close(d);
		verify(path, model);
		if (quiet)
			verify_snapshot(path, then);
		d = open_disk(path, no_uring);
		beside(d, b, model, &seed, DISK_SNAPSHOT_DELETE);
		one_batch(d, b, model, &seed);
		disk_close(d);
		verify(path, model);
	}
}

static void snapshots(void **state)
{
	static const unsigned bits[] = { 9, 12, 16, 18 };
	for (unsigned k = 0; k < ARRAY_SIZE(bits); k++)
		for (unsigned way = 0; way < 2; way++)
			snapshots_beside(bits[k], way, 10 * k + way);
}

/* Given up at any step, by closing too. */
static void given_up(void **state)
{
	auto_free char *path = xasprintf("%s/given-up", dir);
	auto_free uint8_t *model = xcalloc(1, SIZE);
	auto_free struct batch *b = xcalloc(1, sizeof(*b));
	unsigned seed = 7;
	create(path, 12, NULL);
	for (unsigned n = 0; n < 8; n++) {
		struct disk *d = open_disk(path, false);
		one_batch(d, b, model, &seed);
		beside(d, b, model, &seed, DISK_SNAPSHOT_PREPARE);
		if (n & 1)
			beside(d, b, model, &seed, DISK_SNAPSHOT_TAKE);
		if (n & 2)
			beside(d, b, model, &seed, DISK_SNAPSHOT_CANCEL);
		disk_close(d);
		verify(path, model);
	}
}

/* Overwriting in place must declare stale what is not kept up to date: the autoclear bits. */
static void autoclear(void **state)
{
	auto_free char *path = xasprintf("%s/auto", dir);
	uint8_t buf[512] = { 1 }, bits[8] = { 0, 0, 0, 0, 0, 0, 0, 128 };
	int result = 1;
	struct iovec v = { buf, sizeof(buf) };
	struct disk_request r = { .op = DISK_WRITE, .length = 512, .iov = &v, .niov = 1, .done = done, .opaque = &result };
	create(path, 16, NULL);
	for (unsigned turn = 0; turn < 2; turn++) {
		struct disk *d = open_disk(path, false);
		disk_submit(d, &r);
		disk_drain(d);
		assert_int_equal(result, 0);
		disk_close(d);
		auto_close int fd = open(path, O_RDWR);
		uint8_t now[8];
		assert_true(fd_pread_full(fd, now, 8, 88));
		assert_int_equal(now[7], 0);
		assert_true(fd_pwrite_full(fd, bits, 8, 88));
	}
}

static int setup(void **state)
{
	strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/abyme-layer-XXXXXX" : "/dev/shm/abyme-layer-XXXXXX");
	assert_non_null(mkdtemp(dir));
	loop = loop_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	auto_free char *rm = xasprintf("rm -rf %s", dir);
	loop_free(loop);
	return system(rm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_flight), cmocka_unit_test(snapshots), cmocka_unit_test(given_up),
		cmocka_unit_test(autoclear) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
