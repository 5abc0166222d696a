/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tar as a stream: written as POSIX.1-2001 "pax interchange format" with as few extended
 * headers as it takes; read as that and as GNU tar writes it (long names, base-256 numbers).
 * Compressed and sparse archives are refused with a sentence. What is read is hostile.
 */
#ifndef CONTAINER_TAR_H
#define CONTAINER_TAR_H

#include "container/unpack.h"

struct tar_in {
	int fd;
	uint64_t left;                /* of the entry's content, with what pads it to whole blocks */
	uint64_t size;                /* of the content that was not read yet */
	char *path, *target;          /* of the entry, ours */
};

/* 1: an entry, its strings valid until the next call; *size is its content's. 0: the end
 * (what follows it was read, too). What nobody read of the last content is passed over. */
int tar_next(struct tar_in *t, struct unpack_entry *e, uint64_t *size, struct error *err);
/* The content, to a file. */
bool tar_read(struct tar_in *t, int to, struct error *err);
void tar_close(struct tar_in *t);

bool tar_put(int fd, const struct unpack_entry *e, uint64_t size, struct error *err);
/* Exactly so much content, whatever the file has now. */
bool tar_write(int fd, int from, uint64_t size, struct error *err);
bool tar_end(int fd, struct error *err);

/* One block of the format. */
enum { TAR_BLOCK = 512 };
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2],
		user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
/* The sum of a header's bytes, those of the sum as spaces. */
unsigned tar_sum(const struct tar_header *h);

#endif
