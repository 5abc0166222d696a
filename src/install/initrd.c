/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An initrd and behind it a cpio archive of one more file: the kernel unpacks one after
 * the other (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).  In
 * memory, as what is in it may be secret.
 */
#include "install/install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { NAME_MOST = 64 };

/* A header of the "newc" format, the name, padding to 4 bytes. */
static size_t entry(char out[256], const char *name, unsigned mode, size_t size)
{
	size_t name_size = strlen(name) + 1;
	int n = snprintf(out, 256, "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X%s", 1, mode, 0, 0, 1, 0, size,
			 0, 0, 0, 0, name_size, 0, name);
	size_t padded = ALIGN_UP((size_t)n + 1, 4ul);
	memset(out + n, 0, padded - (size_t)n);
	return padded;
}

static bool append(int fd, const char *name, const char *text)
{
	static const char zeroes[512];
	char head[256], tail[256];
	size_t size = strlen(text), h = entry(head, name, S_IFREG | 0600, size), t = entry(tail, "TRAILER!!!", 0, 0);
	return fd_write_full(fd, zeroes, ALIGN_UP((size_t)lseek(fd, 0, SEEK_CUR), 4ul) - (size_t)lseek(fd, 0, SEEK_CUR)) &&
	       fd_write_full(fd, head, h) && fd_write_full(fd, text, size) &&
	       fd_write_full(fd, zeroes, ALIGN_UP(size, 4ul) - size) && fd_write_full(fd, tail, t) &&
	       fd_write_full(fd, zeroes, sizeof(zeroes));
}

static bool copy(int from, int to)
{
	char buf[65536];
	ssize_t n;
	while ((n = read(from, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && !fd_write_full(to, buf, (size_t)n))
			return false;
	return n == 0;
}

int initrd_with(const char *initrd, const char *name, const char *text, struct error *err)
{
	auto_close int from = open(initrd, O_RDONLY | O_CLOEXEC);
	auto_close int to = memfd_create("initrd", MFD_CLOEXEC);
	if (from < 0 || to < 0 || strlen(name) > NAME_MOST)
		return error_minus(err, errno, "cannot read '%s'", initrd);
	if (!copy(from, to) || !append(to, name, text))
		return error_minus(err, errno, "cannot copy '%s' into memory", initrd);
	return move_fd(&to);
}
