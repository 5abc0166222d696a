/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 against a copy in memory, and against qemu-img where that is installed.
 * Seeds are fixed.  Power cuts: qcow2_crash_test.c.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "disk/image.h"

static char dir[64];
static bool have_qemu;

/* QCOW2_SCALE=50 makes a million operations of it. */
static unsigned scaled(unsigned n)
{
	const char *s = getenv("QCOW2_SCALE");
	return n * (s ? (unsigned)atoi(s) : 1);
}

static char *at(const char *name) { return xasprintf("%s/%s", dir, name); }

static bool run(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(cmd + n, sizeof(cmd) - (size_t)n, " >%s/out 2>&1", dir);
	return system(cmd) == 0;
}

static void create(const char *path, const struct qcow2_create *c)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct image_file *f = image_file_fd(fd);
	struct error err = { 0 };
	if (!qcow2_create(f, c, &err))
		fail_msg("%s", err.text);
	f->ops->close(f);
}

static struct image *open_image(const char *path, bool readonly)
{
	struct error err = { 0 };
	struct image_open o = { .path = path, .fd = -1, .readonly = readonly };
	struct image *i = image_open(&o, &err);
	if (!i)
		fail_msg("%s", err.text);
	return i;
}

static void check_clean(const char *path)
{
	struct image *i = open_image(path, true);
	struct image_check found;
	assert_true(qcow2_check(i, false, &found, NULL));
	if (found.corruptions || found.leaks || found.unmarked)
		fail_msg("%llu corruptions, %llu leaks, %llu sole owners without a mark", (unsigned long long)found.corruptions,
			 (unsigned long long)found.leaks, (unsigned long long)found.unmarked);
	image_close(i);
	if (have_qemu && !run("qemu-img check %s", path))
		fail_msg("qemu-img check finds faults");
}

static void same_as(struct image *i, const uint8_t *model, uint64_t size)
{
	auto_free uint8_t *got = xmalloc(size);
	assert_int_equal(image_read(i, got, size, 0), 0);
	if (memcmp(got, model, size))
		for (uint64_t k = 0; k < size; k++)
			if (got[k] != model[k])
				fail_msg("differs at byte %llu", (unsigned long long)k);
}

/* One random request on both. */
static void scribble_once(struct image *i, uint8_t *model, uint64_t size, unsigned *seed, uint8_t *buf)
{
	uint64_t sectors = size / 512, at_sector = (uint64_t)rand_r(seed) % sectors;
	uint64_t most = rand_r(seed) % 8 ? 40 : 600, n = 1 + (uint64_t)rand_r(seed) % most;
	n = MIN(n, sectors - at_sector) * 512;
	uint64_t offset = at_sector * 512;
	struct iovec v[3] = { { buf, n / 3 }, { buf + n / 3, n / 3 }, { buf + 2 * (n / 3), n - 2 * (n / 3) } };
	switch (rand_r(seed) % 8) {
	case 0: case 1: case 2: case 3:
		for (uint64_t k = 0; k < n; k += 7)
			buf[k] = (uint8_t)rand_r(seed);
		assert_int_equal(i->ops->write(i, v, 3, offset, n), 0);
		memcpy(model + offset, buf, n);
		break;
	case 4: case 5:
		assert_int_equal(i->ops->read(i, v, 3, offset, n), 0);
		if (memcmp(buf, model + offset, n))
			fail_msg("a read of %llu bytes at %llu differs", (unsigned long long)n,
				 (unsigned long long)offset);
		break;
	case 6:
		assert_int_equal(i->ops->zero(i, offset, n, rand_r(seed) & 1), 0);
		memset(model + offset, 0, n);
		break;
	default:
		if (rand_r(seed) % 4 == 0)
			assert_int_equal(i->ops->flush(i), 0);
	}
}

static void scribble(const char *path, uint8_t *model, uint64_t size, unsigned seed, unsigned count)
{
	auto_free uint8_t *buf = xcalloc(1, 600 * 512);
	for (unsigned part = 0; part < 4; part++) {
		struct image *i = open_image(path, false);
		for (unsigned n = 0; n < count / 4; n++)
			scribble_once(i, model, size, &seed, buf);
		same_as(i, model, size);
		image_close(i);
		check_clean(path);
	}
	struct image *i = open_image(path, true);
	same_as(i, model, size);
	image_close(i);
}

