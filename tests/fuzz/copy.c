/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile tar streams of `abyme cp`: unpacked below a directory of its own, as a whole, as one
 * new thing, over a file, and with a destination that is full of links; nothing may appear beside it.
 */
#include "base/place.h"
#include "container/copy.h"
#include "container/tar.h"
#include "lib/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void put(int fd, const char *path, const char *target, bool hard, uint32_t mode, const char *data)
{
	const struct unpack_entry e = { .path = path, .target = target, .hardlink = hard, .mode = mode, .mtime = 1 };
	char zeros[TAR_BLOCK] = "";
	size_t n = strlen(data);
	if (!tar_put(fd, &e, n, NULL) || !fd_write_full(fd, data, n) || !fd_write_full(fd, zeros, -n & (TAR_BLOCK - 1)))
		abort();
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	char longer[300] = "_/";
	struct stat st;
	auto_close int fd = memfd_create("sample", MFD_CLOEXEC);
	memset(longer + 2, 'x', 200);
	if (n > 1)
		return 0;
	if (n == 1) {
		put(fd, "_", NULL, false, S_IFREG | 0644, "one file");
	} else {
		put(fd, "_/", NULL, false, S_IFDIR | 0755, "");
		put(fd, "_/file", NULL, false, S_IFREG | 04755, "content");
		put(fd, "_/hard", "_/file", true, S_IFREG | 0644, "");
		put(fd, "_/link", "../../..", false, S_IFLNK | 0777, "");
		put(fd, "_/link/out", NULL, false, S_IFREG | 0644, "x");
		put(fd, "_/hard", "../../../etc/passwd", true, S_IFREG | 0644, "");
		put(fd, longer, NULL, false, S_IFREG | 0644, "long");
		put(fd, "_/pipe", NULL, false, S_IFIFO | 0644, "");
		put(fd, "/../up", NULL, false, S_IFREG | 0644, "up");
	}
	if (!tar_end(fd, NULL) || fstat(fd, &st) || st.st_size > FUZZ_MAX || pread(fd, buf, FUZZ_MAX, 0) != st.st_size)
		abort();
	return (size_t)st.st_size;
}

static void fill(int root)
{
	auto_close int fd = openat(root, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || mkdirat(root, "dir", 0755) || symlinkat("../..", root, "dir/link") || symlinkat("/..", root, "up"))
		abort();
}

/* TOP/cage is the root: what got out of it stands in TOP, which then cannot be removed. */
static void unpack(int stream, const char *path, const char *name, bool confined)
{
	char memory[] = "/dev/shm/abyme-fuzz-copy-XXXXXX", disk[] = "/tmp/abyme-fuzz-copy-XXXXXX";
	struct error err = { 0 };
	const char *top = mkdtemp(memory);
	if (!top && !(top = mkdtemp(disk)))
		abort();
	auto_close int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "cage", 0755))
		abort();
	auto_close int root = openat(dir, "cage", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fill(root);
	const struct copy c = { .root = root, .path = path, .name = name, .confined = confined };
	lseek(stream, 0, SEEK_SET);
	if (!copy_in(&c, stream, &err) && !err.text[0])
		abort();              /* each refusal has its sentence */
	place_empty(root);
	if (unlinkat(dir, "cage", AT_REMOVEDIR) || rmdir(top))
		abort();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	auto_close int fd = memfd_create("stream", MFD_CLOEXEC);
	if (fd < 0 || !fd_pwrite_full(fd, data, size, 0))
		abort();
	unpack(fd, "/", NULL, true);
	unpack(fd, "dir", "link", false);
	unpack(fd, "up/new", "x", size & 1);
	unpack(fd, "file", "x", true);
	unpack(fd, "dir", "", false);
}
