/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seccomp filters: an allow-list per role.  A call outside it fails with EPERM,
 * so that an unforeseen path is an error and not a crash.  No role (but the TPM's, which
 * is one: abyme-tpm.c) can execute a program, open a file by path (9p: only below its root descriptor; ovf: there are but two directories),
 * trace a process, or map memory that is writable and executable at once.
 */
#include "jail/seccomp.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>

#define CALL(name) SCMP_SYS(name)

static const int common[] = {
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close), CALL(lseek), CALL(fstat),
	CALL(poll), CALL(ppoll), CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_ctl), CALL(epoll_create1),
	CALL(eventfd2), CALL(futex), CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise),
	CALL(exit), CALL(exit_group), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn),
	CALL(sigaltstack), CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time),
	CALL(clock_nanosleep), CALL(nanosleep), CALL(restart_syscall), CALL(getrandom),
	CALL(recvmsg), CALL(sendmsg), CALL(recvfrom), CALL(sendto), CALL(recvmmsg), CALL(sendmmsg),
	CALL(getpid), CALL(gettid), CALL(tgkill), CALL(sched_yield), CALL(fcntl), CALL(dup),
	CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime), CALL(pipe2),
	CALL(getsockopt), CALL(shutdown), CALL(accept4), CALL(ioctl),
	CALL(rseq), CALL(set_robust_list), CALL(prlimit64),
};

static const int machine[] = {
	CALL(pread64), CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(preadv2), CALL(pwritev2),
	CALL(fsync), CALL(fdatasync), CALL(fallocate), CALL(ftruncate), CALL(sync_file_range),
	CALL(memfd_create), CALL(msync), CALL(mincore), CALL(membarrier), CALL(sched_getaffinity),
	CALL(io_uring_enter),
	CALL(newfstatat), CALL(prctl), CALL(arch_prctl), CALL(sched_setaffinity), CALL(copy_file_range),
	CALL(signalfd4), CALL(set_tid_address), CALL(statx),
};

static const int net_user[] = {
	CALL(socket), CALL(connect), CALL(bind), CALL(listen), CALL(accept), CALL(setsockopt),
	CALL(getsockname), CALL(getpeername), CALL(openat), CALL(newfstatat), CALL(stat), CALL(uname),
	CALL(select), CALL(pselect6), CALL(sysinfo),
};

static const int p9[] = {
	CALL(openat), CALL(openat2), CALL(newfstatat), CALL(statx), CALL(getdents64), CALL(readlinkat),
	CALL(unlinkat), CALL(mkdirat), CALL(mknodat), CALL(symlinkat), CALL(linkat), CALL(renameat),
	CALL(renameat2), CALL(fchmod), CALL(fchmodat), CALL(fchown), CALL(fchownat), CALL(utimensat),
	CALL(ftruncate), CALL(fsync), CALL(fdatasync), CALL(pread64), CALL(pwrite64), CALL(preadv),
	CALL(pwritev), CALL(fstatfs), CALL(fgetxattr), CALL(fsetxattr), CALL(flistxattr), CALL(fremovexattr),
	CALL(faccessat), CALL(faccessat2), CALL(fallocate), CALL(flock), CALL(umask), CALL(dup2), CALL(dup3),
};

static const int gdb[] = { CALL(accept), CALL(setsockopt), CALL(getsockname), CALL(getpeername) };

/* disk serve: what images are made of. */
static const int nbd[] = {
	CALL(pread64), CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(fsync), CALL(fdatasync), CALL(fallocate),
	CALL(ftruncate), CALL(newfstatat), CALL(sched_getaffinity),
};

/* machine import: reads what lies in one directory of its root, makes files in the other. */
static const int ovf[] = {
	CALL(openat), CALL(newfstatat), CALL(pread64), CALL(pwrite64), CALL(fadvise64), CALL(sysinfo),
};

static const int net_switch[] = { CALL(newfstatat), CALL(sched_getaffinity) };

static const int vnc[] = {
	CALL(setsockopt), CALL(getsockname), CALL(getpeername), CALL(select), CALL(pselect6), CALL(newfstatat),
	CALL(socketpair), CALL(sched_getaffinity),
};

/* swtpm, once it has been executed; there is nothing else to execute in its root. It puts
 * a filter of its own over this one. */
static const int tpm[] = {
	CALL(execve), CALL(arch_prctl), CALL(access), CALL(openat), CALL(newfstatat), CALL(pread64), CALL(pwrite64),
	CALL(set_tid_address), CALL(getdents64), CALL(rename), CALL(unlink), CALL(fsync), CALL(ftruncate), CALL(fchmod),
	CALL(umask), CALL(seccomp), CALL(prctl), CALL(setsockopt), CALL(accept), CALL(getsockname), CALL(getpeername),
	CALL(sysinfo), CALL(sched_getaffinity), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(uname),
};

static const struct { const int *calls; size_t n; } roles[] = {
	[JAIL_MACHINE] = { machine, ARRAY_SIZE(machine) },
	[JAIL_NET_USER] = { net_user, ARRAY_SIZE(net_user) },
	[JAIL_9P] = { p9, ARRAY_SIZE(p9) },
	[JAIL_GDB] = { gdb, ARRAY_SIZE(gdb) },
	[JAIL_VNC] = { vnc, ARRAY_SIZE(vnc) },
	[JAIL_TPM] = { tpm, ARRAY_SIZE(tpm) },
	[JAIL_OVF] = { ovf, ARRAY_SIZE(ovf) },
	[JAIL_NBD] = { nbd, ARRAY_SIZE(nbd) },
	[JAIL_SWITCH] = { net_switch, ARRAY_SIZE(net_switch) },
};

static bool allow(scmp_filter_ctx f, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
		if (r && r != -EDOM)
			return false;
	}
	return true;
}

/* mmap and mprotect: not writable and executable together. */
static bool allow_mapping(scmp_filter_ctx f, int call)
{
	static const uint64_t fine[] = { 0, PROT_WRITE, PROT_EXEC };
	for (unsigned i = 0; i < ARRAY_SIZE(fine); i++)
		if (seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, fine[i])))
			return false;
	return true;
}

/* Threads yes, processes no. clone3's flags are out of a filter's sight: the C
 * library takes ENOSYS as "use clone". */
static bool allow_threads(scmp_filter_ctx f)
{
	return !seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER, CLONE_THREAD)) &&
		!seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0);
}

bool seccomp_install(enum jail_role role)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!f)
		return false;
	int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!r)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	bool ok = !r && allow(f, common, ARRAY_SIZE(common)) && allow(f, roles[role].calls, roles[role].n) &&
		allow_mapping(f, CALL(mmap)) && allow_mapping(f, CALL(mprotect)) && allow_threads(f);
	if (ok && (r = seccomp_load(f)) < 0) {
		errno = -r;
		ok = false;
	}
	seccomp_release(f);
	return ok;
}
