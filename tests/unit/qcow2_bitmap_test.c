/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps of qcow2: what they say, what QEMU makes of them, and power cuts,
 * after which one that claims to be sound has missed nothing.  QCOW2_CUTS for a long run.
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
#include "lib/lossy.h"

enum { SIZE = 1 << 20, GRAIN_BITS = 12, GRAINS = SIZE >> GRAIN_BITS, QEMU_SIZE = 64 << 20 };

static char dir[64];

static bool shell(const char *fmt, ...)
{
	char command[1024], text[1000];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(command, sizeof(command), "cd %s && { %s; } >out 2>&1", dir, text);
	return !system(command);
}

static struct image *open_at(const char *name, bool readonly)
{
	char path[128];
	struct error err;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	struct image_open o = { .path = path, .fd = -1, .format = "qcow2", .readonly = readonly };
	struct image *i = image_open(&o, &err);
	if (!i)
		fail_msg("%s", err.text);
	return i;
}

static void create_at(const char *name, unsigned cluster_bits, const char *backing)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct image_file *f = image_file_fd(fd);
	assert_true(qcow2_create(f, &(struct qcow2_create){ .size = QEMU_SIZE, .cluster_bits = cluster_bits, .version = 3,
				 .backing = backing, .backing_format = backing ? "qcow2" : NULL }, NULL));
	f->ops->close(f);
}

static bool dirty_at(struct image *i, const char *name, uint64_t offset)
{
	uint64_t n = 1;
	bool dirty;
	if (!qcow2_bitmap_run(i, name, offset, &n, &dirty))
		fail_msg("no bitmap '%s'", name);
	return dirty;
}

static void check_clean(const char *name)
{
	struct image_check found;
	struct image *i = open_at(name, true);
	assert_true(qcow2_check(i, false, &found, NULL));
	assert_int_equal(found.corruptions + found.leaks, 0);
	image_close(i);
	if (shell("command -v qemu-img") && !shell("qemu-img check %s", name))
		fail_msg("qemu-img check %s", name);
}

/* From session to session, of a disk that grows and goes back to a snapshot. */
static void sessions(void **state)
{
	static const uint8_t data[3 << 16] = { 1 };
	create_at("a", 16, NULL);
	struct image *i = open_at("a", false);
	assert_int_equal(image_write(i, data, sizeof(data), 0), 0);
	assert_true(qcow2_bitmap_add(i, "since", 16, NULL));
	assert_false(qcow2_bitmap_add(i, "since", 16, NULL));
	assert_false(qcow2_bitmap_add(i, "fine", 8, NULL));
	assert_true(qcow2_snapshot_create(i, "then", NULL));
	assert_int_equal(image_write(i, data, sizeof(data), 1 << 20), 0);
	image_close(i);
	check_clean("a");
	i = open_at("a", false);
	assert_false(dirty_at(i, "since", 0));
	assert_true(dirty_at(i, "since", 1 << 20) && dirty_at(i, "since", (1 << 20) + sizeof(data) - 1));
	assert_false(dirty_at(i, "since", (1 << 20) + sizeof(data)));
	assert_int_equal(i->ops->zero(i, 1 << 21, 1 << 16, true), 0);       /* zero already: nothing has changed */
	assert_false(dirty_at(i, "since", 1 << 21));
	assert_int_equal(i->ops->zero(i, 0, 1 << 16, true), 0);
	assert_true(dirty_at(i, "since", 0));
	assert_true(i->ops->resize(i, 2 * QEMU_SIZE, NULL));
	image_close(i);
	check_clean("a");
	i = open_at("a", false);
	assert_false(dirty_at(i, "since", 2 * QEMU_SIZE - 1));
	assert_true(qcow2_bitmap_clear(i, "since", NULL) && !dirty_at(i, "since", 0));
	assert_true(qcow2_snapshot_apply(i, "then", NULL));
	assert_true(dirty_at(i, "since", QEMU_SIZE - 1));
	assert_true(qcow2_bitmap_add(i, "second", 9, NULL));
	image_close(i);
	check_clean("a");
	i = open_at("a", false);
	assert_true(dirty_at(i, "since", 1 << 21) && !dirty_at(i, "second", 1 << 21));
	assert_true(qcow2_bitmap_remove(i, "since", NULL) && qcow2_bitmap_remove(i, "second", NULL));
	assert_false(qcow2_bitmap_remove(i, "second", NULL));
	image_close(i);
	check_clean("a");
	struct image_bitmap *list;
	i = open_at("a", true);
	assert_int_equal(qcow2_bitmap_list(i, &list), 0);
	image_bitmaps_free(list, 0);
	image_close(i);
}

