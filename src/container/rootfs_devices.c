/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device nodes and links: runtime-spec config-linux.md "Devices", "Default Devices". */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "container/kernel.h"
#include "container/root_path.h"
#include "container/rootfs.h"

static const struct spec_device defaults[] = {
	{ "/dev/null", "c", 1, 3, { true, 0666 }, 0, 0 }, { "/dev/zero", "c", 1, 5, { true, 0666 }, 0, 0 },
	{ "/dev/full", "c", 1, 7, { true, 0666 }, 0, 0 }, { "/dev/random", "c", 1, 8, { true, 0666 }, 0, 0 },
	{ "/dev/urandom", "c", 1, 9, { true, 0666 }, 0, 0 }, { "/dev/tty", "c", 5, 0, { true, 0666 }, 0, 0 },
};

static const char *const links[][2] = {
	{ "/dev/fd", "/proc/self/fd" }, { "/dev/stdin", "/proc/self/fd/0" }, { "/dev/stdout", "/proc/self/fd/1" },
	{ "/dev/stderr", "/proc/self/fd/2" }, { "/dev/ptmx", "pts/ptmx" },
};

static bool node_mode(const struct spec_device *d, mode_t *mode, struct error *err)
{
	*mode = (mode_t)(d->mode.set ? d->mode.v & 07777 : 0666);
	switch (*d->type) {
	case 'c': case 'u': *mode |= S_IFCHR; return true;
	case 'b': *mode |= S_IFBLK; return true;
	case 'p': *mode |= S_IFIFO; return true;
	}
	return error_set(err, 0, "device '%s': '%s' is no type (c, b, u or p)", d->path, d->type);
}

/* In a user namespace nodes cannot be made: the host's own is bound. */
static bool bind_device(const struct rootfs *r, const struct spec_device *d, mode_t mode, struct error *err)
{
	struct stat st;
	auto_close int tree = mount_clone(AT_FDCWD, d->path, false);
	if (tree < 0 || fstat(tree, &st))
		return error_set(err, errno, "cannot bind the host's device '%s'", d->path);
	if ((st.st_mode & S_IFMT) != (mode & S_IFMT) || st.st_rdev != makedev((unsigned)d->major, (unsigned)d->minor))
		return error_set(err, 0, "the host's '%s' is not device %d:%d", d->path, (int)d->major, (int)d->minor);
	auto_close int target = root_make(r->fd, d->path, false, err);
	if (target < 0)
		return false;
	return mount_attach(tree, target) || error_set(err, errno, "cannot bind device '%s'", d->path);
}

static bool same_node(int parent, const char *name, mode_t mode, dev_t dev)
{
	struct stat st;
	return !fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) && (st.st_mode & S_IFMT) == (mode & S_IFMT) && st.st_rdev == dev;
}

static bool make_device(const struct rootfs *r, const struct spec_device *d, struct error *err)
{
	const char *name;
	mode_t mode;
	if (!node_mode(d, &mode, err))
		return false;
	if (d->major < 0 || d->major > 0xfff || d->minor < 0 || d->minor > 0xfffff)
		return error_set(err, 0, "device '%s': its numbers are out of range", d->path);
	if (r->userns && !S_ISFIFO(mode))
		return bind_device(r, d, mode, err);
	dev_t dev = S_ISFIFO(mode) ? 0 : makedev((unsigned)d->major, (unsigned)d->minor);
	auto_close int parent = root_make_parent(r->fd, d->path, &name, err);
	if (parent < 0)
		return false;
	if (mknodat(parent, name, mode, dev)) {
		if (errno == EPERM && !S_ISFIFO(mode))
			return bind_device(r, d, mode, err);
		if (errno != EEXIST || !same_node(parent, name, mode, dev))
			return error_set(err, errno, "cannot make device '%s'", d->path);
	}
	/* umask(2) took part in mknod; a link put in its place is not followed */
	auto_close int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fd < 0 || !same_node(parent, name, mode, dev) || fchownat(fd, "", d->uid, d->gid, AT_EMPTY_PATH) ||
	    chmod(self, mode & 07777))
		return error_set(err, errno, "cannot give device '%s' its owner and mode", d->path);
	return true;
}

static bool listed(const struct spec_linux *l, const char *path)
{
	for (unsigned i = 0; i < l->devices.n; i++)
		if (!strcmp(l->devices.v[i].path, path))
			return true;
	return false;
}

/* /dev bound from the host has all of it, and is not ours to change. */
static bool dev_is_bound(const struct rootfs *r)
{
	for (unsigned i = 0; i < r->spec->mounts.n; i++) {
		const char *d = r->spec->mounts.v[i].destination;
		if (r->plans[i].bind && (!strcmp(d, "/dev") || !strcmp(d, "/dev/")))
			return true;
	}
	return false;
}

static bool make_link(const struct rootfs *r, const char *path, const char *target, struct error *err)
{
	const char *name;
	auto_close int parent = root_make_parent(r->fd, path, &name, err);
	if (parent < 0)
		return false;
	if (symlinkat(target, parent, name) && errno == EEXIST && !strcmp(name, "ptmx") &&
	    !unlinkat(parent, name, 0) && symlinkat(target, parent, name))
		return error_set(err, errno, "cannot make '%s'", path);
	return true;
}

bool rootfs_devices(struct rootfs *r, struct error *err)
{
	const struct spec_linux *l = r->spec->lnx;
	if (dev_is_bound(r))
		return true;
	for (unsigned i = 0; i < l->devices.n; i++)
		if (!make_device(r, &l->devices.v[i], err))
			return false;
	for (unsigned i = 0; i < ARRAY_SIZE(defaults); i++)
		if (!listed(l, defaults[i].path) && !make_device(r, &defaults[i], err))
			return false;
	for (unsigned i = 0; i < ARRAY_SIZE(links); i++)
		if (!make_link(r, links[i][0], links[i][1], err))
			return false;
	return true;
}
