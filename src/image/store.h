/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image store, $STATE/images/ (base/place.h):
 *
 *     blobs/HEX        content by its SHA-256: manifests, configs, layers as they came
 *     layers/HEX/      an unpacked layer, by the SHA-256 of its tar (the config's diff ID)
 *     refs/NAME        a tag ('/' written '%'): the digest of a manifest
 *     uses/INSTANCE    the digest of the manifest that an instance was made from
 *     tmp/             on its way in, or out
 *     lock             flock: shared by who adds or reads, exclusive to sweep
 *
 * Everything appears by one rename, in this order: blobs, layers, tag. So whatever is
 * killed at any moment leaves at most what no tag reaches, and the next sweep takes it.
 */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

#include "image/reference.h"

struct image_store { int dir, blobs, layers, refs, uses, tmp, lock; };

/* Opens (makes) it and takes the shared lock. */
bool image_store_open(struct image_store *s, struct error *err);
void image_store_close(struct image_store *s);

/* ---- tags and uses: small files with a digest ---- */

bool image_tag(struct image_store *s, const char *full, const char *hex, struct error *err);
bool image_untag(struct image_store *s, const char *full, struct error *err);
/* The manifest that a name means: a tag, or the first (at least 4) digits of its
 * digest. `full` gets the tag's whole name, "" where digits were given. */
bool image_find(struct image_store *s, const char *name, char full[REFERENCE_MAX + 1], char hex[DIGEST_HEX + 1],
		struct error *err);
/* Call fn with each tag, in order. */
bool image_each(struct image_store *s, bool (*fn)(const char *full, const char *hex, void *opaque), void *opaque);

bool image_use(struct image_store *s, const char *instance, const char *hex, struct error *err);
/* An instance is gone. No store: nothing happens. */
void image_unuse(const char *instance);
bool image_each_use(struct image_store *s, bool (*fn)(const char *instance, const char *hex, void *opaque), void *opaque);

/* ---- blobs and layers ---- */

/* -1: it is not there. */
int blob_open(const struct image_store *s, const char *hex, uint64_t *size);
/* The whole of a small one, with a NUL behind; to be freed. */
char *blob_text(const struct image_store *s, const char *hex, size_t *size, struct error *err);
/* The directory of an unpacked layer; -1. */
int layer_open(const struct image_store *s, const char *diff);

/* A fresh directory or file name in tmp/. */
void image_tmp_name(char name[48]);

/* sweep.c: drop what no tag and no instance reaches; the bytes that were freed. A store
 * that somebody is adding to is left alone: -1, without an error. */
int64_t image_sweep(struct image_store *s, struct error *err);

#endif
