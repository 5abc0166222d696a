/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 against a copy in memory, against power cuts, and against qemu-img where
 * that is installed.  Seeds are fixed.
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
	if (found.corruptions || found.leaks)
		fail_msg("%llu corruptions, %llu leaks", (unsigned long long)found.corruptions,
			 (unsigned long long)found.leaks);
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
		scribble(path, model, size, k + 1, kinds[k].bits == 21 ? 400 : 4000);
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
		"refcount_bits=64", "cluster_size=2M", "lazy_refcounts=on", "refcount_bits=8,preallocation=metadata" };
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
		uint8_t v[8];
		int fd = open(path, O_RDWR);
		if (bad[k].size == 8)
			le64_put(v, __builtin_bswap64(bad[k].v));
		else
			le32_put(v, __builtin_bswap32((uint32_t)bad[k].v));
		assert_true(fd_pwrite_full(fd, v, bad[k].size, bad[k].at));
		close(fd);
		struct error err = { 0 };
		struct image_open o = { .path = path, .fd = -1, .format = "qcow2", .readonly = true };
		assert_null(image_open(&o, &err));
		if (!strstr(err.text, bad[k].word))
			fail_msg("case %u: %s", k, err.text);
	}
}

/* --- power cuts: a file that forgets ---------------------------------------- */

struct write { uint64_t offset; uint32_t len; uint8_t *data; bool punch; };
struct lossy {
	struct image_file file;
	uint8_t *durable, *current;       /* at the last sync; with everything since */
	uint64_t size, durable_size;
	struct write *pending;
	unsigned npending;
	int faults_in;                    /* counts down to an I/O error; < 0: never */
};
enum { LOSSY_MAX = 8 << 20, PENDING_MAX = 65536 };

static struct lossy *lossy(struct image_file *f) { return container_of(f, struct lossy, file); }

static bool faulty(struct lossy *l) { return l->faults_in >= 0 && l->faults_in-- == 0; }

static int l_read(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	struct lossy *l = lossy(f);
	if (faulty(l))
		return -EIO;
	for (unsigned i = 0; i < n; offset += iov[i++].iov_len) {
		memset(iov[i].iov_base, 0, iov[i].iov_len);
		if (offset < LOSSY_MAX)
			memcpy(iov[i].iov_base, l->current + offset, MIN(iov[i].iov_len, LOSSY_MAX - offset));
	}
	return 0;
}

static void l_change(struct lossy *l, uint64_t offset, const void *data, uint64_t len)
{
	assert_true(offset + len <= LOSSY_MAX && l->npending < PENDING_MAX);
	struct write *w = &l->pending[l->npending++];
	*w = (struct write){ offset, (uint32_t)len, data ? memcpy(xmalloc(len), data, len) : NULL, !data };
	if (data)
		memcpy(l->current + offset, data, len);
	else
		memset(l->current + offset, 0, len);
}

static int l_write(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset)
{
	struct lossy *l = lossy(f);
	if (faulty(l))
		return -EIO;
	for (unsigned i = 0; i < n; offset += iov[i++].iov_len)
		for (size_t at_byte = 0; at_byte < iov[i].iov_len; at_byte += 4096)   /* torn at pages */
			l_change(l, offset + at_byte, (uint8_t *)iov[i].iov_base + at_byte,
				 MIN(iov[i].iov_len - at_byte, (size_t)4096));
	l->size = MAX(l->size, offset);
	return 0;
}

static void forget_pending(struct lossy *l)
{
	while (l->npending)
		free(l->pending[--l->npending].data);
}

static int l_sync(struct image_file *f)
{
	struct lossy *l = lossy(f);
	if (faulty(l))
		return -EIO;
	memcpy(l->durable, l->current, MAX(l->size, l->durable_size));
	l->durable_size = l->size;
	forget_pending(l);
	return 0;
}

static int l_punch(struct image_file *f, uint64_t offset, uint64_t len)
{
	l_change(lossy(f), offset, NULL, len);
	return 0;
}

static int l_truncate(struct image_file *f, uint64_t size)
{
	lossy(f)->size = size;
	return 0;
}

static uint64_t l_size(struct image_file *f) { return lossy(f)->size; }
static void l_close(struct image_file *f) { }
static const struct image_file_ops lossy_ops = { l_read, l_write, l_sync, l_punch, l_truncate, l_size, l_close };

static void lossy_init(struct lossy *l)
{
	*l = (struct lossy){ .file.ops = &lossy_ops, .faults_in = -1 };
	l->durable = xcalloc(1, LOSSY_MAX);
	l->current = xcalloc(1, LOSSY_MAX);
	l->pending = xcalloc(PENDING_MAX, sizeof(*l->pending));
}

static void lossy_free(struct lossy *l)
{
	forget_pending(l);
	free(l->durable);
	free(l->current);
	free(l->pending);
}

/* What a disk may hold after the power has gone: any subset of what was not
 * synced, in any order. */
static void cut(const struct lossy *l, struct lossy *out, unsigned *seed)
{
	memcpy(out->current, l->durable, LOSSY_MAX);
	unsigned keep = rand_r(seed) % 101, order[64];
	for (unsigned i = 0; i < l->npending; i += 64) {
		unsigned n = MIN(l->npending - i, 64u);
		for (unsigned k = 0; k < n; k++) {
			unsigned j = (unsigned)rand_r(seed) % (k + 1);
			order[k] = order[j];
			order[j] = k;
		}
		for (unsigned k = 0; k < n; k++) {
			const struct write *w = &l->pending[i + order[k]];
			if ((unsigned)rand_r(seed) % 100 >= keep)
				continue;
			if (w->data)
				memcpy(out->current + w->offset, w->data, w->len);
			else
				memset(out->current + w->offset, 0, w->len);
		}
	}
	out->size = l->size;
	l_sync(&out->file);
}

