/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a definition to the bundle that abyme-oci takes. */
#ifndef INSTANCE_CONTAINER_CONFIG_H
#define INSTANCE_CONTAINER_CONFIG_H

#include "instance/definition.h"

struct container_place {
	const char *bundle;           /* absolute; with rootfs/ mounted, resolv.conf, hosts, hostname */
	const char *inside;           /* the same, where the runtime sees it; its volumes too (session/guest.h) */
	const char *name;
	const char *init;             /* abyme-init, where the runtime sees it */
	bool own_network;             /* a network namespace of its own */
	bool rootless;                /* we are root of a user namespace only */
	bool in_guest;                /* the runtime is in a machine, which keeps limits of its own */
};

/* The text of config.json, to be freed. */
char *container_config(const struct definition *d, const struct container_place *p, struct error *err);
/* "linux.resources" alone, for `update`. */
char *container_resources(const struct definition *d, bool in_guest, struct error *err);
/* Volume n of a machine: its tag. A file is shared in a directory of its own, by this name. */
#define VOLUME_TAG "v%u"
#define VOLUME_FILE "file"

#endif
