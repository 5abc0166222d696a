/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One entry of a tar into the directory tree: see unpack.h. */
#include "container/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/place.h"
#include "container/root_path.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

bool unpack_clean_path(const char *path, char out[PATH_MAX])
{
	size_t n = 0;
	for (const char *p = path; *p; ) {
		size_t part = strcspn(p, "/");
		if (part == 2 && !memcmp(p, "..", 2))
			return false;
		if (part && !(part == 1 && *p == '.')) {
			if (n + part + 2 > PATH_MAX || part > NAME_MAX)
				return false;
			if (n)
				out[n++] = '/';
			memcpy(out + n, p, part);
			n += part;
		}
		p += part + (p[part] == '/');
	}
	out[n] = 0;
	return true;
}

/* What stands at parent/name makes room; a directory stays for a directory, and gives way
 * to nothing else but in a layer, which is nobody's yet. */
static bool clear(const struct unpack *u, int parent, const char *name, bool directory, struct error *err)
{
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT || error_set(err, errno, "cannot look at '%s'", name);
	if (S_ISDIR(st.st_mode)) {
		if (directory)
			return true;
		if (!u->layer)
			return error_set(err, 0, "'%s' is a directory there, and nothing else can take its place", name);
		auto_close int old = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (old >= 0)
			place_empty(old);
		return !unlinkat(parent, name, AT_REMOVEDIR) || error_set(err, errno, "cannot replace the directory '%s'", name);
	}
	if (directory && !u->layer)
		return error_set(err, 0, "'%s' is there already and is no directory", name);
	return !unlinkat(parent, name, 0) || error_set(err, errno, "cannot replace '%s'", name);
}

static bool make_opaque(int dir, struct error *err)
{
	return !fsetxattr(dir, "user.overlay.opaque", "y", 1, 0) ||
		error_set(err, errno, "the image store's file system does not keep user.* attributes, which overlays need");
}

static bool is_whiteout(int parent, const char *name)
{
	struct stat st;
	return !fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

/* ".wh.NAME": NAME of the layers below is not there. Where this layer has a directory
 * of that name, only what is below it is hidden. */
static bool whiteout(int parent, const char *name, struct error *err)
{
	struct stat st;
	if (!strcmp(name, OPAQUE))
		return make_opaque(parent, err);
	const char *hidden = name + strlen(WHITEOUT);
	if (!strncmp(hidden, WHITEOUT, strlen(WHITEOUT)))
		return true;          /* aufs' own files */
	if (!*hidden || !strcmp(hidden, ".") || !strcmp(hidden, ".."))
		return error_set(err, 0, "the whiteout '%s' names nothing", name);
	if (fstatat(parent, hidden, &st, AT_SYMLINK_NOFOLLOW))
		return !mknodat(parent, hidden, S_IFCHR, 0) || error_set(err, errno, "cannot make the whiteout of '%s'", hidden);
	if (!S_ISDIR(st.st_mode))
		return true;          /* ours already hides the one below */
	auto_close int dir = openat(parent, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir >= 0 ? make_opaque(dir, err) : error_set(err, errno, "cannot open '%s'", hidden);
}

/* ---- the kinds ---- */

static bool make_directory(const struct unpack *u, int parent, const char *name, int *fd, struct error *err)
{
	bool hides = u->layer && is_whiteout(parent, name);
	if (!clear(u, parent, name, true, err))
		return false;
	if (mkdirat(parent, name, 0700) && errno != EEXIST)
		return error_set(err, errno, "cannot make the directory '%s'", name);
	*fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return error_set(err, errno, "cannot open the directory '%s'", name);
	return !hides || make_opaque(*fd, err);
}

static bool hard_link(struct unpack *u, int parent, const char *name, const char *target, struct error *err)
{
	char path[PATH_MAX];
	const char *last;
	struct stat st;
	if (!unpack_clean_path(target, path) || !*path)
		return error_set(err, 0, "the hard link '%s' leads to '%.100s', outside", name, target);
	const char *slash = strrchr(path, '/');
	last = slash ? slash + 1 : path;
	auto_free char *above = strndup(path, slash ? (size_t)(slash - path) : 0);
	auto_close int from = root_open(u->root, above, O_PATH | O_DIRECTORY);
	if (from < 0 || fstatat(from, last, &st, AT_SYMLINK_NOFOLLOW))
		return error_set(err, errno, "the hard link '%s' leads to '%.100s', which is not there", name, target);
	if (S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode))
		return error_set(err, 0, "the hard link '%s' leads to '%.100s', which is no file", name, target);
	struct stat own;
	if (!fstatat(parent, name, &own, AT_SYMLINK_NOFOLLOW) && own.st_ino == st.st_ino && own.st_dev == st.st_dev)
		return true;          /* to itself */
	return clear(u, parent, name, false, err) &&
		(!linkat(from, last, parent, name, 0) || error_set(err, errno, "cannot make the hard link '%s'", name));
}

static bool set_link_owner(struct unpack *u, const struct unpack_entry *e, int parent, const char *name, struct error *err)
{
	const struct timespec times[2] = { { e->mtime, e->mtime_ns }, { e->mtime, e->mtime_ns } };
	if (u->privileged && fchownat(parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW))
		return error_set(err, errno, "cannot give '%s' to %u:%u", name, e->uid, e->gid);
	utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW);
	return true;
}