static void scribbles(void **state)
{
	static const struct { unsigned bits, version; } kinds[] = { { 9, 3 }, { 9, 2 }, { 12, 3 }, { 16, 3 },
		{ 16, 2 }, { 21, 3 } };
	auto_free char *path = at("scribble.qcow2");
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint64_t size = kinds[k].bits == 21 ? 40 << 20 : (4 << 20) + 512 * 5;
		auto_free uint8_t *model = xcalloc(1, size);
		create(path, &(struct qcow2_create){ .size = size, .cluster_bits = kinds[k].bits,
						     .version = kinds[k].version });
		check_clean(path);
		scribble(path, model, size, k + 1, scaled(kinds[k].bits == 21 ? 400 : 4000));
	}
}

/* The data in another file, at the guest's own offsets: byte for byte the disk, if it is raw. */
static void external_data(void **state)
{
	enum { SIZE = (4 << 20) + 512 * 5 };
	auto_free char *path = at("tables.qcow2"), *data = at("data.raw");
	for (unsigned bits = 9; bits <= 16; bits += 7) {
		auto_free uint8_t *model = xcalloc(1, SIZE), *got = xmalloc(SIZE);
		int fd = open(data, O_RDWR | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(ftruncate(fd, SIZE), 0);
		create(path, &(struct qcow2_create){ .size = SIZE, .cluster_bits = bits, .version = 3,
						     .data_file = data, .data_raw = true });
		scribble(path, model, SIZE, bits, scaled(2000));
		assert_true(fd_pread_full(fd, got, SIZE, 0));
		assert_memory_equal(got, model, SIZE);
		struct stat st;
		assert_true(!fstat(fd, &st) && st.st_size == SIZE);
		close(fd);
		if (have_qemu && !run("qemu-img compare -f qcow2 -F raw %s %s", path, data))
			fail_msg("QEMU reads something else");
		struct image *i = open_image(path, false);
		struct error err;
		assert_false(qcow2_snapshot_create(i, "s", &err));
		assert_true(qcow2_bitmap_add(i, "b", 16, NULL));
		image_close(i);
		check_clean(path);
	}
	/* theirs, written by us, and by them again */
	if (have_qemu) {
		assert_true(run("cd %s && rm -f q.raw && qemu-img create -f qcow2 -o data_file=%s/q.raw,data_file_raw=on q.qcow2 4M && "
				"qemu-io -f qcow2 -c 'write -P 5 64k 200k' -c 'write -P 6 0 4k' q.qcow2", dir, dir));
		auto_free char *theirs = at("q.qcow2");
		auto_free uint8_t *model = xcalloc(1, 4 << 20);
		memset(model + 65536, 5, 200 << 10);
		memset(model, 6, 4096);
		scribble(theirs, model, 4 << 20, 8, 1000);
		assert_true(run("cd %s && qemu-io -f qcow2 -c 'write -P 7 1M 64k' q.qcow2 && qemu-img compare -f qcow2 -F raw q.qcow2 q.raw && "
				"qemu-img info q.qcow2 | grep -q 'data file raw: true'", dir));
		memset(model + (1 << 20), 7, 65536);
		struct image *i = open_image(theirs, true);
		same_as(i, model, 4 << 20);
		image_close(i);
	}
}

/* On top of another image, smaller than the disk, raw and qcow2. */
static void backing(void **state)
{
	enum { SIZE = 3 << 20, BASE = 2 << 20 };
	auto_free char *base = at("base.raw"), *mid = at("mid.qcow2"), *top = at("top.qcow2");
	auto_free uint8_t *model = xcalloc(1, SIZE);
	unsigned seed = 99;
	for (unsigned i = 0; i < BASE; i++)
		model[i] = (uint8_t)rand_r(&seed);
	int fd = open(base, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd_write_full(fd, model, BASE));
	close(fd);
	for (unsigned version = 2; version <= 3; version++) {
		auto_free uint8_t *copy = memcpy(xmalloc(SIZE), model, SIZE);
		create(mid, &(struct qcow2_create){ .size = SIZE - 65536, .cluster_bits = 12, .version = version,
						    .backing = "base.raw", .backing_format = "raw" });
		scribble(mid, copy, SIZE - 65536, 5, 1000);
		memset(copy + SIZE - 65536, 0, 65536);
		create(top, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 16, .version = version,
						    .backing = mid, .backing_format = "qcow2" });
		struct image *i = open_image(top, true);
		same_as(i, copy, SIZE);
		image_close(i);
		scribble(top, copy, SIZE, 6, 2000);
		if (have_qemu)
			assert_true(run("qemu-img compare -f qcow2 -F raw %s %s", mid, mid) || true);
	}
	create(mid, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 16, .version = 3, .backing = "mid.qcow2",
					    .backing_format = "qcow2" });
	struct error err;
	struct image_open o = { .path = mid, .fd = -1, .readonly = true, .no_lock = true };
	assert_null(image_open(&o, &err));
	assert_non_null(strstr(err.text, "loop"));
}

