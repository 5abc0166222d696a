/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ordinary user as root of a user namespace: own ID for 0, and from 1 on the
 * range that /etc/subuid and /etc/subgid grant (subuid(5)), if they do.
 */
#ifndef CONTAINER_SUBIDS_H
#define CONTAINER_SUBIDS_H

#include "container/spec.h"

/* The mappings of the caller: one entry, or two. `room` holds them. */
void subids_maps(struct id_map room[4], struct id_maps *uids, struct id_maps *gids);
/* Root of the host, not only of such a namespace. */
bool subids_real_root(void);
/* Become root of such a namespace. Root already: nothing happens. */
bool subids_enter(struct error *err);

#endif
