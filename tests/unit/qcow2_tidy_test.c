/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a qcow2 image leaves to the thread that tidies, when there is one: flushes that
 * make clusters free, room for tables, holes while the guest is not quiet.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "disk/image.h"
#include "disk/pace.h"

static char path[64];

/* Over another file: it counts syncs and holes. */
struct counted { struct image_file file, *below; unsigned syncs; uint64_t punched; };

static struct counted *of(struct image_file *f) { return container_of(f, struct counted, file); }
static int c_read(struct image_file *f, const struct iovec *v, unsigned n, uint64_t at) { return of(f)->below->ops->read(of(f)->below, v, n, at); }
static int c_write(struct image_file *f, const struct iovec *v, unsigned n, uint64_t at) { return of(f)->below->ops->write(of(f)->below, v, n, at); }
static int c_sync(struct image_file *f) { of(f)->syncs++; return of(f)->below->ops->sync(of(f)->below); }
static int c_punch(struct image_file *f, uint64_t at, uint64_t n) { of(f)->punched += n; return of(f)->below->ops->punch(of(f)->below, at, n); }
static int c_truncate(struct image_file *f, uint64_t n) { return of(f)->below->ops->truncate(of(f)->below, n); }
static uint64_t c_size(struct image_file *f) { return of(f)->below->ops->size(of(f)->below); }
static void c_close(struct image_file *f) { of(f)->below->ops->close(of(f)->below); }

static const struct image_file_ops counted_ops = { c_read, c_write, c_sync, c_punch, c_truncate, c_size, c_close };

struct fixture { struct counted file; struct image *image; struct pace pace; unsigned wanted; };

static void wanted(struct image *i) { ((struct fixture *)i->owner)->wanted++; }

static void open_new(struct fixture *x, uint64_t size, unsigned bits)
{
	struct error err;
	*x = (struct fixture){ .file.file.ops = &counted_ops };
	x->file.below = image_file_fd(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	if (!qcow2_create(&x->file.file, &(struct qcow2_create){ .size = size, .cluster_bits = bits, .version = 3 }, &err))
		fail_msg("%s", err.text);
	x->image = image_on(&x->file.file, "qcow2", path, false, &err);
	if (!x->image)
		fail_msg("%s", err.text);
	pace_init(&x->pace);
	x->image->owner = x;
	x->image->tidy_wanted = wanted;
	x->image->pace = &x->pace;
}

/* As a disk does, and nothing is wrong with what is in the file. */
static void close_and_check(struct fixture *x)
{
	struct image_check found;
	struct image_open o = { .path = path, .fd = -1, .readonly = true };
	x->image->tidy_wanted = NULL;
	x->image->pace = NULL;
	image_close(x->image);
	pace_free(&x->pace);
	struct image *i = image_open(&o, NULL);
	assert_true(i && qcow2_check(i, false, &found, NULL));
	assert_int_equal(found.corruptions + found.leaks + found.unmarked, 0);
	image_close(i);
}

static void put(struct fixture *x, uint64_t at, int value)
{
	uint8_t buf[512];
	memset(buf, value, sizeof(buf));
	assert_int_equal(image_write(x->image, buf, sizeof(buf), at), 0);
}

static void holds(struct fixture *x, uint64_t at, int value)
{
	uint8_t buf[512];
	assert_int_equal(image_read(x->image, buf, sizeof(buf), at), 0);
	assert_int_equal(buf[0], value);
}

/* Thousands of clusters are replaced: no write carries the flush that gives the old ones back. */
static void replaced(void **state)
{
	struct fixture x;
	enum { N = 1500, EACH = 8192 };       /* one refcount block is enough: a new one is a sync */
	open_new(&x, N * EACH, 13);
	for (unsigned k = 0; k < N; k++)
		put(&x, k * EACH, 1);
	assert_true(qcow2_snapshot_create(x.image, "s", NULL));
	x.wanted = x.file.syncs = 0;
	for (unsigned k = 0; k < N; k++)
		put(&x, k * EACH, 2);
	assert_int_equal(x.file.syncs, 0);
	assert_true(x.wanted > 0);
	x.image->ops->tidy(x.image);
	assert_true(x.file.syncs > 0);
	holds(&x, 77 * EACH, 2);
	close_and_check(&x);
}

/* More tables become dirty than are kept: none is written by those who need the room. If nobody tidies in time, all are. */
static void tables(void **state)
{
	struct fixture x;
	enum { EACH = 512 * 4096, USUAL = 512, MOST = 2 * USUAL };
	open_new(&x, (MOST + 500ull) * EACH, 12);
	put(&x, 0, 1);
	x.file.syncs = x.wanted = 0;
	for (unsigned k = 1; k < USUAL + 200; k++)
		put(&x, k * (uint64_t)EACH, 1);
	assert_int_equal(x.file.syncs, 0);
	assert_true(x.wanted > 0);
	x.image->ops->tidy(x.image);
	assert_true(x.file.syncs > 0);
	for (unsigned k = USUAL + 200; k < MOST + 500; k++)
		put(&x, k * (uint64_t)EACH, 1);
	for (unsigned k = 0; k < MOST + 500; k += 10)
		holds(&x, k * (uint64_t)EACH, 1);
	close_and_check(&x);
}

static void fill_keep_replace(struct fixture *x, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		put(x, k * 65536ull, 1);
	assert_true(qcow2_snapshot_create(x->image, "s", NULL));
	for (unsigned k = 0; k < n; k++)
		put(x, k * 65536ull, 2);
	assert_int_equal(x->image->ops->flush(x->image), 0);
	x->image->ops->tidy(x->image);
	x->file.punched = 0;
}

/* A snapshot that only holds old contents goes while there is no time for holes. */
static void later(void **state)
{
	struct fixture x;
	enum { N = 100 };
	open_new(&x, 16 << 20, 16);
	fill_keep_replace(&x, N);
	pace_hurry(&x.pace);
	assert_true(qcow2_snapshot_delete(x.image, "s", NULL));
	assert_true(x.image->ops->tidy(x.image));
	assert_int_equal(x.file.punched, 0);
	uint64_t size = c_size(&x.file.file);
	for (unsigned k = N; k < N + N / 2; k++)      /* what is free is used again, although no hole */
		put(&x, k * 65536ull, 3);
	assert_int_equal(c_size(&x.file.file), size);
	x.pace.hurry = false;
	assert_false(x.image->ops->tidy(x.image));
	assert_in_range(x.file.punched, (N - N / 2) * 65536ull, (N - N / 2 + 4) * 65536ull);
	for (unsigned k = 0; k < N + N / 2; k++)
		holds(&x, k * 65536ull, k < N ? 2 : 3);
	close_and_check(&x);
}

/* The same, and the disk is closed. */
static void at_the_end(void **state)
{
	struct fixture x;
	open_new(&x, 16 << 20, 16);
	fill_keep_replace(&x, 100);
	pace_hurry(&x.pace);
	assert_true(qcow2_snapshot_delete(x.image, "s", NULL));
	assert_int_equal(x.file.punched, 0);
	close_and_check(&x);
	assert_true(x.file.punched >= 100 * 65536ull);
}

static int setup(void **state)
{
	strcpy(path, access("/dev/shm", W_OK) ? "/tmp/abyme-tidy-XXXXXX" : "/dev/shm/abyme-tidy-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	return 0;
}

static int teardown(void **state) { return unlink(path); }

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(replaced), cmocka_unit_test(tables), cmocka_unit_test(later),
		cmocka_unit_test(at_the_end) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
