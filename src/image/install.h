/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a manifest whose content is in the store to an image that can run. */
#ifndef IMAGE_INSTALL_H
#define IMAGE_INSTALL_H

#include <stdio.h>

#include "image/manifest.h"

/* Unpack what is missing, then tag it (full NULL: not). */
bool image_install(struct image_store *s, const char *hex, const char *full, struct error *err);


/* ---- the ways in and out ---- */

/* An archive (docker save, OCI layout as tar; compressed or not) or an OCI layout's
 * directory; each image's name goes to `told`, a line each. "-": standard input. */
bool image_load_archive(struct image_store *s, const char *path, const char *name, FILE *told, struct error *err);
/* Both formats in one tar: OCI layout with docker save's manifest.json. */
bool image_save(struct image_store *s, char *const *names, unsigned n, int fd, struct error *err);
/* A root file system's tarball, or directory, as an image of one layer. */
bool image_import(struct image_store *s, const char *path, const char *full, struct error *err);

#endif
