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
static int open_beneath(const char *path, const char *name, bool readonly, const char *what, char *next, size_t size,
			struct error *err)
{
	struct open_how how = { .flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	const char *slash = strrchr(path, '/');
	auto_free char *dir = slash ? xasprintf("%.*s", (int)(slash + 1 - path), path) : xstrdup("./");
	const char *below = strncmp(name, dir, strlen(dir)) ? name : name + strlen(dir);
	auto_close int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = at < 0 ? -1 : (int)syscall(SYS_openat2, at, below, &how, sizeof(how));
	if (fd < 0 && (errno == EXDEV || errno == ELOOP))
		return error_minus(err, 0, "the %s '%s' of disk '%s' is outside the directory of that disk: "
				   "put it there, or convert the disk into one without a %s", what, name, path, what);
	if (fd < 0)
		return error_minus(err, errno, "cannot open '%s', the %s of disk '%s'", name, what, path);
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
		if ((fds[*n] = open_beneath(at, name, true, "backing file", next, sizeof(next), err)) < 0)
			return false;
		memcpy(at, next, sizeof(at));
	}
}

/* The body of the header's extension that names the data file; its length, 0: there is none. */
static uint32_t data_extension(const uint8_t *h, uint64_t n)
{
	enum { V3_LENGTH = 104, FEATURES = 72, HEADER_LENGTH = 100 };
	uint64_t at = be32_get(h + HEADER_LENGTH);
	if (memcmp(h, "QFI\xfb", 4) || be32_get(h + 4) != 3 || !(be64_get(h + FEATURES) & INCOMPAT_EXTERNAL) || at < V3_LENGTH)
		return 0;
	while (at + 8 <= n) {
		uint32_t type = be32_get(h + at), len = be32_get(h + at + 4);
		at += 8;
		if (!type || len > n - at)
			return 0;
		if (type == EXT_DATA_FILE)
			return len && len <= NAME_MAX_BYTES && !memchr(h + at, 0, len) ? (uint32_t)at : 0;
		at += ALIGN_UP((uint64_t)len, 8);
	}
	return 0;
}

bool disk_open_data(const char *path, int fd, const char *declared, bool readonly, int *data, struct error *err)
{
	enum { HEAD = 65536 };
	auto_free uint8_t *h = xcalloc(1, HEAD);
	char name[NAME_MAX_BYTES + 1], at[4096];
	ssize_t n = pread(fd, h, HEAD, 0);
	uint32_t body = n >= 112 ? data_extension(h, (uint64_t)n) : 0;
	*data = -1;
	if (!body)
		return true;
	snprintf(name, sizeof(name), "%.*s", (int)be32_get(h + body - 4), (const char *)h + body);
	if (!declared || strcmp(name, declared))
		return error_set(err, 0, "disk '%s' keeps its data in the file '%s': if that is meant, add ,data-file=%s", path, name, name);
	*data = open_beneath(path, name, readonly, "data file", at, sizeof(at), err);
	return *data >= 0;
}
