/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images as blocking calls. */
#include "disk/image.h"

#include <errno.h>
#include <unistd.h>

static bool raw_open(struct image *i, struct error *err)
{
	i->size = i->file->ops->size(i->file);
	return true;
}

static int raw_read(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	return i->file->ops->read(i->file, iov, n, offset);
}

static int raw_write(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	return i->file->ops->write(i->file, iov, n, offset);
}

static int raw_zero(struct image *i, uint64_t offset, uint64_t len, bool unmap)
{
	static const uint8_t zeros[65536];
	int r = unmap ? i->file->ops->punch(i->file, offset, len) : -EOPNOTSUPP;
	for (uint64_t done = 0; r && done < len; ) {
		size_t piece = MIN(len - done, (uint64_t)sizeof(zeros));
		int e = file_write(i->file, zeros, piece, offset + done);
		if (e)
			return e;
		done += piece;
	}
	return 0;
}

static int raw_flush(struct image *i) { return i->file->ops->sync(i->file); }

static int raw_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind)
{
	*kind = file_hole(i->file, offset, len) ? IMAGE_ZERO : IMAGE_DATA;
	return 0;
}

static enum image_direct raw_direct(struct image *i, uint64_t offset, uint64_t len, bool writes, uint64_t *host,
				    unsigned *token)
{
	*host = offset;
	return DIRECT_HERE;
}

static bool raw_resize(struct image *i, uint64_t size, struct error *err)
{
	int r = i->file->ops->truncate(i->file, size);
	if (r)
		return error_set(err, -r, "cannot resize disk '%s'", i->path);
	i->size = size;
	return true;
}

static void raw_close(struct image *i) { }

const struct image_ops image_raw = {
	.format = "raw", .open = raw_open, .read = raw_read, .write = raw_write, .zero = raw_zero,
	.flush = raw_flush, .map = raw_map, .direct = raw_direct, .resize = raw_resize, .close = raw_close,
};
