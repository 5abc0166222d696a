/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking content in: a file in tmp/, hashed on its way, renamed to its digest. */
#ifndef IMAGE_BLOB_H
#define IMAGE_BLOB_H

#include "image/sha256.h"
#include "image/store.h"

struct blob {
	const struct image_store *store;
	int fd;
	char name[48];
	struct sha256 sum;
	uint64_t size;
	char hex[DIGEST_HEX + 1];     /* once it is closed */
};

bool blob_begin(struct blob *b, const struct image_store *s, struct error *err);
bool blob_add(struct blob *b, const void *data, size_t n, struct error *err);
/* No more comes: hex is known, the file still in tmp/ and closed. */
void blob_close(struct blob *b);
/* Read it there; -1. */
int blob_reopen(const struct blob *b);
/* Into blobs/. With `want` (digits) it must be that. */
bool blob_keep(struct blob *b, const char *want, struct error *err);
/* Away with it, if it was not kept. */
void blob_drop(struct blob *b);

/* All of it at once. */
bool blob_put(const struct image_store *s, const void *data, size_t n, char hex[DIGEST_HEX + 1], struct error *err);

#endif