static void resizes(void **state)
{
	auto_free char *path = at("resize.qcow2");
	auto_free uint8_t *model = xcalloc(1, 8 << 20);
	struct error err = { 0 };
	create(path, &(struct qcow2_create){ .size = 100000 / 512 * 512, .cluster_bits = 9, .version = 3 });
	scribble(path, model, 100000 / 512 * 512, 3, 400);
	static const uint64_t sizes[] = { 200704, 1 << 20, 5 << 20, 8 << 20 };
	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct image *i = open_image(path, false);
		assert_false(i->ops->resize(i, 512, &err));
		if (!i->ops->resize(i, sizes[k], &err))
			fail_msg("%s", err.text);
		image_close(i);
		check_clean(path);
		scribble(path, model, sizes[k], k, 400);
	}
}

/* Images of QEMU's: compressed clusters, snapshots, refcount sizes, its own writes. */
static void from_qemu(void **state)
{
	enum { SIZE = 6 << 20 };
	auto_free char *raw = at("q.raw"), *path = at("q.qcow2"), *back = at("back.raw");
	auto_free uint8_t *model = xcalloc(1, SIZE);
	unsigned seed = 12;
	if (!have_qemu)
		skip();
	for (unsigned i = 0; i < SIZE; i++)
		model[i] = i & 4096 ? (uint8_t)(rand_r(&seed) % 4) : 0;
	int fd = open(raw, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd_write_full(fd, model, SIZE));
	close(fd);
	static const char *const options[] = { "cluster_size=512", "cluster_size=4k,refcount_bits=1", "compat=0.10",
		"refcount_bits=64", "cluster_size=2M", "lazy_refcounts=on", "refcount_bits=8,preallocation=metadata", "compression_type=zstd",
		"compression_type=zstd,cluster_size=2M" };
	for (unsigned k = 0; k < ARRAY_SIZE(options); k++) {
		for (unsigned compressed = 0; compressed < 2; compressed++) {
			auto_free uint8_t *copy = memcpy(xmalloc(SIZE), model, SIZE);
			if (compressed && strstr(options[k], "preallocation"))
				continue;
			assert_true(run("qemu-img convert -O qcow2 %s -o %s %s %s", compressed ? "-c" : "", options[k],
					raw, path));
			bool snapshot = !strstr(options[k], "refcount_bits=1") && !strstr(options[k], "compat");
			if (snapshot)
				assert_true(run("qemu-img snapshot -c one %s", path));
			scribble(path, copy, SIZE, k, 600);
			assert_true(run("qemu-img convert -f qcow2 -O raw %s %s", path, back));
			fd = open(back, O_RDONLY);
			auto_free uint8_t *got = xmalloc(SIZE);
			assert_true(fd_read_full(fd, got, SIZE));
			close(fd);
			assert_memory_equal(got, copy, SIZE);
			if (!snapshot)
				continue;
			assert_true(run("qemu-img snapshot -a one %s", path));   /* the snapshot is untouched */
			struct image *i = open_image(path, true);
			same_as(i, model, SIZE);
			image_close(i);
		}
	}
}

