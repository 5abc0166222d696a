/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option tmpcopyup: what a directory held, into the tmpfs that covers it. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "container/kernel.h"
#include "container/rootfs.h"

enum { DEPTH_MAX = 64 };

static bool copy_dir(int from, int to, unsigned depth);

static bool copy_file(int from, const char *name, int to, const struct stat *st)
{
	auto_close int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	auto_close int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (in < 0 || out < 0)
		return false;
	for (ssize_t n; (n = sendfile(out, in, NULL, 1 << 20)); )
		if (n < 0)
			return false;
	return !fchown(out, st->st_uid, st->st_gid) && !fchmod(out, st->st_mode & 07777);
}

static bool copy_link(int from, const char *name, int to, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	return !symlinkat(target, to, name) && !fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
}

static bool copy_subdir(int from, const char *name, int to, const struct stat *st, unsigned depth)
{
	if (mkdirat(to, name, 0700))
		return false;
	auto_close int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return in >= 0 && out >= 0 && copy_dir(in, out, depth + 1) && !fchown(out, st->st_uid, st->st_gid) &&
		!fchmod(out, st->st_mode & 07777);
}

static bool copy_entry(int from, const char *name, int to, unsigned depth)
{
	struct stat st;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	if (S_ISDIR(st.st_mode))
		return copy_subdir(from, name, to, &st, depth);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, name, to, &st);
	return !S_ISREG(st.st_mode) || copy_file(from, name, to, &st);   /* sockets and devices stay below */
}

static bool copy_dir(int from, int to, unsigned depth)
{
	bool ok = depth < DEPTH_MAX;
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	for (struct dirent *e; ok && (e = readdir(d)); )
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			ok = copy_entry(from, e->d_name, to, depth);
	closedir(d);
	return ok;
}

bool copy_tree(int from, int to, struct error *err)
{
	struct stat st;
	auto_close int out = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);   /* `to` may be O_PATH */
	if (out < 0 || fstat(from, &st) || !copy_dir(from, out, 0) || fchown(out, st.st_uid, st.st_gid) || fchmod(out, st.st_mode & 07777))
		return error_set(err, errno, "cannot copy what was there (option tmpcopyup)");
	return true;
}
