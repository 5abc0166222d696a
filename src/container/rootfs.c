/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts of a container, its root and the way into it: rootfs.h. */
#include "container/rootfs.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "container/kernel.h"
#include "container/root_path.h"

bool rootfs_plan(struct rootfs *r, struct arena *a, struct error *err)
{
	r->tree = r->fd = r->null = -1;
	r->plans = arena_alloc(a, r->spec->mounts.n * sizeof(*r->plans));
	for (unsigned i = 0; i < r->spec->mounts.n; i++)
		if (!mount_plan_make(a, &r->spec->mounts.v[i], &r->plans[i], err))
			return false;
	return true;
}

static int open_source(const struct mount_plan *p, struct error *err)
{
	int fd = mount_clone(AT_FDCWD, p->spec->source, p->recursive);
	if (fd < 0)
		error_set(err, errno, "mount '%s': cannot bind '%s'", p->spec->destination, p->spec->source);
	return fd;
}

bool rootfs_open_sources(struct rootfs *r, struct error *err)
{
	r->tree = mount_clone(AT_FDCWD, r->path, true);
	if (r->tree < 0)
		return error_set(err, errno, "cannot bind the root file system '%s'", r->path);
	for (unsigned i = 0; i < r->spec->mounts.n; i++)
		if (r->plans[i].bind && (r->plans[i].tree = open_source(&r->plans[i], err)) < 0)
			return false;
	return true;
}

static bool map_ids(struct mount_plan *p, int container_userns, struct error *err)
{
	auto_close int own = -1;
	if (p->spec->uids.n || p->spec->gids.n) {
		own = userns_make(&p->spec->uids, &p->spec->gids, err);
		if (own < 0)
			return false;
	} else if (container_userns < 0) {
		return error_set(err, 0, "mount '%s': 'idmap' needs mappings, or a user namespace", p->spec->destination);
	}
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)(own >= 0 ? own : container_userns) };
	if (p->tree < 0 && (p->tree = open_source(p, err)) < 0)
		return false;
	if (mount_setattr(p->tree, "", AT_EMPTY_PATH | (p->idmap_below ? AT_RECURSIVE : 0), &a, sizeof(a)))
		return error_set(err, errno, "mount '%s': its file system cannot map IDs", p->spec->destination);
	return true;
}

bool rootfs_map_ids(struct rootfs *r, int userns, struct error *err)
{
	for (unsigned i = 0; i < r->spec->mounts.n; i++)
		if (r->plans[i].idmap && !map_ids(&r->plans[i], userns, err))
			return false;
	return true;
}

void rootfs_close(struct rootfs *r)
{
	for (unsigned i = 0; r->plans && i < r->spec->mounts.n; i++)
		if (r->plans[i].tree >= 0)
			close(r->plans[i].tree);
	if (r->tree >= 0)
		close(r->tree);
	r->tree = -1;
}

static uint64_t propagation_of(const char *word)
{
	return !word || !*word ? 0 : strstr(word, "shared") ? MS_SHARED : strstr(word, "slave") ? MS_SLAVE :
		strstr(word, "unbindable") ? MS_UNBINDABLE : MS_PRIVATE;
}

/* Nothing that is mounted from here on may show outside. The host's mounts stay
 * slaves only where the configuration wants their changes to come in. */
static bool cut_off(struct rootfs *r, struct error *err)
{
	uint64_t p = propagation_of(r->spec->lnx->propagation);
	if (mount(NULL, "/", NULL, MS_REC | (p == MS_SHARED || p == MS_SLAVE ? MS_SLAVE : MS_PRIVATE), NULL))
		return error_set(err, errno, "cannot make the mounts of the new namespace private");
	return true;
}

