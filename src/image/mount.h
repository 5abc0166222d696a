/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image's layers as one writable tree. */
#ifndef IMAGE_MOUNT_H
#define IMAGE_MOUNT_H

#include "image/store.h"

/* In the mount namespace of the caller: the image at DIR/rootfs, with what is changed in
 * DIR/upper. overlayfs; where that is refused, fuse-overlayfs. */
bool image_mount(struct image_store *s, const char *hex, int dir, struct error *err);

#endif
