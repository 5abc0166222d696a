/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file in memory that forgets: what was written since the last sync survives a
 * power cut in any subset and any order.  It can also fail its n-th call.
 */
#ifndef TESTS_LIB_LOSSY_H
#define TESTS_LIB_LOSSY_H

#include "disk/image.h"

enum { LOSSY_MAX = 8 << 20, LOSSY_PENDING = 65536 };

struct lossy_write { uint64_t offset; uint32_t len; uint8_t *data; };
struct lossy {
	struct image_file file;
	uint8_t *durable, *current;       /* at the last sync; with everything since */
	uint64_t size, durable_size;
	struct lossy_write *pending;
	unsigned npending;
	int faults_in, fault;             /* counts down to the error `fault`; < 0: never */
	int writes_in;                    /* counts down writes, to `full` of them that find no space; < 0: never */
	unsigned full;
	void (*before_sync)(struct lossy *l, void *opaque);   /* may be NULL */
	void *opaque;
};

void lossy_init(struct lossy *l);
void lossy_free(struct lossy *l);
/* What a disk may hold after the power has gone, into `out`. */
void lossy_cut(const struct lossy *l, struct lossy *out, unsigned *seed);

#endif
