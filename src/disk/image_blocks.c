/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks in blocks of other vendors: see image_blocks.h. */
#include "disk/image_blocks.h"

#include <errno.h>

enum { WINDOW = 256 };

bool image_damaged(const struct image *i, const char *what, struct error *err)
{
	return error_set(err, 0, "disk '%s' is a damaged %s image: %s", i->path, i->ops->format, what);
}

struct blocks *blocks_new(struct image *i, uint64_t block_size, struct error *err)
{
	if (block_size < 512 || block_size > 256 << 20 || block_size % 512 || !i->size ||
	    i->size > INT64_MAX - block_size || (i->size + block_size - 1) / block_size > BLOCKS_MAX) {
		image_damaged(i, "its size or block size is impossible", err);
		return NULL;
	}
	struct blocks *b = i->format = xnew(struct blocks);
	b->block_size = block_size;
	b->n = (i->size + block_size - 1) / block_size;
	b->at = xcalloc(b->n, sizeof(*b->at));
	b->unpacked = UINT64_MAX;
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

bool blocks_put(struct image *i, uint64_t k, uint64_t at)
{
	struct blocks *b = i->format;
	if (k >= b->n || at >= i->file->ops->size(i->file))
		return false;
	b->at[k] = at;
	return true;
}

static int read_packed(struct image *i, const struct iovec *iov, unsigned n, uint64_t k, uint64_t in)
{
	struct blocks *b = i->format;
	int r = 0;
	pthread_mutex_lock(&b->lock);
	if (!b->buffer)
		b->buffer = xmalloc(b->block_size);
	if (b->unpacked != k) {
		r = b->unpack(i, k, b->buffer);
		b->unpacked = r ? UINT64_MAX : k;
	}
	for (unsigned v = 0; v < n && !r; in += iov[v++].iov_len)
		memcpy(iov[v].iov_base, b->buffer + in, iov[v].iov_len);
	pthread_mutex_unlock(&b->lock);
	return r;
}

int blocks_read(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	struct blocks *b = i->format;
	struct iovec part[WINDOW];
	if (b->plain)
		return i->file->ops->read(i->file, iov, n, offset);
	int r = n > WINDOW ? -EINVAL : 0;
	for (uint64_t done = 0, piece; done < len && !r; done += piece) {
		uint64_t at = offset + done, k = at / b->block_size, in = at % b->block_size;
		piece = MIN(len - done, b->block_size - in);
		unsigned parts = iov_window(iov, n, done, piece, part);
		if (k >= b->n || !b->at[k])
			iov_zero(part, parts);
		else if (b->unpack)
			r = read_packed(i, part, parts, k, in);
		else
			r = i->file->ops->read(i->file, part, parts, b->at[k] + in);
	}
	return r;
}

int blocks_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind)
{
	struct blocks *b = i->format;
	uint64_t k = offset / b->block_size, n = b->block_size - offset % b->block_size;
	bool data = b->plain || (k < b->n && b->at[k]);
	while (!b->plain && n < *len && ++k < b->n && !!b->at[k] == data)
		n += b->block_size;
	*len = b->plain ? *len : MIN(*len, n);
	*kind = data ? IMAGE_DATA : IMAGE_ZERO;
	return 0;
}

void blocks_close(struct image *i)
{
	struct blocks *b = i->format;
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	free(b->buffer);
	free(b->at);
	free(b);
}

int readonly_write(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len) { return -EROFS; }
int readonly_zero(struct image *i, uint64_t offset, uint64_t len, bool unmap) { return -EROFS; }
int readonly_flush(struct image *i) { return 0; }

bool readonly_resize(struct image *i, uint64_t size, struct error *err)
{
	return error_set(err, 0, "disk '%s' is %s, which is only read: convert it", i->path, i->ops->format);
}
