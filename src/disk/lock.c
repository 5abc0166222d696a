/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locking as QEMU does it, so that both refuse each other: byte 100+b of
 * the file is read-locked by who uses permission b, byte 200+b by who does not
 * share it.  Open-file-description locks: they end when the last descriptor of
 * that open file is closed, however the process ends.
 */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/log.h"

enum { PERM_READ = 1, PERM_WRITE = 2, PERM_RESIZE = 8, PERM_BITS = 4 };
enum { USED_BASE = 100, UNSHARED_BASE = 200 };
enum { TRIES = 50, PAUSE_NS = 20000000 };

static int ofd_lock(int fd, int cmd, short type, off_t byte, bool *conflict)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	if (fcntl(fd, cmd, &l) < 0)
		return -errno;
	if (conflict)
		*conflict = l.l_type != F_UNLCK;
	return 0;
}

/* Someone else holds a lock on a byte of `base` for one of the bits. */
static bool contested(int fd, off_t base, unsigned bits)
{
	for (unsigned b = 0; b < PERM_BITS; b++) {
		bool conflict = false;
		if (bits >> b & 1 && !ofd_lock(fd, F_OFD_GETLK, F_WRLCK, base + b, &conflict) &&
		    conflict)
			return true;
	}
	return false;
}

static int take(int fd, off_t base, unsigned bits)
{
	int r = 0;
	for (unsigned b = 0; b < PERM_BITS && !r; b++)
		if (bits >> b & 1)
			r = ofd_lock(fd, F_OFD_SETLK, F_RDLCK, base + b, NULL);
	return r;
}

void disk_unlock(int fd)
{
	for (unsigned b = 0; b < PERM_BITS; b++) {
		ofd_lock(fd, F_OFD_SETLK, F_UNLCK, USED_BASE + b, NULL);
		ofd_lock(fd, F_OFD_SETLK, F_UNLCK, UNSHARED_BASE + b, NULL);
	}
}

static unsigned used_by(bool readonly)
{
	return readonly ? PERM_READ : PERM_READ | PERM_WRITE | PERM_RESIZE;
}

bool disk_is_locked(int fd, bool readonly)
{
	return contested(fd, UNSHARED_BASE, used_by(readonly)) || contested(fd, USED_BASE, PERM_WRITE | PERM_RESIZE);
}

/* 0, 1 when someone else has it, or -errno. */
static int try_lock(int fd, unsigned used, unsigned unshared)
{
	int r = take(fd, USED_BASE, used);
	if (!r)
		r = take(fd, UNSHARED_BASE, unshared);
	if (!r && (contested(fd, UNSHARED_BASE, used) || contested(fd, USED_BASE, unshared)))
		r = 1;
	if (r)
		disk_unlock(fd);
	return r == -EAGAIN || r == -EACCES ? 1 : r;
}

bool disk_lock(int fd, const char *path, bool readonly, struct error *err)
{
	int r = 1;
	/* A killed owner's io_uring lets go of the file a little after its end: on a loaded
	 * host, more than 200 ms after. */
	for (unsigned tries = 0; tries < TRIES && r == 1; tries++) {
		struct timespec pause = { .tv_nsec = tries ? PAUSE_NS : 0 };
		nanosleep(&pause, NULL);
		r = try_lock(fd, used_by(readonly), PERM_WRITE | PERM_RESIZE);
	}
	if (r == 1)
		return error_set(err, 0, "disk '%s' is in use by another machine or program", path);
	if (r < 0)                /* a file system without locks */
		log_warn("cannot lock disk '%s' (%s): nothing stops a second writer", path, strerror(-r));
	return true;
}
