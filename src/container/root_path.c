/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Look-ups below a hostile root: root_path.h. */
#include "container/root_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/kernel.h"

enum { LINKS_MAX = 40 };

static int open_how(int root, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)flags | O_CLOEXEC, .resolve = resolve };
	if (flags & O_CREAT)
		how.mode = 0644;
	for (int i = 0; ; i++) {
		int fd = sys_openat2(root, *path ? path : ".", &how);
		/* EAGAIN: something was renamed during the look-up */
		if (fd >= 0 || errno != EAGAIN || i == 128)
			return fd;
	}
}

int root_open(int root, const char *path, int flags)
{
	return open_how(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int root_open_plain(int root, const char *path, int flags)
{
	while (*path == '/')
		path++;
	return open_how(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static int open_last(int root, int parent, const char *prefix, const char *name, bool directory, bool *made)
{
	int fd = root_open(root, prefix, O_PATH);
	*made = false;
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (directory ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0644, 0)) {
		if (errno != EEXIST)
			return -1;
	} else {
		*made = true;
	}
	return root_open(root, prefix, O_PATH);
}

/* A link that points nowhere stands at parent/name: the path that it means. */
static bool follow(int parent, const char *name, const char *before, const char *rest, char out[PATH_MAX])
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	int len = snprintf(out, PATH_MAX, "%s/%s%s%s", *target == '/' ? "" : before, target, *rest ? "/" : "", rest);
	return len < PATH_MAX;
}

struct walk {
	char path[PATH_MAX];      /* what is looked for */
	char prefix[PATH_MAX];    /* how far we are: opened as `fd` */
	int fd;
	unsigned links;
};

static int walk_error(struct walk *w, const char *path, struct error *err)
{
	if (w->fd >= 0)
		close(w->fd);
	return error_minus(err, errno, "cannot make '%s' in the root file system", path);
}

/* One component: into it, or the walk starts again at a link's target. */
static bool step(int root, struct walk *w, const char **at, bool directory)
{
	char name[NAME_MAX + 1], before[PATH_MAX], next[PATH_MAX];
	size_t n = strcspn(*at, "/");
	const char *rest = *at + n + strspn(*at + n, "/");
	bool made;
	if (n > NAME_MAX || strlen(w->prefix) + n + 2 > PATH_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(name, *at, n);
	name[n] = 0;
	memcpy(before, w->prefix, sizeof(before));
	snprintf(w->prefix, sizeof(w->prefix), "%s/%s", before, name);
	int fd = open_last(root, w->fd, w->prefix, name, *rest || directory, &made);
	if (fd >= 0) {
		close(w->fd);
		w->fd = fd;
		*at = rest;
		return true;
	}
	if (errno != ENOENT || ++w->links > LINKS_MAX || !follow(w->fd, name, before, rest, next)) {
		errno = w->links > LINKS_MAX ? ELOOP : errno;
		return false;
	}
	memcpy(w->path, next, sizeof(w->path));
	w->prefix[0] = 0;
	close(w->fd);
	w->fd = root_open(root, ".", O_PATH | O_DIRECTORY);
	*at = w->path + strspn(w->path, "/");
	return w->fd >= 0;
}

int root_make(int root, const char *path, bool directory, struct error *err)
{
	struct walk w = { .fd = root_open(root, path, O_PATH) };
	if (w.fd >= 0)
		return w.fd;
	if (errno != ENOENT || snprintf(w.path, sizeof(w.path), "%s", path) >= PATH_MAX)
		return walk_error(&w, path, err);
	w.fd = root_open(root, ".", O_PATH | O_DIRECTORY);
	if (w.fd < 0)
		return walk_error(&w, path, err);
	for (const char *at = w.path + strspn(w.path, "/"); *at; )
		if (!step(root, &w, &at, directory))
			return walk_error(&w, path, err);
	return w.fd;
}

int root_make_parent(int root, const char *path, const char **name, struct error *err)
{
	const char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!**name || !strcmp(*name, ".") || !strcmp(*name, ".."))
		return error_minus(err, 0, "'%s' does not name a file", path);
	char parent[PATH_MAX];
	if (snprintf(parent, sizeof(parent), "%.*s", (int)(*name - path), path) >= PATH_MAX)
		return error_minus(err, ENAMETOOLONG, "'%s'", path);
	return root_make(root, parent, true, err);
}
