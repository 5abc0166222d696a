/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unpacking a layer: a tar, perhaps compressed, of hostile origin, becomes a
 * directory in the form that overlayfs wants of a lower one (whiteouts as character
 * devices 0:0, opaque directories by user.overlay.opaque: mount with userxattr).
 *
 * It is done by a child that has chroot'ed into the fresh directory and has dropped
 * what rights it does not need, and every look-up goes through RESOLVE_IN_ROOT: nothing
 * that an entry says can lead out. Device nodes are left out (a container has its own
 * /dev), set-ID bits, file capabilities, owners, times and user.* attributes are kept.
 */
#ifndef IMAGE_UNPACK_H
#define IMAGE_UNPACK_H

#include "image/store.h"

/* The blob's tar must have this digest (or, "", gets it in diff). It lies at tmp/TMP then,
 * until layer_keep(); where the layer is there already, tmp is "" and nothing happens. */
bool layer_unpack(const struct image_store *s, const char *blob_hex, char diff[DIGEST_HEX + 1], char tmp[48], struct error *err);
/* Into layers/; what must survive a power cut has been synced before. */
bool layer_keep(const struct image_store *s, const char *tmp, const char *diff, struct error *err);
void layer_drop(const struct image_store *s, const char *tmp);

/* unpack_tar.c, in the child: what the tar at `fd` holds, into the directory `root`; the
 * digest of the uncompressed tar. */
bool unpack_tar(int fd, int root, char hex[DIGEST_HEX + 1], struct error *err);

/* unpack_entry.c: one entry, as the archive says it. */
struct unpack { int root; bool privileged; /* may give files away */ };
struct unpack_entry {
	const char *path, *target;    /* target: of a symbolic or hard link */
	bool hardlink;
	uint32_t mode;                /* type and permissions */
	uint32_t uid, gid;
	int64_t mtime; long mtime_ns;
};
/* *fd: a regular file that wants its content, else -1. */
bool unpack_entry(struct unpack *u, const struct unpack_entry *e, int *fd, struct error *err);
/* Owner, permissions, an attribute; of the file at `fd`. */
bool unpack_finish(struct unpack *u, const struct unpack_entry *e, int fd, struct error *err);
bool unpack_attribute(int fd, const char *name, const void *value, size_t size, struct error *err);

#endif
