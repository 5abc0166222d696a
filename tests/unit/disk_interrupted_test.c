/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw disks over a ring whose threads are interrupted: every second operation ends with EINTR or
 * EAGAIN, having done nothing.  The guest sees none of it.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "disk/aio.h"
#include "disk/disk.h"

enum { SIZE = 1 << 20 };

struct bad_ring { struct aio aio, *pool; unsigned n, interrupted; };
static struct bad_ring ring;

static void submit(struct aio *a, struct aio_op *op)
{
	if (ring.n++ & 1) {
		ring.pool->ops->submit(ring.pool, op);
		return;
	}
	op->done(op, ++ring.interrupted & 1 ? -EINTR : -EAGAIN);
}

static void flush(struct aio *a) { ring.pool->ops->flush(ring.pool); }
static void wait(struct aio *a) { ring.pool->ops->wait(ring.pool); }
static void ring_free(struct aio *a) { ring.pool->ops->free(ring.pool); }
static const struct aio_ops ops = { submit, flush, wait, ring_free };

/* In place of the real one. */
struct aio *aio_uring_new(struct loop *l, const int *fds, unsigned nfds, struct workers *ws, struct error *err)
{
	ring = (struct bad_ring){ .aio.ops = &ops, .pool = aio_pool_new(fds, nfds, ws) };
	return &ring.aio;
}

static void done(struct disk_request *r, int result) { *(int *)r->opaque = result; }

static void run(struct disk *d, enum disk_op op, bool unmap, uint8_t *buf)
{
	int result = 1;
	unsigned before = ring.interrupted;
	struct iovec v = { buf, SIZE };
	struct disk_request r = { .op = op, .length = op == DISK_FLUSH ? 0 : SIZE, .iov = &v, .niov = 1, .unmap = unmap,
				  .done = done, .opaque = &result };
	ring.n = 0;
	disk_submit(d, &r);
	disk_drain(d);
	assert_int_equal(result, 0);
	assert_true(op == DISK_READ || op == DISK_WRITE || ring.interrupted > before);
}

static void interrupted(void **state)
{
	char path[] = "/tmp/abyme-interrupted-XXXXXX";
	auto_close int fd = mkstemp(path);
	auto_free uint8_t *buf = xmalloc(SIZE), *got = xcalloc(1, SIZE);
	struct loop *l = loop_new(NULL);
	struct disk_options o = { .path = path, .fd = -1 };
	assert_int_equal(ftruncate(fd, SIZE), 0);
	struct disk *d = disk_open(&o, l, NULL);
	assert_non_null(d);
	for (unsigned n = 0; n < 4; n++) {
		memset(buf, (int)n + 1, SIZE);
		run(d, DISK_WRITE, false, buf);
		run(d, DISK_FLUSH, false, NULL);
		run(d, DISK_READ, false, got);
		assert_memory_equal(got, buf, SIZE);
		run(d, n & 1 ? DISK_DISCARD : DISK_WRITE_ZEROES, n & 2, NULL);
		run(d, DISK_READ, false, got);
		assert_true(!got[0] && !memcmp(got, got + 1, SIZE - 1));
	}
	disk_close(d);
	loop_free(l);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(interrupted) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
