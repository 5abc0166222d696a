/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths inside a container's root file system, whose owner is hostile: every
 * look-up goes through openat2(RESOLVE_IN_ROOT), so that a symbolic link or
 * ".." cannot lead out of it, whoever renames what meanwhile.
 */
#ifndef CONTAINER_ROOT_PATH_H
#define CONTAINER_ROOT_PATH_H

#include "base/error.h"
#include "base/util.h"

/* As open(); -1 with errno set. O_CLOEXEC is added. */
int root_open(int root, const char *path, int flags);
/* The same, and no symbolic link on the whole way. */
int root_open_plain(int root, const char *path, int flags);
/* An O_PATH descriptor of a directory, or of a file, that is made (with its
 * parents) where it does not exist. */
int root_make(int root, const char *path, bool directory, struct error *err);
/* The parent directory of `path`, made if need be; *name is its last part. */
int root_make_parent(int root, const char *path, const char **name, struct error *err);

#endif
