/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks for a copy of a stopped instance, beside the originals.  Linked: the
 * original's file becomes the base of two overlays, under a name of its own, and
 * nobody writes to it any more; this takes as long whatever the size.  Full: copied,
 * under other names until all are complete; a copy that was interrupted goes on.
 */
#ifndef INSTANCE_CLONE_H
#define INSTANCE_CLONE_H

#include "instance/store.h"

struct clone_how {
	bool full;
	uint64_t rate;                    /* bytes a second, 0: no limit */
	bool (*stop)(void);
	void (*going_on)(uint64_t at, uint64_t size);
	void (*progress)(uint64_t done, uint64_t total);
};
/* `d`, a copy of the definition of `i`, gets the new disks: files called after
 * `name`.  On failure those that were made are removed; not when it was stopped. */
bool clone_disks(const struct instance *i, struct definition *d, const char *name, const struct clone_how *how,
		 struct error *err);
/* Removes them again. */
void clone_undo(const struct definition *d, const char *name);
/* The clone is there: nothing has to go on. */
void clone_done(const struct definition *d, const char *name);

#endif
