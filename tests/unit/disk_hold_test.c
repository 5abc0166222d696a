/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that wait: limits, and a host that fails for a while. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "disk/disk.h"
#include "disk/image.h"

enum { SIZE = 8 << 20, N = 60, BLOCK = 4096 };

struct fixture {
	struct loop *loop;
	struct disk *disk;
	char path[64];
	uint8_t data[N][BLOCK];
	struct iovec iov[N];
	struct disk_request r[N];
	int results[N];
	unsigned pending;
	int stuck, calls, until;          /* the last error told, how often; the loop stops at this one */
};

static void done(struct disk_request *r, int result)
{
	struct fixture *f = r->opaque;
	f->results[r - f->r] = result;
	if (!--f->pending)
		loop_stop(f->loop);
}

static void told(void *opaque, int error)
{
	struct fixture *f = opaque;
	f->stuck = error;
	f->calls++;
	if (error == f->until)
		loop_stop(f->loop);
}

static void submit(struct fixture *f, enum disk_op op, unsigned n, uint64_t stride)
{
	for (unsigned i = 0; i < n; i++) {
		f->iov[i] = (struct iovec){ f->data[i], BLOCK };
		f->r[i] = (struct disk_request){ .op = op, .offset = i * stride, .length = BLOCK, .iov = &f->iov[i],
						 .niov = 1, .done = done, .opaque = f };
		f->results[i] = 1;
		f->pending++;
	}
	for (unsigned i = 0; i < n; i++)
		disk_submit(f->disk, &f->r[i]);
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void limited_ops(void **state)
{
	struct fixture *f = *state;
	double begin = seconds();
	disk_set_limits(f->disk, &(struct disk_limits){ .iops = 100, .iops_burst = 10 });
	submit(f, DISK_READ, N, BLOCK);
	loop_run(f->loop);
	assert_true(seconds() - begin >= (N - 10 - 2) / 100.0);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(f->results[i], 0);
}

static void limited_bytes(void **state)
{
	struct fixture *f = *state;
	double begin = seconds();
	disk_set_limits(f->disk, &(struct disk_limits){ .bps = 100 * BLOCK, .bps_burst = 10 * BLOCK });
	submit(f, DISK_WRITE, N, BLOCK);
	loop_run(f->loop);
	assert_true(seconds() - begin >= (N - 10 - 2) / 100.0);
}

/* One a minute would never end: taking the limit away, and draining, must let them go. */
static void limits_end(void **state)
{
	struct fixture *f = *state;
	const struct disk_limits slow = { .iops = 1, .iops_burst = 1 };
	disk_set_limits(f->disk, &slow);
	submit(f, DISK_READ, N, BLOCK);
	disk_set_limits(f->disk, &(struct disk_limits){ 0 });
	disk_drain(f->disk);
	assert_int_equal(f->pending, 0);
	disk_set_limits(f->disk, &slow);
	submit(f, DISK_READ, N, BLOCK);
	assert_true(f->pending > 0);
	disk_drain(f->disk);
	assert_int_equal(f->pending, 0);
	submit(f, DISK_READ, N, BLOCK);
	assert_int_equal(disk_settle(f->disk), 0);
	assert_int_equal(f->pending, 0);
}

static void file_limit(rlim_t bytes)
{
	struct rlimit l;
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* The upper half cannot be written for a while: those wait, the others are done. */
static void waits_for_host(void **state)
{
	struct fixture *f = *state;
	memset(f->data, 0x5a, sizeof(f->data));
	f->until = EFBIG;
	disk_set_on_error(f->disk, DISK_ON_ERROR_PAUSE, told, f);
	file_limit(N / 2 * BLOCK);
	submit(f, DISK_WRITE, N, BLOCK);
	loop_run(f->loop);
	f->until = 0;                     /* what is told while it settles stops no loop */
	assert_int_equal(disk_settle(f->disk), -EFBIG);
	assert_int_equal(f->pending, N / 2);
	assert_int_equal(f->stuck, EFBIG);
	for (unsigned i = 0; i < N / 2; i++)
		assert_int_equal(f->results[i], 0);
	int calls = f->calls;
	f->until = EFBIG;                 /* tried again by itself, and again in vain */
	while (f->calls == calls)
		loop_run(f->loop);
	assert_int_equal(f->stuck, EFBIG);
	file_limit(RLIM_INFINITY);
	f->until = 0;
	while (f->stuck)
		loop_run(f->loop);
	disk_drain(f->disk);
	assert_int_equal(f->stuck, 0);
	assert_int_equal(f->pending, 0);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(f->results[i], 0);
	uint8_t back[BLOCK];
	auto_close int fd = open(f->path, O_RDONLY);
	assert_true(fd_pread_full(fd, back, BLOCK, (N - 1) * BLOCK));
	assert_memory_equal(back, f->data[0], BLOCK);
}

static void other_answers(void **state)
{
	struct fixture *f = *state;
	const struct { enum disk_on_error what; int result; } cases[] = {
		{ DISK_ON_ERROR_REPORT, -EFBIG }, { DISK_ON_ERROR_ENOSPC, -EFBIG }, { DISK_ON_ERROR_IGNORE, 0 } };
	file_limit(BLOCK);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		disk_set_on_error(f->disk, cases[i].what, told, f);
		submit(f, DISK_WRITE, 2, BLOCK);
		disk_settle(f->disk);
		assert_int_equal(f->results[0], 0);
		assert_int_equal(f->results[1], cases[i].result);
		assert_int_equal(f->calls, 0);
	}
	/* draining reports what waits, whoever asks for it */
	disk_set_on_error(f->disk, DISK_ON_ERROR_PAUSE, told, f);
	submit(f, DISK_WRITE, 2, BLOCK);
	assert_int_equal(disk_settle(f->disk), -EFBIG);
	disk_drain(f->disk);
	assert_int_equal(f->results[1], -EFBIG);
	assert_int_equal(f->stuck, 0);
	file_limit(RLIM_INFINITY);
	enum disk_on_error what;
	assert_true(disk_on_error_parse("stop", &what, NULL) && what == DISK_ON_ERROR_PAUSE);
	assert_false(disk_on_error_parse("panic", &what, NULL));
}

static int setup_on(void **state, bool qcow2)
{
	struct fixture *f = xnew(struct fixture);
	signal(SIGXFSZ, SIG_IGN);
	strcpy(f->path, "/tmp/abyme-hold-XXXXXX");
	int fd = mkstemp(f->path);
	if (fd < 0 || ftruncate(fd, qcow2 ? 0 : SIZE))
		return -1;
	struct image_file *file = image_file_fd(fd);
	struct qcow2_create c = { .size = SIZE, .cluster_bits = 12, .version = 3 };
	bool ok = !qcow2 || qcow2_create(file, &c, NULL);
	file->ops->close(file);
	struct disk_options o = { .path = f->path, .fd = -1, .format = qcow2 ? "qcow2" : "raw" };
	f->loop = loop_new(NULL);
	f->disk = ok ? disk_open(&o, f->loop, NULL) : NULL;
	f->until = -1;
	*state = f;
	return f->disk ? 0 : -1;
}

static int setup(void **state) { return setup_on(state, false); }
static int setup_qcow2(void **state) { return setup_on(state, true); }

static int teardown(void **state)
{
	struct fixture *f = *state;
	disk_close(f->disk);
	loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

/* qcow2: no cluster can be written; then all can. */
static void qcow2_waits(void **state)
{
	struct fixture *f = *state;
	memset(f->data, 0xa5, sizeof(f->data));
	disk_set_on_error(f->disk, DISK_ON_ERROR_PAUSE, told, f);
	f->until = EFBIG;
	submit(f, DISK_WRITE, 1, BLOCK);
	assert_int_equal(disk_settle(f->disk), 0);
	file_limit(BLOCK);
	submit(f, DISK_WRITE, N, 2 * BLOCK);
	loop_run(f->loop);
	assert_int_equal(disk_settle(f->disk), -EFBIG);
	file_limit(RLIM_INFINITY);
	disk_retry(f->disk);
	assert_int_equal(disk_settle(f->disk), 0);
	disk_drain(f->disk);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(f->results[i], 0);
	memset(f->data, 0, sizeof(f->data));
	submit(f, DISK_READ, N, 2 * BLOCK);
	disk_drain(f->disk);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(f->data[i][i], 0xa5);
}

int main(void)
{
#define ON(test, make) cmocka_unit_test_setup_teardown(test, make, teardown)
	const struct CMUnitTest tests[] = { ON(limited_ops, setup), ON(limited_bytes, setup), ON(limits_end, setup),
		ON(waits_for_host, setup), ON(other_answers, setup), ON(qcow2_waits, setup_qcow2) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
