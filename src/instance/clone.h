/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks for a copy of a stopped instance, beside the originals.  Linked: the
 * original's file becomes the base of two overlays, under a name of its own, and
 * nobody writes to it any more; this takes as long whatever the size.  Full: copied.
 */
#ifndef INSTANCE_CLONE_H
#define INSTANCE_CLONE_H

#include "instance/store.h"

/* `d`, a copy of the definition of `i`, gets the new disks: files called after
 * `name`.  On failure those that were made are removed. */
bool clone_disks(const struct instance *i, struct definition *d, const char *name, bool full, struct error *err);
/* Removes them again. */
void clone_undo(const struct definition *d, const char *name);

#endif