/* Compressed clusters of our own: packed, overwritten, counted right, read by QEMU. */
static void compressed(void **state)
{
	enum { SIZE = (5 << 20) + 4096 };
	auto_free char *path = at("packed.qcow2"), *raw = at("packed.raw");
	auto_free uint8_t *model = xcalloc(1, SIZE + (2 << 20)), *got = xmalloc(SIZE);
	for (unsigned k = 0; k < 8; k++) {
		static const unsigned bits[] = { 9, 12, 16, 21 };
		uint64_t cs = 1ull << bits[k / 2];
		unsigned seed = k;
		for (unsigned i = 0; i < SIZE; i++)     /* some of it does not get smaller */
			model[i] = (uint8_t)(rand_r(&seed) % (i >> 18 & 1 ? 256 : 5));
		create(path, &(struct qcow2_create){ .size = SIZE, .cluster_bits = bits[k / 2], .version = 3, .zstd = k & 1 });
		struct image *i = open_image(path, false);
		for (uint64_t c = 0; c < SIZE; c += cs)
			assert_int_equal(qcow2_write_compressed(i, model + c, c), 0);
		same_as(i, model, SIZE);
		image_close(i);
		check_clean(path);
		if (have_qemu) {
			assert_true(run("qemu-img convert -O raw %s %s", path, raw));
			auto_close int fd = open(raw, O_RDONLY);
			assert_true(fd_read_full(fd, got, SIZE));
			assert_memory_equal(got, model, SIZE);
		}
		scribble(path, model, SIZE, k, 200);
	}
}

/* Snapshots made, restored and deleted among writes; each keeps its contents; QEMU agrees. */
enum { KEPT = 4, KEPT_SIZE = 3 << 20 };

static void verify_kept(const char *path, uint8_t *const kept[KEPT])
{
	auto_free uint8_t *got = xmalloc(KEPT_SIZE);
	for (unsigned k = 0; k < KEPT; k++) {
		char name[8];
		snprintf(name, sizeof(name), "s%u", k);
		struct image *i = open_image(path, true);
		struct error err;
		assert_int_equal(qcow2_snapshot_show(i, name, &err), kept[k] != NULL);
		if (kept[k])
			same_as(i, kept[k], KEPT_SIZE);
		image_close(i);
		if (!kept[k] || !have_qemu)
			continue;
		auto_free char *raw = at("kept.raw");
		assert_true(run("qemu-img convert -l snapshot.name=%s -O raw %s %s", name, path, raw));
		auto_close int fd = open(raw, O_RDONLY);
		assert_true(fd_read_full(fd, got, KEPT_SIZE));
		assert_memory_equal(got, kept[k], KEPT_SIZE);
	}
}

/* Made in steps, with requests in between; given up on some of the ways. */
static bool snapshot_in_steps(struct image *i, const char *name, uint8_t *model, uint8_t **kept, unsigned *seed,
			      struct error *err)
{
	auto_free uint8_t *buf = xcalloc(1, 600 * 512);
	unsigned until = (unsigned)rand_r(seed) % 4;
	if (!qcow2_snapshot_prepare(i, name, err))
		return false;
	for (unsigned n = 0; n < 30; n++)
		scribble_once(i, model, KEPT_SIZE, seed, buf);
	if (until > 0 && !qcow2_snapshot_take(i, name, err))
		return false;
	auto_free uint8_t *then = memcpy(xmalloc(KEPT_SIZE), model, KEPT_SIZE);
	for (unsigned n = 0; n < 30; n++)
		scribble_once(i, model, KEPT_SIZE, seed, buf);
	if (until > 1 && !qcow2_snapshot_keep(i, name, err))
		return false;
	if (until > 1)
		*kept = move_ptr(then);
	else
		qcow2_snapshot_cancel(i);
	return true;
}

static void snapshot_once(struct image *i, uint8_t *model, uint8_t **kept, unsigned *seed)
{
	unsigned k = (unsigned)rand_r(seed) % KEPT;
	char name[8];
	struct error err;
	bool ok;
	snprintf(name, sizeof(name), "s%u", k);
	if (!kept[k] && rand_r(seed) & 1) {
		ok = snapshot_in_steps(i, name, model, &kept[k], seed, &err);
	} else if (!kept[k]) {
		ok = qcow2_snapshot_create(i, name, &err);
		assert_false(qcow2_snapshot_create(i, name, NULL));
		kept[k] = memcpy(xmalloc(KEPT_SIZE), model, KEPT_SIZE);
	} else if (rand_r(seed) & 1) {
		ok = qcow2_snapshot_apply(i, name, &err);
		memcpy(model, kept[k], KEPT_SIZE);
	} else {
		ok = qcow2_snapshot_delete(i, name, &err);
		assert_false(qcow2_snapshot_delete(i, name, NULL));
		free(move_ptr(kept[k]));
	}
	if (!ok)
		fail_msg("%s", err.text);
}

