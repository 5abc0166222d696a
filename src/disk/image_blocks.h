/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of disk/: other vendors' formats, read-only.  All of them cut the disk into
 * blocks of one size and say where in the file each lies; this does the rest.
 */
#ifndef DISK_IMAGE_BLOCKS_H
#define DISK_IMAGE_BLOCKS_H

#include <pthread.h>
#include "disk/image.h"

enum { BLOCKS_MAX = 1 << 26 };

struct blocks {
	uint64_t block_size, n;
	uint64_t *at;                     /* byte in the file; 0: zeros */
	bool plain;                       /* the file is the disk, from its first byte */
	/* NULL: blocks are not packed. Else the contents of block k, block_size bytes; 0 or -errno. */
	int (*unpack)(struct image *i, uint64_t k, uint8_t *out);
	pthread_mutex_t lock;             /* of what is below */
	uint64_t unpacked;                /* the block in `buffer`, UINT64_MAX: none */
	uint8_t *buffer;
};

/* For i->format: room for all blocks of i->size, which with block_size is checked. */
struct blocks *blocks_new(struct image *i, uint64_t block_size, struct error *err);
/* The block lies there; false if that is beyond the file (which may end within the last one). */
bool blocks_put(struct image *i, uint64_t k, uint64_t at);
bool image_damaged(const struct image *i, const char *what, struct error *err);

int blocks_read(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len);
int blocks_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind);
void blocks_close(struct image *i);
int readonly_write(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len);
int readonly_zero(struct image *i, uint64_t offset, uint64_t len, bool unmap);
int readonly_flush(struct image *i);
bool readonly_resize(struct image *i, uint64_t size, struct error *err);
#define BLOCKS_OPS .read = blocks_read, .write = readonly_write, .zero = readonly_zero, .flush = readonly_flush, \
		   .map = blocks_map, .resize = readonly_resize, .close = blocks_close

#endif
