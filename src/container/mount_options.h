/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the option strings of a mount ask for. */
#ifndef CONTAINER_MOUNT_OPTIONS_H
#define CONTAINER_MOUNT_OPTIONS_H

#include "container/spec.h"

struct mount_plan {
	const struct spec_mount *spec;
	uint64_t set, clear;              /* MOUNT_ATTR_* of this mount */
	uint64_t rset, rclear;            /* ... and of all below it */
	uint64_t propagation;             /* MS_SHARED ... of this mount, or 0 */
	bool propagation_below;
	bool bind, recursive;             /* bind, rbind */
	bool remount;
	bool copy_up;                     /* tmpcopyup */
	bool idmap, idmap_below;          /* idmap, ridmap, or mappings of its own */
	struct strings super;             /* "ro", "sync", ...: flags of the file system itself */
	struct strings data;              /* for the file system */
	int tree;                         /* a detached mount, or -1 */
};

/* Strings and lists live in `a`. */
bool mount_plan_make(struct arena *a, const struct spec_mount *m, struct mount_plan *out, struct error *err);
/* Names of all options, for `features`: calls back once a name. */
void mount_option_names(void (*each)(void *arg, const char *name), void *arg);

#endif
