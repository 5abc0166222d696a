/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying a disk, whole or what has changed. */
#ifndef DISK_COPY_H
#define DISK_COPY_H

#include "disk/image.h"

struct image_copy {
	struct image *from, *to;          /* to: new, so all that is zero stays unwritten */
	struct image *since;              /* an earlier state of `from` (qcow2_changed): only what differs; zeros
					     are written then, as `to` has a backing image. Or NULL */
	bool compress;                    /* to: qcow2 with clusters of 64 KiB */
	bool resumable;                   /* keep the log of resume_image() */
	uint64_t at;                      /* all before it has been copied */
	uint64_t rate;                    /* bytes a second, 0: no limit */
	bool (*stop)(void);               /* or NULL */
	void (*progress)(uint64_t done, uint64_t total);   /* may be NULL */
};
/* Flushed when it returns; 0 or -errno, -EINTR: stopped. */
int image_copy(const struct image_copy *c);
/* So many bytes should have taken that long: sleeps. */
void copy_keep_rate(uint64_t bytes, uint64_t rate);
/* A new file, which must not be there yet, and the image on it (without its backing),
 * locked. */
struct image *image_make(const char *path, const char *format, const struct qcow2_create *c, struct error *err);

/* Read all that is data, from `at` on. What cannot be read is told and passed over. */
struct image_scrub {
	struct image *image;
	uint64_t at, rate;                /* bytes a second, 0: no limit */
	bool (*stop)(struct image_scrub *s);   /* or NULL */
	void (*found)(struct image_scrub *s, uint64_t at, uint64_t len);
	void (*progress)(uint64_t done, uint64_t total);   /* or NULL */
	uint64_t read, bad;               /* bytes */
	void *opaque;
};
/* 1: stopped at `at`. */
int image_scrub(struct image_scrub *s);

/* preallocate.c */
#define PREALLOCATE(X) X(OFF, "off") X(METADATA, "metadata") X(FALLOC, "falloc") X(FULL, "full")
enum preallocate {
#define X(name, word) PREALLOCATE_##name,
	PREALLOCATE(X)
#undef X
};
bool preallocate_parse(const char *word, enum preallocate *out, struct error *err);
/* Of a new, open disk. */
bool image_preallocate(struct image *i, enum preallocate how, struct error *err);

#endif
