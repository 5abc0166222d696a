/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The descriptor-based mount calls: fsopen(2), open_tree(2), mount_setattr(2). */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "container/kernel.h"
#include "container/rootfs.h"

int mount_clone(int dir, const char *path, bool below)
{
	return open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0u : (unsigned)AT_EMPTY_PATH) |
		(below ? (unsigned)AT_RECURSIVE : 0));
}

bool mount_attach(int tree, int target)
{
	return !move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

bool mount_attributes(int fd, uint64_t set, uint64_t clear, bool below)
{
	struct mount_attr a = { .attr_set = set, .attr_clr = clear };
	if (set & MOUNT_ATTR__ATIME)
		a.attr_clr |= MOUNT_ATTR__ATIME;
	return (!a.attr_set && !a.attr_clr) ||
		!mount_setattr(fd, "", AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0), &a, sizeof(a));
}

bool mount_propagation(int fd, uint64_t propagation, bool below)
{
	struct mount_attr a = { .propagation = propagation };
	return !mount_setattr(fd, "", AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0), &a, sizeof(a));
}

/* The kernel says why in the descriptor of the new file system: "e msg". */
static void explain(int fs, struct error *err, int why, const char *type, const char *option)
{
	char text[256];
	ssize_t n = read(fs, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	for (char *p = text; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = 0;
	error_set(err, why, "cannot mount a '%s' file system%s%s%s%s%s", type, *option ? " with option '" : "", option,
		*option ? "'" : "", *text ? ": " : "", *text && text[1] == ' ' ? text + 2 : text);
}

/* "key=value", a flag, or several of them with commas between; "\," is part of a value. */
static bool configure(int fs, const char *type, const char *options, struct error *err)
{
	for (const char *p = options; *p; ) {
		char one[4096];
		size_t n = 0;
		for (; *p && *p != ',' && n + 2 < sizeof(one); p++) {
			if (*p == '\\' && p[1])
				one[n++] = *p++;
			one[n++] = *p;
		}
		one[n] = 0;
		if (*p && *p != ',')
			return error_set(err, ENAMETOOLONG, "mount option '%.60s...'", one);
		p += *p == ',';
		char *value = strchr(one, '=');
		if (value)
			*value++ = 0;
		if (n && fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, one, value, 0)) {
			explain(fs, err, errno, type, one);
			return false;
		}
	}
	return true;
}

int mount_new(const char *type, const char *source, const struct strings *super, const struct strings *data,
	uint64_t attributes, struct error *err)
{
	auto_close int fs = fsopen(type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return error_minus(err, errno, "cannot mount a '%s' file system", type);
	if (source && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0))
		return error_minus(err, errno, "cannot mount '%s'", source);
	for (unsigned i = 0; super && i < super->n; i++)
		if (!configure(fs, type, super->v[i], err))
			return -1;
	for (unsigned i = 0; data && i < data->n; i++)
		if (!configure(fs, type, data->v[i], err))
			return -1;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) {
		explain(fs, err, errno, type, "");
		return -1;
	}
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attributes);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot mount a '%s' file system", type);
}
