/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls that Debian 12's C library does not wrap, and their structs
 * where its headers lack them.  Linux 5.12 or later is required.
 */
#ifndef CONTAINER_KERNEL_H
#define CONTAINER_KERNEL_H

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static inline int sys_openat2(int dir, const char *path, const struct open_how *how)
{
	return (int)syscall(SYS_openat2, dir, path, how, sizeof(*how));
}

static inline int sys_pivot_root(const char *to, const char *old)
{
	return (int)syscall(SYS_pivot_root, to, old);
}

static inline int sys_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static inline int sys_pidfd_kill(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

static inline int sys_close_range(unsigned from, unsigned to, unsigned flags)
{
	return (int)syscall(SYS_close_range, from, to, flags);
}

/* struct clone_args up to exit_signal and cgroup; fork() otherwise. */
struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
static inline pid_t sys_clone3(const struct clone3_args *a)
{
	return (pid_t)syscall(SYS_clone3, a, sizeof(*a));
}

#endif