/* The name of the backing file stands where the extension goes. */
static void beside_a_name(void **state)
{
	create_at("base", 16, NULL);
	create_at("top", 9, "./././././././././././././././././././././././././././././base");
	struct image *i = open_at("top", false);
	assert_true(qcow2_bitmap_add(i, "b", 16, NULL));
	image_close(i);
	i = open_at("top", true);
	assert_string_equal(i->backing_name, "./././././././././././././././././././././././././././././base");
	assert_string_equal(i->backing_format, "qcow2");
	assert_non_null(i->backing);
	assert_false(dirty_at(i, "b", 0));
	image_close(i);
	check_clean("top");
}

/* A granularity that nobody has: that bitmap is not to be trusted, and stays as it is beside the others. */
static void strange_granularity(void **state)
{
	static const uint8_t entry[] = { 1, 16, 0, 1, 0, 0, 0, 0, 'b' }, data[512] = { 1 };
	static uint8_t file[1 << 20];
	char path[128];
	create_at("s", 16, NULL);
	struct image *i = open_at("s", false);
	assert_true(qcow2_bitmap_add(i, "b", 16, NULL) && qcow2_bitmap_add(i, "good", 16, NULL));
	image_close(i);
	snprintf(path, sizeof(path), "%s/s", dir);
	int fd = open(path, O_RDWR);
	ssize_t n = pread(fd, file, sizeof(file), 0);
	uint8_t *at = n > 0 ? memmem(file, (size_t)n, entry, sizeof(entry)) : NULL;
	assert_non_null(at);
	assert_true(fd_pwrite_full(fd, (uint8_t[]){ 137 }, 1, (uint64_t)(at + 1 - file)));
	close(fd);
	i = open_at("s", false);
	assert_int_equal(image_write(i, data, sizeof(data), 1 << 20), 0);
	assert_true(i->ops->resize(i, 2 * QEMU_SIZE, NULL));
	image_close(i);
	struct image_bitmap *list;
	i = open_at("s", true);
	unsigned bitmaps = qcow2_bitmap_list(i, &list);
	assert_int_equal(bitmaps, 2);
	assert_false(list[0].sound);
	assert_true(list[1].sound);
	assert_true(dirty_at(i, "good", 1 << 20));
	image_bitmaps_free(list, bitmaps);
	image_close(i);
}

static void with_qemu(void **state)
{
	static const uint8_t data[1 << 16] = { 1 };
	if (!shell("command -v qemu-img && command -v qemu-io"))
		skip();
	/* theirs, read and written on */
	assert_true(shell("qemu-img create -f qcow2 q 64M && qemu-img bitmap --add -g 64k q b0 && "
			  "qemu-img bitmap --add -g 512 q fine && qemu-img bitmap --add --disable q off && "
			  "qemu-io -c 'write -P 7 1M 64k' -c 'write -z 5M 1M' q"));
	struct image *i = open_at("q", false);
	assert_true(dirty_at(i, "b0", 1 << 20) && !dirty_at(i, "fine", 6 << 20));
	assert_true(dirty_at(i, "fine", 5 << 20) && !dirty_at(i, "b0", 2 << 20) && !dirty_at(i, "off", 1 << 20));
	assert_int_equal(image_write(i, data, sizeof(data), 9 << 20), 0);
	assert_true(qcow2_bitmap_add(i, "ours", 16, NULL));
	image_close(i);
	check_clean("q");
	/* ours, through QEMU's hands and back */
	assert_true(shell("rm -f copy; qemu-img convert --bitmaps -O qcow2 q copy && qemu-img check copy"));
	i = open_at("copy", true);
	assert_true(dirty_at(i, "b0", 9 << 20) && dirty_at(i, "fine", (9 << 20) + 65535) && dirty_at(i, "b0", 1 << 20));
	assert_false(dirty_at(i, "b0", 10 << 20) || dirty_at(i, "off", 9 << 20) || dirty_at(i, "ours", 9 << 20));
	image_close(i);
	assert_true(shell("qemu-img bitmap --clear q b0 && qemu-img bitmap --remove q fine && qemu-io -c 'write 3M 64k' q"));
	i = open_at("q", false);
	assert_true(dirty_at(i, "b0", 3 << 20) && !dirty_at(i, "b0", 9 << 20) && dirty_at(i, "ours", 3 << 20));
	assert_true(qcow2_bitmap_remove(i, "b0", NULL) && qcow2_bitmap_remove(i, "off", NULL) &&
		    qcow2_bitmap_remove(i, "ours", NULL));
	image_close(i);
	check_clean("q");
	assert_true(shell("! qemu-img info q | grep -q bitmaps"));
}

