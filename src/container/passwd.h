/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users and groups by the files of a container's root, which are hostile. */
#ifndef CONTAINER_PASSWD_H
#define CONTAINER_PASSWD_H

#include "base/error.h"
#include "base/util.h"

enum { PASSWD_GROUPS = 64 };
struct passwd_user {
	uint32_t uid, gid;
	uint32_t groups[PASSWD_GROUPS]; unsigned ngroups;      /* further ones of a user by name */
};

/* "NAME", "UID", "NAME:GROUP", "UID:GID" and so on, as images have it; "" is root. */
bool passwd_find(int root, const char *text, struct passwd_user *u, struct error *err);
/* The same in BUNDLE/rootfs. */
bool passwd_find_in(const char *bundle, const char *text, struct passwd_user *u, struct error *err);

#endif
