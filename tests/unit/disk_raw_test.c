/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw disks over io_uring and over the thread pool: data, zeros, holes, locks, errors. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "disk/disk.h"

enum { SIZE = 8 << 20 };

struct fixture { struct loop *loop; struct disk *disk; char path[64]; bool no_uring; };

static struct disk *open_it(struct fixture *f, bool readonly, struct error *err)
{
	struct disk_options o = { .path = f->path, .fd = -1, .readonly = readonly, .no_uring = f->no_uring };
	return disk_open(&o, f->loop, err);
}

static int setup_kind(void **state, bool no_uring)
{
	struct fixture *f = xnew(struct fixture);
	f->no_uring = no_uring;
	strcpy(f->path, "/tmp/abyme-disk-XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0 && !ftruncate(fd, SIZE));
	close(fd);
	f->loop = loop_new(NULL);
	f->disk = open_it(f, false, NULL);
	assert_non_null(f->disk);
	*state = f;
	return 0;
}
static int setup_uring(void **state) { return setup_kind(state, false); }
static int setup_pool(void **state) { return setup_kind(state, true); }
static int teardown(void **state)
{
	struct fixture *f = *state;
	disk_close(f->disk);
	loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static void done(struct disk_request *r, int result) { *(int *)r->opaque = result; }

static int run(struct fixture *f, enum disk_op op, uint64_t offset, void *buf, uint64_t n, bool unmap)
{
	int result = 1;
	struct iovec v = { buf, n };
	struct disk_request r = { .op = op, .offset = offset, .length = n, .iov = &v, .niov = 1,
				  .unmap = unmap, .done = done, .opaque = &result };
	disk_submit(f->disk, &r);
	disk_drain(f->disk);
	return result;
}

/* Random requests, many in flight, against a copy in memory. */
static void scribble(void **state)
{
	enum { BATCH = 300 };
	struct fixture *f = *state;
	auto_free uint8_t *model = xcalloc(1, SIZE), *data = xmalloc(BATCH * 16384ull);
	auto_free struct disk_request *r = xcalloc(BATCH, sizeof(*r));
	auto_free struct iovec *v = xcalloc(BATCH, 2 * sizeof(*v));
	int results[BATCH];
	unsigned seed = 1;
	for (unsigned round = 0; round < 10; round++) {
		disk_plug(f->disk);
		for (unsigned i = 0; i < BATCH; i++) {     /* in a batch no two overlap */
			uint64_t at = (uint64_t)i * (SIZE / BATCH / 512 * 512);
			uint64_t n = 512 * (1 + rand_r(&seed) % 32), split = rand_r(&seed) % n;
			uint8_t *p = data + i * 16384ull;
			enum disk_op op = rand_r(&seed) % 5;
			for (unsigned k = 0; k < n; k++)
				p[k] = (uint8_t)rand_r(&seed);
			v[2 * i] = (struct iovec){ p, split };
			v[2 * i + 1] = (struct iovec){ p + split, n - split };
			r[i] = (struct disk_request){ .op = op, .offset = op == DISK_FLUSH ? 0 : at,
				.length = op == DISK_FLUSH ? 0 : n, .iov = v + 2 * i, .niov = 2,
				.unmap = rand_r(&seed) & 1, .done = done, .opaque = &results[i] };
			results[i] = 1;
			if (op == DISK_WRITE)
				memcpy(model + at, p, n);
			if (op == DISK_WRITE_ZEROES || op == DISK_DISCARD)
				memset(model + at, 0, n);
			disk_submit(f->disk, &r[i]);
		}
		disk_unplug(f->disk);
		disk_drain(f->disk);
		for (unsigned i = 0; i < BATCH; i++) {
			assert_int_equal(results[i], 0);
			if (r[i].op == DISK_READ)
				assert_memory_equal(data + i * 16384ull, model + r[i].offset, r[i].length);
		}
	}
	auto_free uint8_t *all = xmalloc(SIZE);
	assert_int_equal(run(f, DISK_READ, 0, all, SIZE, false), 0);
	assert_memory_equal(all, model, SIZE);
	auto_close int fd = open(f->path, O_RDONLY);
	assert_true(fd_pread_full(fd, all, SIZE, 0));
	assert_memory_equal(all, model, SIZE);
}

static void punches_holes(void **state)
{
	struct fixture *f = *state;
	struct stat full, punched;
	auto_free uint8_t *buf = memset(xmalloc(1 << 20), 0x5a, 1 << 20);
	assert_int_equal(run(f, DISK_WRITE, 0, buf, 1 << 20, false), 0);
	assert_int_equal(run(f, DISK_FLUSH, 0, NULL, 0, false), 0);
	stat(f->path, &full);
	assert_int_equal(run(f, DISK_WRITE_ZEROES, 0, NULL, 1 << 19, true), 0);
	assert_int_equal(run(f, DISK_DISCARD, 1 << 19, NULL, 1 << 19, false), 0);
	stat(f->path, &punched);
	assert_true(full.st_blocks >= 2048 && punched.st_blocks < full.st_blocks);
	assert_int_equal(punched.st_size, SIZE);
}

static void refuses_what_does_not_fit(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[1024];
	assert_int_equal(run(f, DISK_READ, SIZE, buf, 512, false), -EINVAL);
	assert_int_equal(run(f, DISK_READ, SIZE - 512, buf, 1024, false), -EINVAL);
	assert_int_equal(run(f, DISK_WRITE, ~0ull - 511, buf, 1024, false), -EINVAL);
	assert_int_equal(run(f, DISK_WRITE, 100, buf, 512, false), -EINVAL);
	assert_int_equal(run(f, DISK_READ, 0, buf, 0, false), 0);
}

/* The file became shorter behind our back: zeros, no hang. */
static void cut_file_reads_zeros(void **state)
{
	struct fixture *f = *state;
	auto_free uint8_t *buf = memset(xmalloc(8192), 1, 8192), *zero = xcalloc(1, 8192);
	assert_int_equal(run(f, DISK_WRITE, 4096, buf, 8192, false), 0);
	assert_int_equal(truncate(f->path, 4096 + 1000), 0);
	assert_int_equal(run(f, DISK_READ, 4096, buf, 8192, false), 0);
	memset(zero, 1, 1000);
	assert_memory_equal(buf, zero, 8192);
}

static void locks(void **state)
{
	struct fixture *f = *state;
	struct error err;
	assert_null(open_it(f, false, &err));
	assert_non_null(strstr(err.text, "in use"));
	assert_null(open_it(f, true, &err));
	disk_close(f->disk);
	f->disk = open_it(f, true, &err);
	struct disk *second = open_it(f, true, &err);
	assert_true(f->disk && second);
	assert_null(open_it(f, false, &err));
	uint8_t buf[512];
	assert_int_equal(run(f, DISK_WRITE, 0, buf, 512, false), -EPERM);
	assert_int_equal(run(f, DISK_READ, 0, buf, 512, false), 0);
	disk_close(second);
}

static void bad_files(void **state)
{
	struct fixture *f = *state;
	struct { const char *path, *format, *word; } bad[] = {
		{ "/nonexistent/disk", NULL, "cannot open disk '/nonexistent/disk'" },
		{ "/tmp", NULL, "/tmp" }, { "/dev/null", NULL, "neither" }, { f->path, "floppy", "'floppy'" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = { 0 };
		struct disk_options o = { .path = bad[i].path, .fd = -1, .format = bad[i].format };
		assert_null(disk_open(&o, f->loop, &err));
		if (!strstr(err.text, bad[i].word))
			fail_msg("%s", err.text);
	}
	disk_close(f->disk);
	f->disk = NULL;
	assert_int_equal(truncate(f->path, 100), 0);
	struct error err;
	assert_null(open_it(f, false, &err));
	assert_non_null(strstr(err.text, "shorter than one sector"));
}

static unsigned syncs;

int fdatasync(int fd)
{
	__atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_fdatasync, fd);
}

/* A flush, and nothing else, waits until the host's disk has it. */
static void flush_is_a_sync(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[4096] = { 1 };
	unsigned before = syncs;
	assert_int_equal(run(f, DISK_WRITE, 0, buf, sizeof(buf), false), 0);
	assert_int_equal(run(f, DISK_READ, 0, buf, sizeof(buf), false), 0);
	assert_int_equal(syncs, before);
	assert_int_equal(run(f, DISK_FLUSH, 0, NULL, 0, false), 0);
	assert_int_equal(syncs, before + 1);
}

int main(void)
{
#define BOTH(f) cmocka_unit_test_setup_teardown(f, setup_uring, teardown), \
		{ #f " (pool)", f, setup_pool, teardown, NULL }
	const struct CMUnitTest tests[] = {
		BOTH(scribble), BOTH(punches_holes), BOTH(refuses_what_does_not_fit),
		BOTH(cut_file_reads_zeros), BOTH(locks), BOTH(bad_files),
		cmocka_unit_test_setup_teardown(flush_is_a_sync, setup_pool, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