/* --- power cuts ------------------------------------------------------------- */

struct cut { struct lossy file, after; unsigned seed, cuts, sound; };

static void verify(struct cut *c)
{
	static uint8_t got[SIZE];
	struct image_check found;
	struct error err;
	lossy_cut(&c->file, &c->after, &c->seed);
	struct image *i = image_on(&c->after.file, "qcow2", "cut", true, &err);
	if (!i)
		fail_msg("cut %u: %s", c->cuts, err.text);
	struct image_bitmap *list;
	unsigned n = qcow2_bitmap_list(i, &list);
	bool sound = n && list[0].sound;
	image_bitmaps_free(list, n);
	assert_int_equal(image_read(i, got, SIZE, 0), 0);
	for (uint64_t k = 0; sound && k < SIZE; k += 512)
		if (got[k] && !dirty_at(i, "b", k))
			fail_msg("cut %u: byte %u was written, and the bitmap does not know", c->cuts, (unsigned)k);
	image_close(i);
	i = image_on(&c->after.file, "qcow2", "cut", false, &err);
	if (!i)
		fail_msg("cut %u: %s", c->cuts, err.text);
	assert_true(qcow2_check(i, false, &found, NULL));
	if (found.corruptions || found.leaks)
		fail_msg("cut %u: %u corruptions, %u leaks", c->cuts, (unsigned)found.corruptions, (unsigned)found.leaks);
	image_close(i);
	c->sound += sound;
	c->cuts++;
}

static void at_sync(struct lossy *l, void *opaque)
{
	struct cut *c = opaque;
	if (rand_r(&c->seed) % 3 == 0)
		verify(c);
}

static void power_cuts(void **state)
{
	static uint8_t buf[8192];
	const char *many = getenv("QCOW2_CUTS");
	unsigned cuts = many ? (unsigned)atoi(many) : 300;
	struct cut *c = xnew(struct cut);
	c->seed = 3;
	lossy_init(&c->file);
	lossy_init(&c->after);
	assert_true(qcow2_create(&c->file.file, &(struct qcow2_create){ .size = SIZE, .cluster_bits = 9, .version = 3 }, NULL));
	struct image *i = image_on(&c->file.file, "qcow2", "cut", false, NULL);
	assert_true(qcow2_bitmap_add(i, "b", GRAIN_BITS, NULL));
	image_close(i);
	c->file.before_sync = at_sync;
	c->file.opaque = c;
	for (unsigned n = 1; c->cuts < cuts; n++) {
		i = image_on(&c->file.file, "qcow2", "cut", false, NULL);
		for (unsigned k = 0; k < 6; k++) {
			memset(buf, (int)(n % 255) + 1, sizeof(buf));
			unsigned s = (unsigned)rand_r(&c->seed) % (SIZE / 512 - 16);
			image_write(i, buf, 512 * (1 + (size_t)rand_r(&c->seed) % 16), s * 512ull);
			if (rand_r(&c->seed) % 3 == 0)
				i->ops->flush(i);
		}
		image_close(i);
		verify(c);
	}
	assert_true(c->sound > cuts / 10);
	lossy_free(&c->file);
	lossy_free(&c->after);
	free(c);
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/abyme-bitmap-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sessions), cmocka_unit_test(beside_a_name), cmocka_unit_test(strange_granularity),
		cmocka_unit_test(with_qemu), cmocka_unit_test(power_cuts) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
