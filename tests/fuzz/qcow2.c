/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk images come from anywhere: open, check, read, write, close what the input says. */
#include <fcntl.h>
#include <sys/mman.h>

#include "disk/image.h"
#include "lib/fuzz.h"

static size_t read_back(int fd, uint8_t *buf)
{
	ssize_t n = pread(fd, buf, FUZZ_MAX, 0);
	return n > 0 ? (size_t)n : 0;
}

/* Small images with data, in 512-byte clusters so that every table is within reach. */
size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const struct { unsigned version; bool fill, bitmap; } kinds[] = {
		{ 3, false }, { 3, true }, { 2, true }, { 3, true, true } };
	if (n >= ARRAY_SIZE(kinds))
		return 0;
	int fd = memfd_create("sample", 0), copy = dup(fd);
	struct image_file *f = image_file_fd(fd);
	struct qcow2_create c = { .size = 256 << 10, .cluster_bits = 9, .version = kinds[n].version };
	if (!qcow2_create(f, &c, NULL))
		abort();
	struct image *i = image_on(f, "qcow2", "sample", false, NULL);
	if (kinds[n].bitmap)
		qcow2_bitmap_add(i, "b", 9, NULL);
	for (unsigned k = 0; k < 20 && kinds[n].fill; k++)
		image_write(i, "0123456789abcdef", 16, k * 12800ull);
	image_close(i);
	size_t size = read_back(copy, buf);
	close(copy);
	return size;
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static uint8_t buf[64 << 10];
	struct error err;
	struct image_check found;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (!fd_pwrite_full(fd, data, size, 0))
		abort();
	struct image_file *f = image_file_fd(fd);
	struct image *i = image_on(f, "qcow2", "fuzz", false, &err);
	if (!i) {
		f->ops->close(f);
		return;
	}
	qcow2_check(i, false, &found, &err);
	for (uint64_t at = 0; at < (256 << 10) && at + sizeof(buf) <= i->size; at += sizeof(buf))
		image_read(i, buf, sizeof(buf), at);
	struct image_bitmap *bitmaps;
	unsigned nbitmaps = qcow2_bitmap_list(i, &bitmaps);
	image_bitmaps_free(bitmaps, nbitmaps);
	for (unsigned k = 0; k < 8; k++) {
		uint64_t at = k * 30001ull / 512 * 512, n = 512 * (1 + k * 3);
		if (at + n > i->size)
			break;
		if (k % 3)
			image_write(i, buf, n, at);
		else
			i->ops->zero(i, at, n, true);
	}
	i->ops->flush(i);
	if (i->size < 1 << 30)
		i->ops->resize(i, i->size + (64 << 10), &err);
	qcow2_check(i, true, &found, &err);
	image_close(i);
}
