/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mount of type "cgroup".  Version 2: a cgroup2 mount, or the container's own
 * directory where its cgroup namespace is the host's.  Version 1: a tmpfs with a
 * directory a hierarchy, each the container's own part of it.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/kernel.h"
#include "container/rootfs.h"

enum { SAFE = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };

/* In a cgroup namespace a new mount starts at its root; else our part is bound. */
static int hierarchy(const struct rootfs *r, const struct cgroup_dir *d, struct error *err)
{
	bool own = spec_has_ns(r->spec, NS_CGROUP);
	const char *one[] = { d->controllers };
	struct strings data = { one, 1 };
	int fd = !own ? -1 : mount_new(d->v2 ? "cgroup2" : "cgroup", "cgroup", NULL, d->v2 ? NULL : &data, SAFE, NULL);
	if (fd < 0)
		fd = mount_clone(AT_FDCWD, d->path, false);
	if (fd < 0)
		error_set(err, errno, "cannot mount the control groups of '%s'", *d->controllers ? d->controllers : "version 2");
	return fd;
}

static uint64_t attributes(const struct mount_plan *p)
{
	return SAFE | (p->set & MOUNT_ATTR_RDONLY);
}

static bool mount_v2(const struct rootfs *r, const struct mount_plan *p, int target, struct error *err)
{
	const struct cgroup_dir *d = r->cgroups->n ? &r->cgroups->dir[0] : NULL;
	for (unsigned i = 0; i < r->cgroups->n; i++)
		if (r->cgroups->dir[i].v2)
			d = &r->cgroups->dir[i];
	if (!d)
		return error_set(err, 0, "mount '%s': no control groups are mounted on this host", p->spec->destination);
	auto_close int fd = hierarchy(r, d, err);
	if (fd < 0)
		return false;
	if (!mount_attributes(fd, attributes(p), 0, false) || !mount_attach(fd, target))
		return error_set(err, errno, "cannot mount '%s'", p->spec->destination);
	return true;
}

/* "name=systemd" is the directory systemd, "cpu,cpuacct" has a link a controller. */
static bool add_hierarchy(const struct rootfs *r, const struct mount_plan *p, int top, const struct cgroup_dir *d,
	struct error *err)
{
	const char *name = d->v2 ? "unified" : !strncmp(d->controllers, "name=", 5) ? d->controllers + 5 : d->controllers;
	auto_close int fd = hierarchy(r, d, err);
	if (fd < 0)
		return false;
	if (mkdirat(top, name, 0555))
		return error_set(err, errno, "mount '%s': cannot make '%s'", p->spec->destination, name);
	auto_close int at = openat(top, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0 || !mount_attributes(fd, attributes(p), 0, false) || !mount_attach(fd, at))
		return error_set(err, errno, "mount '%s': cannot mount '%s'", p->spec->destination, name);
	for (const char *c = name; strchr(name, ',') && *c; c += strcspn(c, ","), c += *c == ',') {
		char link[64];
		snprintf(link, sizeof(link), "%.*s", (int)MIN(strcspn(c, ","), sizeof(link) - 1), c);
		symlinkat(name, top, link);
	}
	return true;
}

static bool mount_v1(const struct rootfs *r, const struct mount_plan *p, int target, struct error *err)
{
	static const char *options[] = { "mode=755" };
	struct strings data = { options, 1 };
	auto_close int tmp = mount_new("tmpfs", "tmpfs", NULL, &data, SAFE, err);
	if (tmp < 0)
		return false;
	if (!mount_attach(tmp, target))
		return error_set(err, errno, "cannot mount '%s'", p->spec->destination);
	for (unsigned i = 0; i < r->cgroups->n; i++)
		if (r->cgroups->dir[i].ours && !add_hierarchy(r, p, tmp, &r->cgroups->dir[i], err))
			return false;
	return mount_attributes(tmp, attributes(p), 0, false) ||
		error_set(err, errno, "mount '%s': its options are refused", p->spec->destination);
}

bool rootfs_mount_cgroup(struct rootfs *r, const struct mount_plan *p, int target, struct error *err)
{
	return r->cgroups->v2 || !strcmp(p->spec->type, "cgroup2") ? mount_v2(r, p, target, err) : mount_v1(r, p, target, err);
}
