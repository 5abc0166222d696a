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

#endif
