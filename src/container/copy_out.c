/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree into a tar stream: copy.h. */
#include "container/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/root_path.h"
#include "container/tar.h"

enum { DEPTH_MAX = 256 };

static bool put(int file, const char *name, unsigned depth, int to, struct error *err);

/* O_PATH opens anything without touching it; what turned out to be a file is opened for reading. */
static int reopen(int file)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool put_file(int file, const struct unpack_entry *e, uint64_t size, int to, struct error *err)
{
	auto_close int fd = reopen(file);
	if (fd < 0)
		return error_set(err, errno, "cannot read '%s'", e->path);
	return tar_put(to, e, size, err) && tar_write(to, fd, size, err);
}

static bool put_link(int file, struct unpack_entry *e, int to, struct error *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(file, "", target, sizeof(target) - 1);
	if (n < 0)
		return error_set(err, errno, "cannot read the link '%s'", e->path);
	target[n] = 0;
	e->target = target;
	bool ok = tar_put(to, e, 0, err);
	e->target = NULL;
	return ok;
}

static bool put_children(int dir, const char *name, unsigned depth, int to, struct error *err)
{
	bool ok = true;
	DIR *d = fdopendir(dir);
	if (!d) {
		close(dir);
		return error_set(err, errno, "cannot read the directory '%s'", name);
	}
	for (struct dirent *e; ok && (e = readdir(d)); ) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		auto_free char *below = xasprintf("%s/%s", name, e->d_name);
		auto_close int file = openat(dirfd(d), e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (file >= 0)
			ok = put(file, below, depth + 1, to, err);
		else if (errno != ENOENT)      /* it has gone meanwhile */
			ok = error_set(err, errno, "cannot open '%s'", below);
	}
	closedir(d);
	return ok;
}

static bool put_directory(int file, const struct unpack_entry *e, unsigned depth, int to, struct error *err)
{
	auto_free char *path = xasprintf("%s/", e->path);
	struct unpack_entry named = *e;
	named.path = path;
	if (depth == DEPTH_MAX)
		return error_set(err, 0, "'%s' is deeper than %d directories", e->path, DEPTH_MAX);
	int dir = openat(file, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_set(err, errno, "cannot open the directory '%s'", e->path);
	if (tar_put(to, &named, 0, err))
		return put_children(dir, e->path, depth, to, err);
	close(dir);
	return false;
}

static bool put(int file, const char *name, unsigned depth, int to, struct error *err)
{
	struct stat st;
	if (fstat(file, &st))
		return error_set(err, errno, "cannot look at '%s'", name);
	struct unpack_entry e = { .path = name, .mode = st.st_mode, .uid = st.st_uid, .gid = st.st_gid, .mtime = st.st_mtim.tv_sec };
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return put_file(file, &e, (uint64_t)st.st_size, to, err);
	case S_IFLNK:
		return put_link(file, &e, to, err);
	case S_IFDIR:
		return put_directory(file, &e, depth, to, err);
	case S_IFIFO:
		return tar_put(to, &e, 0, err);
	default:
		return !depth ? error_set(err, 0, "'%s' is a device or a socket: it is not copied", name) : true;
	}
}

bool copy_out(const struct copy *c, int to, struct error *err)
{
	auto_close int file = root_open(c->root, c->path, O_PATH | (c->follow ? 0 : O_NOFOLLOW));
	if (file < 0)
		return error_set(err, errno, "cannot find '%s'", c->path);
	return put(file, *c->name ? c->name : ".", 0, to, err) && tar_end(to, err);
}