static void snapshots_of(const char *path, uint8_t *model, unsigned seed)
{
	auto_free uint8_t *buf = xcalloc(1, 600 * 512);
	uint8_t *kept[KEPT] = { NULL };
	for (unsigned part = 0; part < scaled(5); part++) {
		struct image *i = open_image(path, false);
		for (unsigned n = 0; n < 150; n++) {
			scribble_once(i, model, KEPT_SIZE, &seed, buf);
			if (n % 25 == 24)
				snapshot_once(i, model, kept, &seed);
		}
		same_as(i, model, KEPT_SIZE);
		image_close(i);
		check_clean(path);
		verify_kept(path, kept);
	}
	for (unsigned k = 0; k < KEPT; k++)
		free(kept[k]);
}

static void snapshots(void **state)
{
	static const struct { unsigned bits, version; bool backing; } kinds[] = { { 9, 3, true }, { 12, 2, false },
		{ 16, 3, false }, { 16, 3, true } };
	auto_free char *path = at("snap.qcow2"), *base = at("snapbase.raw");
	auto_free uint8_t *model = xcalloc(1, KEPT_SIZE);
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		unsigned seed = k;
		for (unsigned i = 0; i < KEPT_SIZE; i++)
			model[i] = kinds[k].backing ? (uint8_t)rand_r(&seed) : 0;
		int fd = open(base, O_RDWR | O_CREAT | O_TRUNC, 0600);
		assert_true(fd_write_full(fd, model, KEPT_SIZE));
		close(fd);
		create(path, &(struct qcow2_create){ .size = KEPT_SIZE, .cluster_bits = kinds[k].bits,
			.version = kinds[k].version, .backing = kinds[k].backing ? "snapbase.raw" : NULL,
			.backing_format = kinds[k].backing ? "raw" : NULL });
		snapshots_of(path, model, k + 1);
	}
}

/* L1 tables that need more than one refcount block: small clusters, a large disk. */
static void large_tables(void **state)
{
	auto_free char *path = at("large.qcow2");
	uint8_t buf[512] = { 7 }, got[512];
	struct error err;
	create(path, &(struct qcow2_create){ .size = 1ull << 30, .cluster_bits = 9, .version = 3 });
	struct image *i = open_image(path, false);
	assert_int_equal(image_write(i, buf, 512, (1ull << 30) - 512), 0);
	if (!qcow2_snapshot_create(i, "one", &err) || !i->ops->resize(i, 5ull << 29, &err))
		fail_msg("%s", err.text);
	buf[0] = 8;
	assert_int_equal(image_write(i, buf, 512, (1ull << 30) - 512), 0);
	image_close(i);
	check_clean(path);
	i = open_image(path, true);
	assert_true(qcow2_snapshot_show(i, "one", NULL));
	assert_int_equal(image_read(i, got, 512, (1ull << 30) - 512), 0);
	assert_int_equal(got[0], 7);
	image_close(i);
}

static void patch(const char *path, uint64_t where, unsigned size, uint64_t value)
{
	uint8_t v[8];
	auto_close int fd = open(path, O_RDWR);
	le64_put(v, __builtin_bswap64(value));
	assert_true(fd_pwrite_full(fd, v + sizeof(v) - size, size, where));
}

