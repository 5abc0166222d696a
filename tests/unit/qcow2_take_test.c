/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of a qcow2 image that is being written to: their moment waits for no disk, and
 * what is on its way then is lost neither by the guest nor in the snapshot.  Power cuts:
 * qcow2_crash_test.c; many requests: disk_layered_test.c.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "disk/image.h"

enum { CLUSTER = 65536, SIZE = 64 * CLUSTER };

/* Over another file: it counts calls, and one write waits. */
struct gate {
	struct image_file file, *below;
	unsigned calls;
	uint64_t held_size;                /* the first write of so many bytes is held; 0: none */
	bool holding, open;
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static struct gate *gate_of(struct image_file *f) { return container_of(f, struct gate, file); }

static struct image_file *pass(struct image_file *f)
{
	struct gate *g = gate_of(f);
	__atomic_add_fetch(&g->calls, 1, __ATOMIC_RELAXED);
	return g->below;
}

static int g_write(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	struct gate *g = gate_of(f);
	uint64_t size = 0;
	for (unsigned i = 0; i < n; i++)
		size += iov[i].iov_len;
	pthread_mutex_lock(&g->lock);
	if (size == g->held_size) {
		g->held_size = 0;
		g->holding = true;
		pthread_cond_broadcast(&g->changed);
		while (!g->open)
			pthread_cond_wait(&g->changed, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return pass(f)->ops->write(g->below, iov, n, offset);
}

static int g_read(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	return pass(f)->ops->read(gate_of(f)->below, iov, n, offset);
}

static int g_sync(struct image_file *f) { return pass(f)->ops->sync(gate_of(f)->below); }
static int g_punch(struct image_file *f, uint64_t at, uint64_t n) { return pass(f)->ops->punch(gate_of(f)->below, at, n); }
static int g_truncate(struct image_file *f, uint64_t n) { return pass(f)->ops->truncate(gate_of(f)->below, n); }
static uint64_t g_size(struct image_file *f) { return pass(f)->ops->size(gate_of(f)->below); }

static void g_close(struct image_file *f)
{
	struct gate *g = gate_of(f);
	g->below->ops->close(g->below);
	free(g);
}

static const struct image_file_ops gate_ops = { g_read, g_write, g_sync, g_punch, g_truncate, g_size, g_close };

static char path[64];
static bool have_qemu;

static bool run(const char *fmt)
{
	auto_free char *cmd = xasprintf(fmt, path);
	return system(cmd) == 0;
}

/* A new image of which all is allocated, with 1 in all of it. */
static struct image *open_full(struct gate **gate)
{
	struct gate *g = *gate = xnew(struct gate);
	struct error err;
	static uint8_t ones[SIZE];
	memset(ones, 1, SIZE);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	g->file.ops = &gate_ops;
	g->below = image_file_fd(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	if (!qcow2_create(&g->file, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 16, .version = 3 }, &err))
		fail_msg("%s", err.text);
	struct image *i = image_on(&g->file, "qcow2", path, false, &err);
	if (!i)
		fail_msg("%s", err.text);
	assert_int_equal(image_write(i, ones, SIZE, 0), 0);
	return i;
}

static void all_is(struct image *i, uint64_t at, size_t n, int value)
{
	auto_free uint8_t *got = xmalloc(n);
	assert_int_equal(image_read(i, got, n, at), 0);
	for (size_t k = 0; k < n; k++)
		if (got[k] != value)
			fail_msg("byte %llu is %u, not %d", (unsigned long long)(at + k), got[k], value);
}

static struct image *open_snapshot(const char *name)
{
	struct image_open o = { .path = path, .fd = -1, .readonly = true };
	struct error err;
	struct image *i = image_open(&o, &err);
	if (!i || (name && !qcow2_snapshot_show(i, name, &err)))
		fail_msg("%s", err.text);
	return i;
}

static void check_clean(void)
{
	struct image_check found;
	struct image *i = open_snapshot(NULL);
	assert_true(qcow2_check(i, false, &found, NULL));
	assert_int_equal(found.corruptions + found.leaks + found.unmarked, 0);
	image_close(i);
	assert_true(!have_qemu || run("qemu-img check -q %s >/dev/null 2>&1"));
}

/* The vCPUs stand still for it, so it is a matter of memory alone. */
static void moment_without_disk(void **state)
{
	struct gate *g;
	uint8_t two[512];
	struct image *i = open_full(&g);
	assert_true(qcow2_snapshot_prepare(i, "s", NULL));
	memset(two, 2, sizeof(two));
	assert_int_equal(image_write(i, two, 512, 7 * CLUSTER), 0);     /* in place: it is in the snapshot */
	unsigned before = g->calls;
	assert_true(qcow2_snapshot_take(i, "s", NULL));
	assert_int_equal(g->calls, before);
	assert_int_equal(image_write(i, two, 512, 9 * CLUSTER), 0);
	assert_true(qcow2_snapshot_keep(i, "s", NULL));
	all_is(i, 7 * CLUSTER, 512, 2);
	all_is(i, 9 * CLUSTER, 512, 2);
	image_close(i);
	i = open_snapshot("s");
	all_is(i, 7 * CLUSTER, 512, 2);
	all_is(i, 7 * CLUSTER + 512, SIZE - 7 * CLUSTER - 512, 1);
	image_close(i);
	check_clean();
}

struct write { struct image *i; uint64_t at; size_t n; uint8_t data[1024]; pthread_t thread; int r; };

static void *write_run(void *opaque)
{
	struct write *w = opaque;
	w->r = image_write(w->i, w->data, w->n, w->at);
	return NULL;
}

static void write_start(struct write *w, struct image *i, uint64_t at, size_t n, int value)
{
	*w = (struct write){ .i = i, .at = at, .n = n };
	memset(w->data, value, n);
	assert_int_equal(pthread_create(&w->thread, NULL, write_run, w), 0);
}

static void write_end(struct write *w)
{
	pthread_join(w->thread, NULL);
	assert_int_equal(w->r, 0);
}

/* A write in place is on its way when the snapshot is taken; another one, which has to copy
 * that cluster, must not copy it without the first. */
static void on_its_way(void **state)
{
	struct gate *g;
	struct write first, second;
	struct image *i = open_full(&g);
	assert_true(qcow2_snapshot_prepare(i, "s", NULL));
	g->held_size = 1024;
	write_start(&first, i, 5 * CLUSTER + 4096, 1024, 3);
	pthread_mutex_lock(&g->lock);
	while (!g->holding)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
	assert_true(qcow2_snapshot_take(i, "s", NULL));
	all_is(i, 5 * CLUSTER, 4096, 1);               /* reads go on */
	write_start(&second, i, 5 * CLUSTER, 512, 4);
	usleep(50000);                                 /* time to do it wrong */
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
	write_end(&first);
	write_end(&second);
	assert_true(qcow2_snapshot_keep(i, "s", NULL));
	all_is(i, 5 * CLUSTER, 512, 4);
	all_is(i, 5 * CLUSTER + 512, 3584, 1);
	all_is(i, 5 * CLUSTER + 4096, 1024, 3);
	image_close(i);
	i = open_snapshot("s");
	all_is(i, 5 * CLUSTER, 4096, 1);
	all_is(i, 5 * CLUSTER + 4096, 1024, 3);
	all_is(i, 5 * CLUSTER + 5120, CLUSTER - 5120, 1);
	image_close(i);
	check_clean();
}

/* Killed between any two steps: QEMU finds leaks at worst (its status 3). */
static void killed_between(void **state)
{
	if (!have_qemu)
		skip();
	for (unsigned steps = 1; steps <= 3; steps++) {
		struct gate *g;
		struct image *i = open_full(&g);
		uint8_t two[512] = { 2 };
		assert_true(qcow2_snapshot_prepare(i, "s", NULL));
		assert_int_equal(image_write(i, two, 512, 3 * CLUSTER), 0);
		if (steps > 1)
			assert_true(qcow2_snapshot_take(i, "s", NULL));
		if (steps > 2)
			assert_true(qcow2_snapshot_keep(i, "s", NULL));
		assert_int_equal(image_write(i, two, 512, 8 * CLUSTER), 0);
		assert_int_equal(i->ops->flush(i), 0);
		assert_true(run("cp %1$s %1$s.killed"));
		assert_true(run("qemu-img check -q %s.killed >/dev/null 2>&1; test $? = 3 -o $? = 0"));
		assert_true(run("! qemu-img check %s.killed 2>&1 | grep -q ERROR"));
		qcow2_snapshot_cancel(i);
		image_close(i);
		check_clean();
	}
	assert_true(run("rm %s.killed"));
}

/* It grows after it was prepared: the new L1 entries are counted at the moment. */
static void grown_between(void **state)
{
	struct gate *g;
	uint8_t two[512];
	struct error err;
	memset(two, 2, sizeof(two));
	struct image *i = open_full(&g);
	assert_true(qcow2_snapshot_prepare(i, "s", NULL));
	if (!i->ops->resize(i, 3ull << 29, &err))
		fail_msg("%s", err.text);
	assert_int_equal(image_write(i, two, 512, 5ull << 28), 0);
	assert_true(qcow2_snapshot_take(i, "s", NULL));
	assert_int_equal(image_write(i, two, 512, (5ull << 28) + 512), 0);
	assert_true(qcow2_snapshot_keep(i, "s", NULL));
	image_close(i);
	i = open_snapshot("s");
	assert_int_equal(i->size, 3ull << 29);
	all_is(i, 5ull << 28, 512, 2);
	all_is(i, (5ull << 28) + 512, 512, 0);
	image_close(i);
	check_clean();
}

/* A table that was copied while its entry was lent belongs to an older snapshot. That one is restored and deleted:
 * the table is the active one's alone, and its marks go to the disk. */
static void given_up_and_back(void **state)
{
	struct gate *g;
	uint8_t two[512] = { 2 };
	struct image *i = open_full(&g);
	assert_true(qcow2_snapshot_create(i, "old", NULL));
	assert_true(qcow2_snapshot_prepare(i, "s", NULL));
	assert_int_equal(image_write(i, two, 512, 0), 0);
	qcow2_snapshot_cancel(i);
	assert_true(qcow2_snapshot_apply(i, "old", NULL));
	assert_true(qcow2_snapshot_delete(i, "old", NULL));
	all_is(i, 0, SIZE, 1);
	image_close(i);
	check_clean();
}

static int setup(void **state)
{
	strcpy(path, access("/dev/shm", W_OK) ? "/tmp/abyme-take-XXXXXX" : "/dev/shm/abyme-take-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	have_qemu = !system("qemu-img --version >/dev/null 2>&1");
	return 0;
}

static int teardown(void **state) { return unlink(path); }

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(moment_without_disk), cmocka_unit_test(on_its_way),
		cmocka_unit_test(killed_between), cmocka_unit_test(grown_between),
		cmocka_unit_test(given_up_and_back) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