static bool make_special(struct unpack *u, const struct unpack_entry *e, int parent, const char *name, struct error *err)
{
	if (S_ISLNK(e->mode)) {
		if (!e->target || strlen(e->target) >= PATH_MAX)
			return error_set(err, 0, "the symbolic link '%s' leads nowhere", name);
		return clear(u, parent, name, false, err) &&
			(!symlinkat(e->target, parent, name) || error_set(err, errno, "cannot make the link '%s'", name)) &&
			set_link_owner(u, e, parent, name, err);
	}
	if (!S_ISFIFO(e->mode))
		return true;          /* devices and sockets: a container makes its own */
	if (!clear(u, parent, name, false, err))
		return false;
	if (mknodat(parent, name, S_IFIFO | (e->mode & 0777), 0) ||
	    (u->privileged && fchownat(parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW)) ||
	    fchmodat(parent, name, e->mode & 0777, 0))
		return error_set(err, errno, "cannot make the pipe '%s'", name);
	return true;
}

static bool make_file(const struct unpack *u, int parent, const char *name, int *fd, struct error *err)
{
	if (!clear(u, parent, name, false, err))
		return false;
	*fd = openat(parent, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return *fd >= 0 || error_set(err, errno, "cannot make the file '%s'", name);
}

bool unpack_entry(struct unpack *u, const struct unpack_entry *e, int *fd, struct error *err)
{
	char path[PATH_MAX];
	const char *name;
	*fd = -1;
	if (!unpack_clean_path(e->path, path))
		return error_set(err, 0, "the path '%.100s' leads outside", e->path);
	if (!*path) {
		*fd = S_ISDIR(e->mode) ? fcntl(u->root, F_DUPFD_CLOEXEC, 3) : -1;
		return *fd >= 0 || error_set(err, 0, "the archive's root is no directory");
	}
	auto_close int parent = root_make_parent(u->root, path, &name, err);
	if (parent < 0)
		return false;
	/* O_PATH will not do for what follows */
	auto_close int dir = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_set(err, errno, "cannot open the directory of '%s'", path);
	if (u->layer && !strncmp(name, WHITEOUT, strlen(WHITEOUT)))
		return whiteout(dir, name, err);
	if (e->hardlink)
		return e->target ? hard_link(u, dir, name, e->target, err) : error_set(err, 0, "the hard link '%s' leads nowhere", path);
	if (S_ISDIR(e->mode))
		return make_directory(u, dir, name, fd, err);
	return S_ISREG(e->mode) ? make_file(u, dir, name, fd, err) : make_special(u, e, dir, name, err);
}

/* A directory's time changes with what comes into it: set at the end. */
static void remember(struct unpack *u, const struct unpack_entry *e)
{
	if (!(u->nlate & (u->nlate - 1)))
		u->late = xrealloc(u->late, (u->nlate ? 2 * u->nlate : 1) * sizeof(*u->late));
	u->late[u->nlate++] = (struct unpack_late){ xstrdup(e->path), { e->mtime, e->mtime_ns } };
}

/* chown clears set-ID bits and capabilities, so it comes first. */
bool unpack_finish(struct unpack *u, const struct unpack_entry *e, int fd, struct error *err)
{
	const struct timespec times[2] = { { e->mtime, e->mtime_ns }, { e->mtime, e->mtime_ns } };
	if (u->privileged && fchown(fd, e->uid, e->gid))
		return error_set(err, errno, "cannot give '%.100s' to %u:%u%s", e->path, e->uid, e->gid,
				 errno == EINVAL ? " (an ordinary user needs a range in /etc/subuid and /etc/subgid)" : "");
	if (fchmod(fd, e->mode & 07777))
		return error_set(err, errno, "cannot set the permissions of '%.100s'", e->path);
	futimens(fd, times);
	if (S_ISDIR(e->mode))
		remember(u, e);
	return true;
}

void unpack_end(struct unpack *u)
{
	for (size_t i = u->nlate; i--; ) {
		const struct timespec both[2] = { u->late[i].time, u->late[i].time };
		auto_close int fd = root_open(u->root, u->late[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		if (fd >= 0)
			futimens(fd, both);
		free(u->late[i].path);
	}
	free(u->late);
	u->late = NULL;
	u->nlate = 0;
}

/* Only what a container may have: overlayfs's own names would be orders to it. */
bool unpack_attribute(int fd, const char *name, const void *value, size_t size, struct error *err)
{
	bool user = !strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13);
	if (!user && strcmp(name, "security.capability"))
		return true;
	if (!fsetxattr(fd, name, value, size, 0) || errno == EPERM || errno == ENOTSUP)
		return true;          /* an ordinary user may not: the program will say so */
	return error_set(err, errno, "cannot set the attribute '%.60s'", name);
}
