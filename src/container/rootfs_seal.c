/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a container must not see or change: masked and read-only paths. */
#include <errno.h>
#include <sys/stat.h>

#include "container/kernel.h"
#include "container/root_path.h"
#include "container/rootfs.h"

/* A directory is covered by an empty read-only tmpfs, the same for all: copies of the
 * first, which has to be attached before (open_tree(2): before Linux 6.15). */
static bool mask_dir(struct rootfs *r, int *empty, int target, struct error *err)
{
	static const char *options[] = { "size=0k", "nr_inodes=1", "mode=555" };
	struct strings data = { options, ARRAY_SIZE(options) };
	if (*empty >= 0) {
		auto_close int tree = mount_clone(*empty, "", false);
		return tree >= 0 && mount_attach(tree, target);
	}
	*empty = mount_new("tmpfs", "tmpfs", NULL, &data,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
	return *empty >= 0 && mount_attach(*empty, target);
}

/* A file is covered by the host's null device, which was checked before any
 * file of the container was looked at. */
static bool mask_file(struct rootfs *r, int target)
{
	auto_close int tree = mount_clone(r->null, "", false);
	return tree >= 0 && mount_attach(tree, target);
}

static bool mask(struct rootfs *r, const char *path, int *empty, struct error *err)
{
	struct stat st;
	auto_close int target = root_open(r->fd, path, O_PATH);
	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR || error_set(err, errno, "cannot mask '%s'", path);
	bool ok = !fstat(target, &st) && (S_ISDIR(st.st_mode) ? mask_dir(r, empty, target, err) : mask_file(r, target));
	return ok || error_set(err, errno, "cannot mask '%s'", path);
}

static bool make_readonly(struct rootfs *r, const char *path, struct error *err)
{
	auto_close int target = root_open(r->fd, path, O_PATH);
	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR || error_set(err, errno, "cannot make '%s' read-only", path);
	auto_close int tree = mount_clone(target, "", true);
	if (tree < 0 || !mount_attributes(tree, MOUNT_ATTR_RDONLY, 0, false) || !mount_attach(tree, target))
		return error_set(err, errno, "cannot make '%s' read-only", path);
	return true;
}

bool rootfs_seal_paths(struct rootfs *r, struct error *err)
{
	const struct spec_linux *l = r->spec->lnx;
	auto_close int empty = -1;
	for (unsigned i = 0; i < l->readonly.n; i++)
		if (!make_readonly(r, l->readonly.v[i], err))
			return false;
	for (unsigned i = 0; i < l->masked.n; i++)
		if (!mask(r, l->masked.v[i], &empty, err))
			return false;
	if (r->spec->root->readonly && !mount_attributes(r->fd, MOUNT_ATTR_RDONLY, 0, false))
		return error_set(err, errno, "cannot make the root file system read-only");
	return true;
}
