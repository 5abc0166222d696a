/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening the files below a qcow2 image outside the jail.  Of the hostile image
 * only the header's few bytes about its backing file are read here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "disk/disk.h"
#include "disk/qcow2.h"

enum { NAME_MAX_BYTES = 1023 };

/* The name in the header, "" if there is none. */
static bool backing_name(const char *path, int fd, char name[NAME_MAX_BYTES + 1], struct error *err)
{
	uint8_t h[20];
	name[0] = 0;
	if (!fd_pread_full(fd, h, sizeof(h), 0) || memcmp(h, "QFI\xfb", 4))
		return true;
	uint64_t at = be64_get(h + 8);
	uint32_t len = be32_get(h + 16);
	if (!at)
		return true;
	if (len > NAME_MAX_BYTES || at > 1 << 21 || !fd_pread_full(fd, name, len, at) || memchr(name, 0, len))
		return error_set(err, 0, "disk '%s' is a damaged qcow2 image: the name of its backing file is not "
				 "inside the header", path);
	name[len] = 0;
	return true;
}

/* `name` below the directory of `path`, and nowhere else. */
static int open_beneath(const char *path, const char *name, char *next, size_t size, struct error *err)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	const char *slash = strrchr(path, '/');
	auto_free char *dir = slash ? xasprintf("%.*s", (int)(slash + 1 - path), path) : xstrdup("./");
	const char *below = strncmp(name, dir, strlen(dir)) ? name : name + strlen(dir);
	auto_close int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = at < 0 ? -1 : (int)syscall(SYS_openat2, at, below, &how, sizeof(how));
	if (fd < 0 && (errno == EXDEV || errno == ELOOP))
		return error_minus(err, 0, "the backing file '%s' of disk '%s' is outside the directory of that disk: "
				   "put it there, or convert the disk into one without a backing file", name, path);
	if (fd < 0)
		return error_minus(err, errno, "cannot open '%s', the backing file of disk '%s'", name, path);
	snprintf(next, size, "%s%s", dir, below);
	return fd;
}

bool disk_open_chain(const char *path, int fd, int *fds, unsigned max, unsigned *n, struct error *err)
{
	char name[NAME_MAX_BYTES + 1], at[4096];
	snprintf(at, sizeof(at), "%s", path);
	for (*n = 0; ; fd = fds[(*n)++]) {
		char next[sizeof(at)];
		if (!backing_name(at, fd, name, err))
			return false;
		if (!name[0])
			return true;
		if (*n == max)
			return error_set(err, 0, "disk '%s' has more than %u backing files: convert it, or merge some",
					 path, max);
		if ((fds[*n] = open_beneath(at, name, next, sizeof(next), err)) < 0)
			return false;
		memcpy(at, next, sizeof(at));
	}
}
