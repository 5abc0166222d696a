/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries of a tar of hostile origin become files below a directory. Every look-up goes
 * through RESOLVE_IN_ROOT: nothing that an entry says, and nobody who moves links about
 * meanwhile, leads out of it. Device nodes and sockets are left out.
 */
#ifndef CONTAINER_UNPACK_H
#define CONTAINER_UNPACK_H

#include <limits.h>
#include <time.h>

#include "base/error.h"
#include "base/util.h"

struct unpack {
	int root;
	bool privileged;              /* may give files away */
	bool layer;                   /* of an image: whiteouts mean something, and anything replaces anything */
	struct unpack_late { char *path; struct timespec time; } *late;
	size_t nlate;
};
struct unpack_entry {
	const char *path, *target;    /* target: of a symbolic or hard link */
	bool hardlink;
	uint32_t mode;                /* type and permissions */
	uint32_t uid, gid;
	int64_t mtime; long mtime_ns;
};

/* *fd: a regular file that wants its content or a directory, else -1. */
bool unpack_entry(struct unpack *u, const struct unpack_entry *e, int *fd, struct error *err);
/* Owner, permissions, times; an attribute: of the file at `fd`. */
bool unpack_finish(struct unpack *u, const struct unpack_entry *e, int fd, struct error *err);
bool unpack_attribute(int fd, const char *name, const void *value, size_t size, struct error *err);
/* The times of the directories, after all entries. */
void unpack_end(struct unpack *u);

/* Without "/", "./", empty parts; false: ".." or too long. The root itself is "". */
bool unpack_clean_path(const char *path, char out[PATH_MAX]);

#endif