bool rootfs_attach(struct rootfs *r, struct error *err)
{
	struct stat st;
	struct statfs fs;
	r->null = open("/dev/null", O_PATH | O_CLOEXEC);
	if (r->null < 0 || fstat(r->null, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != 0x103)
		return error_set(err, 0, "the host's /dev/null is not the null device");
	if (spec_has_ns(r->spec, NS_MOUNT) && !cut_off(r, err))
		return false;
	if (r->tree < 0)
		r->tree = mount_clone(AT_FDCWD, r->path, true);
	auto_close int at = open(r->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->tree < 0 || at < 0 || !mount_attach(r->tree, at))
		return error_set(err, errno, "cannot mount the root file system '%s'", r->path);
	r->fd = move_fd(&r->tree);
	/* pivot_root(2): neither it nor its parent may be shared */
	uint64_t p = propagation_of(r->spec->lnx->propagation);
	if (!mount_propagation(r->fd, p == MS_SHARED || p == MS_SLAVE ? MS_SLAVE : MS_PRIVATE, true))
		return error_set(err, errno, "cannot make the root file system private");
	if (!fstatfs(r->fd, &fs) && fs.f_type == PROC_SUPER_MAGIC)
		return error_set(err, 0, "root.path '%s' is in a proc file system", r->path);
	return true;
}

static bool is_type(const struct mount_plan *p, const char *type)
{
	return !p->bind && p->spec->type && !strcmp(p->spec->type, type);
}

static bool source_is_dir(const struct mount_plan *p)
{
	struct stat st;
	return !p->bind || (fstat(p->tree, &st) ? true : S_ISDIR(st.st_mode));
}

/* proc and sysfs go where they are written, through no link of the image. */
static int open_target(struct rootfs *r, const struct mount_plan *p, struct error *err)
{
	int fd = root_make(r->fd, p->spec->destination, source_is_dir(p), err);
	if (fd >= 0 && (is_type(p, "proc") || is_type(p, "sysfs"))) {
		close(fd);
		fd = root_open_plain(r->fd, p->spec->destination, O_PATH | O_DIRECTORY);
		if (fd < 0)
			error_set(err, errno, "mount '%s': no symbolic link may stand on this way", p->spec->destination);
	}
	return fd;
}

/* Above all, below all, propagation: the order of mount(8). */
static bool finish(const struct mount_plan *p, int fd, struct error *err)
{
	bool ok = mount_attributes(fd, p->rset, p->rclear, true);
	if (ok && (p->bind || p->remount))
		ok = mount_attributes(fd, p->set, p->clear, false);
	if (ok && p->propagation)
		ok = mount_propagation(fd, p->propagation, p->propagation_below);
	return ok || error_set(err, errno, "mount '%s': its options are refused", p->spec->destination);
}

/* A new file system takes the right to mount sysfs from the network namespace it
 * shows; without that right the host's is bound, as far as it is visible. */
static int fallback(const struct mount_plan *p, struct error *err)
{
	int fd = err->code == EPERM && is_type(p, "sysfs") ? mount_clone(AT_FDCWD, "/sys", true) : -1;
	if (fd >= 0)
		*err = (struct error){ 0 };
	return fd;
}

static int new_tree(struct rootfs *r, const struct mount_plan *p, int target, struct error *err)
{
	struct error e = { 0 };
	int fd = mount_new(p->spec->type, p->spec->source ? p->spec->source : p->spec->type, &p->super, &p->data,
		p->set & ~(uint64_t)MOUNT_ATTR_NOSYMFOLLOW, &e);
	if (fd < 0)
		fd = fallback(p, &e);
	if (fd < 0)
		return error_minus(err, 0, "mount '%s': %s", p->spec->destination, e.text);
	if (p->set & MOUNT_ATTR_NOSYMFOLLOW)
		mount_attributes(fd, MOUNT_ATTR_NOSYMFOLLOW, 0, false);
	if (p->copy_up) {
		auto_close int from = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (from >= 0 && !copy_tree(from, fd, err)) {
			close(fd);
			return -1;
		}
	}
	return fd;
}

static bool mount_one(struct rootfs *r, struct mount_plan *p, struct error *err)
{
	if (p->bind && p->tree < 0 && (p->tree = open_source(p, err)) < 0)
		return false;
	auto_close int target = open_target(r, p, err);
	if (target < 0)
		return false;
	if (is_type(p, "cgroup") || is_type(p, "cgroup2"))
		return (!r->placed || r->placed(r->arg, err)) && rootfs_mount_cgroup(r, p, target, err);
	if (p->remount || (!p->bind && !(p->spec->type && *p->spec->type)))
		return finish(p, target, err);
	auto_close int tree = p->bind ? move_fd(&p->tree) : new_tree(r, p, target, err);
	if (tree < 0)
		return false;
	if (!mount_attach(tree, target))
		return error_set(err, errno, "cannot mount '%s' at '%s'", p->spec->source ? p->spec->source : p->spec->type,
			p->spec->destination);
	/* shared with the host unless asked for: a bind keeps its peer group, so it becomes a slave of it */
	if (p->bind && !p->propagation && !mount_propagation(tree, MS_PRIVATE, true))
		return error_set(err, errno, "mount '%s': cannot make it private", p->spec->destination);
	return finish(p, tree, err);
}

bool rootfs_mount_all(struct rootfs *r, struct error *err)
{
	for (unsigned i = 0; i < r->spec->mounts.n; i++)
		if (!mount_one(r, &r->plans[i], err))
			return false;
	return true;
}

static bool pivot(struct rootfs *r, struct error *err)
{
	auto_close int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fchdir(r->fd) || sys_pivot_root(".", "."))
		return error_set(err, errno, "cannot make '%s' the root (pivot_root; on a ramdisk use --no-pivot)", r->path);
	/* the old root is now on top of the new: let its unmounting not reach the host */
	if (fchdir(old) || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) || umount2(".", MNT_DETACH) || chdir("/"))
		return error_set(err, errno, "cannot unmount the old root");
	return true;
}

static bool chroot_into(struct rootfs *r, struct error *err)
{
	if (fchdir(r->fd) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return error_set(err, errno, "cannot move '%s' to the root", r->path);
	return true;
}

/* Without a mount namespace of its own the container's mounts are the host's;
 * they go when the root is unmounted by rootfs_detach(). */
static bool chroot_only(struct rootfs *r, struct error *err)
{
	if (fchdir(r->fd) || chroot(".") || chdir("/"))
		return error_set(err, errno, "cannot change the root to '%s'", r->path);
	return true;
}

void rootfs_detach(const struct spec *s, const char *path)
{
	if (!spec_has_ns(s, NS_MOUNT))
		umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

bool rootfs_enter(struct rootfs *r, struct error *err)
{
	if (!spec_has_ns(r->spec, NS_MOUNT))
		return chroot_only(r, err);
	const char *word = r->spec->lnx->propagation;
	uint64_t p = propagation_of(word);
	if (r->no_pivot ? !chroot_into(r, err) : !pivot(r, err))
		return false;
	if (p && mount(NULL, "/", NULL, p | (*word == 'r' ? MS_REC : 0), NULL))
		return error_set(err, errno, "cannot set rootfsPropagation '%s'", word);
	close(move_fd(&r->fd));
	return true;
}