enum { CRASH_SIZE = 1 << 20 };

/* A sector's bytes after a cut: what was flushed, or any later write to it. */
struct history { uint8_t flushed; bool written[256]; };

static void verify_cut(struct lossy *after, const struct history *h)
{
	struct error err = { 0 };
	static uint8_t got[CRASH_SIZE];
	struct image *i = image_on(&after->file, "qcow2", "crash", false, &err);
	if (!i)
		fail_msg("%s", err.text);
	assert_int_equal(image_read(i, got, CRASH_SIZE, 0), 0);
	for (unsigned s = 0; s < CRASH_SIZE / 512; s++)
		for (unsigned k = 0; k < 512; k += 37) {
			uint8_t v = got[s * 512 + k];
			if (v != h[s].flushed && !h[s].written[v])
				fail_msg("sector %u has %u, flushed was %u", s, v, h[s].flushed);
		}
	struct image_check found;
	assert_true(qcow2_check(i, false, &found, &err));
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.leaks, 0);         /* the dirty bit had them taken back */
	image_close(i);
	assert_int_equal(after->current[79] & 1, 0);
}

static void crash_write(struct image *i, struct history *h, unsigned s, unsigned n, uint8_t v)
{
	static uint8_t buf[200 * 512];
	memset(buf, v, n * 512);
	int r = v ? image_write(i, buf, n * 512, s * 512ull) : i->ops->zero(i, s * 512ull, n * 512, true);
	if (r)
		return;
	for (unsigned k = s; k < s + n; k++)
		h[k].written[v] = true;
}

static void power_cuts_at(unsigned bits, unsigned seed, unsigned cuts)
{
	struct lossy l, after;
	lossy_init(&l);
	lossy_init(&after);
	struct history *h = xcalloc(CRASH_SIZE / 512, sizeof(*h));
	static uint8_t last[CRASH_SIZE / 512];
	memset(last, 0, sizeof(last));
	assert_true(qcow2_create(&l.file, &(struct qcow2_create){ .size = CRASH_SIZE, .cluster_bits = bits,
								  .version = 3 }, NULL));
	struct image *i = image_on(&l.file, "qcow2", "crash", false, NULL);
	for (unsigned done = 0; done < cuts; ) {
		unsigned s = (unsigned)rand_r(&seed) % (CRASH_SIZE / 512), n = 1 + (unsigned)rand_r(&seed) % 100;
		n = MIN(n, CRASH_SIZE / 512 - s);
		uint8_t v = rand_r(&seed) % 4 ? (uint8_t)(1 + rand_r(&seed) % 255) : 0;
		crash_write(i, h, s, n, v);
		memset(last + s, v, n);
		if (rand_r(&seed) % 8 == 0) {
			assert_int_equal(i->ops->flush(i), 0);
			for (unsigned k = 0; k < CRASH_SIZE / 512; k++) {
				memset(&h[k], 0, sizeof(h[k]));
				h[k].flushed = last[k];
			}
		}
		if (rand_r(&seed) % 3 == 0) {
			cut(&l, &after, &seed);
			verify_cut(&after, h);
			done++;
		}
	}
	image_close(i);
	lossy_free(&l);
	lossy_free(&after);
	free(h);
}

static void power_cuts(void **state)
{
	const char *many = getenv("QCOW2_CUTS");
	unsigned cuts = many ? (unsigned)atoi(many) : 150;
	power_cuts_at(9, 1, cuts);
	power_cuts_at(12, 2, cuts);
	power_cuts_at(16, 3, cuts);
}

/* Each I/O in turn fails: errors come back, the image stays sound. */
static void faults(void **state)
{
	auto_free uint8_t *buf = xcalloc(1, 600 * 512);
	for (int fault = 0; fault < 400; fault++) {
		struct lossy l;
		struct image_check found;
		struct error err = { 0 };
		lossy_init(&l);
		assert_true(qcow2_create(&l.file, &(struct qcow2_create){ .size = CRASH_SIZE, .cluster_bits = 9,
									  .version = 3 }, NULL));
		struct image *i = image_on(&l.file, "qcow2", "faults", false, NULL);
		unsigned seed = (unsigned)fault;
		l.faults_in = fault;
		for (unsigned n = 0; n < 30; n++) {
			uint64_t s = (uint64_t)rand_r(&seed) % 1900;
			if (n % 7 == 6)
				i->ops->flush(i);
			else
				image_write(i, buf, 512 * (1 + (size_t)rand_r(&seed) % 100), s * 512);
		}
		l.faults_in = -1;
		image_close(i);
		l_sync(&l.file);
		i = image_on(&l.file, "qcow2", "faults", false, &err);
		assert_non_null(i);
		assert_true(qcow2_check(i, false, &found, &err));
		assert_int_equal(found.corruptions, 0);
		image_close(i);
		lossy_free(&l);
	}
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
		cmocka_unit_test(scribbles), cmocka_unit_test(backing), cmocka_unit_test(resizes),
		cmocka_unit_test(from_qemu), cmocka_unit_test(refuses), cmocka_unit_test(power_cuts),
		cmocka_unit_test(faults),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