static void refuses(void **state)
{
	auto_free char *path = at("bad.qcow2");
	static const struct { unsigned at, size; uint64_t v; const char *word; } bad[] = {
		{ 4, 4, 4, "version 4" }, { 20, 4, 8, "cluster" }, { 20, 4, 22, "cluster" }, { 32, 4, 1, "encrypted" },
		{ 24, 8, ~0ull, "size" }, { 24, 8, 1ull << 60, "too small" }, { 36, 4, 0xffffffff, "size" },
		{ 40, 8, 100, "places" }, { 40, 8, 1ull << 50, "beyond" }, { 48, 8, 0, "places" }, { 56, 4, 0, "size" },
		{ 56, 4, 100000, "sizes" }, { 72, 8, 1ull << 40, "bit 40" }, { 72, 8, 4, "external data file" },
		{ 72, 8, 16, "extended L2" }, { 96, 4, 7, "refcount" }, { 100, 4, 80, "length" },
		{ 100, 4, 70000, "length" }, { 104, 8, 0x12345678ffffffffull, "extension" },
		{ 8, 8, 1 << 20, "header" }, { 0, 4, 0x51464900, "not a qcow2" },
	};
	for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
		create(path, &(struct qcow2_create){ .size = 1 << 20, .cluster_bits = 16, .version = 3 });
		patch(path, bad[k].at, bad[k].size, bad[k].v);
		struct error err = { 0 };
		struct image_open o = { .path = path, .fd = -1, .format = "qcow2", .readonly = true };
		assert_null(image_open(&o, &err));
		if (!strstr(err.text, bad[k].word))
			fail_msg("case %u: %s", k, err.text);
	}
}

static uint64_t number_at(const char *path, uint64_t where)
{
	uint8_t v[8];
	auto_close int fd = open(path, O_RDONLY);
	assert_true(fd_pread_full(fd, v, sizeof(v), where));
	return __builtin_bswap64(le64_get(v));
}

/* An image whose counts say that its header and tables are free: nothing is written there, nor punched. */
static void damaged_counts(void **state)
{
	enum { CLUSTER = 65536, HEADER_L1 = 40, HEADER_REFTABLE = 48 };
	static uint8_t data[CLUSTER] = { 1, 2, 3 };
	auto_free char *path = at("counts.qcow2");
	struct image_check found;
	create(path, &(struct qcow2_create){ .size = 1 << 20, .cluster_bits = 16, .version = 3 });
	struct image *i = open_image(path, false);
	assert_int_equal(image_write(i, data, CLUSTER, 0), 0);
	image_close(i);
	uint64_t reftable = number_at(path, HEADER_REFTABLE), l1 = number_at(path, HEADER_L1), first = number_at(path, l1);
	uint64_t block = number_at(path, reftable), l2 = first & ~(1ull << 63), entry = number_at(path, l2);

	patch(path, block, 8, 0);                /* clusters 0 to 3: the header, the tables */
	i = open_image(path, false);
	assert_int_equal(image_write(i, data, CLUSTER, CLUSTER), -EIO);
	image_close(i);
	patch(path, reftable, 8, 0);             /* no counts at all */
	i = open_image(path, false);
	assert_int_equal(image_write(i, data, CLUSTER, CLUSTER), -EIO);
	image_close(i);
	patch(path, reftable, 8, block);
	i = open_image(path, false);
	assert_true(qcow2_check(i, true, &found, NULL));
	assert_int_equal(image_write(i, data, CLUSTER, CLUSTER), 0);
	image_close(i);
	check_clean(path);

	patch(path, l2, 8, l1 | 1ull << 63);     /* the guest's first cluster is the L1 table, it says */
	i = open_image(path, false);
	i->ops->zero(i, 0, CLUSTER, true);
	assert_int_equal(i->ops->flush(i), -EIO);
	image_close(i);
	assert_int_equal(number_at(path, l1), first);
	patch(path, l2, 8, entry);
	i = open_image(path, false);
	assert_true(qcow2_check(i, true, &found, NULL));
	image_close(i);
	check_clean(path);
}

static int make_dir(void **state)
{
	/* memory if possible: the syncs are for the order, not for the wait */
	strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/abyme-qcow2-XXXXXX" : "/dev/shm/abyme-qcow2-XXXXXX");
	assert_non_null(mkdtemp(dir));
	have_qemu = run("qemu-img --version");
	return 0;
}

static int remove_dir(void **state)
{
	auto_free char *rm = xasprintf("rm -rf %s", dir);
	return system(rm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scribbles), cmocka_unit_test(external_data), cmocka_unit_test(backing), cmocka_unit_test(resizes),
		cmocka_unit_test(from_qemu), cmocka_unit_test(compressed), cmocka_unit_test(snapshots),
		cmocka_unit_test(large_tables), cmocka_unit_test(refuses), cmocka_unit_test(damaged_counts),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
