/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container can make the runtime execute itself (its command, or a script's
 * interpreter, may be /proc/self/exe) and then open that file for writing.  So
 * whatever enters a container runs from a file that cannot be written: the same
 * file through a read-only mount that is in no namespace, or, where mounting is
 * not allowed, a sealed copy in memory.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "container/kernel.h"
#include "container/lifecycle.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static bool is_sealed(int self)
{
	struct statvfs v;
	int seals = fcntl(self, F_GET_SEALS);
	if (seals != -1 && (seals & SEALS) == SEALS)
		return true;          /* a file of any tmpfs has seals: too few */
	return !fstatvfs(self, &v) && (v.f_flag & ST_RDONLY);
}

static int readonly_mount(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0)
		return -1;
	path[n] = 0;
	int fd = mount_clone(AT_FDCWD, path, false);
	if (fd >= 0 && mount_attributes(fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, false))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int sealed_copy(int self)
{
	struct stat st;
	int fd = memfd_create("abyme-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool ok = fd >= 0 && !fstat(self, &st);
	for (off_t at = 0; ok && at < st.st_size; )
		ok = sendfile(fd, self, &at, (size_t)(st.st_size - at)) > 0;
	if (ok && !fchmod(fd, 0500) && !fcntl(fd, F_ADD_SEALS, SEALS))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

bool seal_self(char **argv, struct error *err)
{
	auto_close int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0)
		return error_set(err, errno, "cannot open /proc/self/exe: is /proc mounted?");
	if (is_sealed(self))
		return true;
	int fd = readonly_mount();
	if (fd < 0)
		fd = sealed_copy(self);
	if (fd < 0)
		return error_set(err, errno, "cannot make a copy of this program that containers cannot write to");
	/* sanitizers and coverage write files next to the program by its name */
	execveat(fd, "", argv, environ, AT_EMPTY_PATH);
	return error_set(err, errno, "cannot execute the protected copy of this program");
}
