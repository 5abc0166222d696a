/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jail: see jail.h.  Order in a jailed process: fork into namespaces, root,
 * (build what it serves,) seal.
 */
#include "jail/jail.h"
#include "jail/seccomp.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

bool jail_mode_parse(const char *text, enum jail_mode *mode)
{
	static const char *const words[] = { "none", "auto", "require" };
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i])) {
			*mode = (enum jail_mode)i;
			return true;
		}
	return false;
}

/* A part that the host refuses: an error if required, else noted. */
static bool refused(struct jail *j, const char *what, struct error *err)
{
	int e = errno;
	if (j->mode == JAIL_REQUIRE)
		return error_set(err, e, "the jail is required, and this host refuses %s", what);
	size_t n = strlen(j->missing);
	snprintf(j->missing + n, sizeof(j->missing) - n, "%s%s (%s)", n ? ", " : "", what, strerror(e));
	return true;
}

/* ---- namespaces ---- */

/* Root's shares are root's files, and so are the machines that root imports: who works on
 * them stays root, with the rights of file ownership only. */
static bool keeps_root(const struct jail *j)
{
	return (j->role == JAIL_9P || j->role == JAIL_OVF) && geteuid() == 0 && !(j->granted & JAIL_USERNS);
}

static unsigned long wanted_namespaces(const struct jail *j)
{
	unsigned long f = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
	f |= j->role == JAIL_NET_USER ? 0 : CLONE_NEWNET;
	return keeps_root(j) ? f : f | CLONE_NEWUSER;
}

static bool write_map(pid_t pid, const char *file, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Root of a small user namespace has nobody whom it could be outside but itself. */
static bool has_nobody(const char *map)
{
	unsigned inside, outside, size;
	bool found = false;
	FILE *f = fopen(map, "re");
	while (f && !found && fscanf(f, "%u %u %u", &inside, &outside, &size) == 3)
		found = inside <= JAIL_NOBODY && JAIL_NOBODY - inside < size;
	if (f)
		fclose(f);
	return found;
}

/* Root inside is nobody outside for root, the user himself for others. */
static bool map_ids(pid_t pid)
{
	char uid[32], gid[32];
	bool root = geteuid() == 0;
	snprintf(uid, sizeof(uid), "0 %u 1", root && has_nobody("/proc/self/uid_map") ? JAIL_NOBODY : geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", root && has_nobody("/proc/self/gid_map") ? JAIL_NOBODY : getegid());
	write_map(pid, "setgroups", "deny");
	return write_map(pid, "uid_map", uid) && write_map(pid, "gid_map", gid);
}

/* A raw clone leaves the C library's idea of our thread id stale. */
static void refresh_tid(void)
{
	int *tid = NULL;
	if (!prctl(PR_GET_TID_ADDRESS, &tid, 0, 0, 0) && tid)
		*tid = (int)syscall(SYS_gettid);
}

static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The child waits until its ids are mapped; end of file alone means failure. */
static void child_wait(int fd)
{
	char c;
	if (!fd_read_full(fd, &c, 1))
		_exit(126);
	if (syscall(SYS_setresgid, 0, 0, 0) || syscall(SYS_setresuid, 0, 0, 0))
		_exit(126);
}

static pid_t clone_namespaces(struct jail *j)
{
	int gate[2];
	if (pipe2(gate, O_CLOEXEC))
		return -1;
	pid_t pid = (pid_t)syscall(SYS_clone, wanted_namespaces(j) | SIGCHLD, NULL, NULL, NULL, 0);
	int e = errno;
	if (pid == 0) {
		close(gate[1]);
		refresh_tid();
		child_wait(gate[0]);
		die_with_parent();
		close(gate[0]);
		return 0;
	}
	close(gate[0]);
	if (pid > 0 && !keeps_root(j) && !map_ids(pid)) {
		e = errno;
		kill(pid, SIGKILL);
		syscall(SYS_wait4, pid, NULL, 0, NULL);
		pid = -1;
	}
	if (pid > 0 && !fd_write_full(gate[1], "", 1))
		kill(pid, SIGKILL);
	close(gate[1]);
	errno = e;
	return pid;
}

static pid_t plain_fork(struct jail *j, struct error *err)
{
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return error_minus(err, errno, "cannot start a process");
	if (pid == 0) {
		die_with_parent();
		if (getppid() != parent)
			_exit(126);
	}
	return pid;
}

pid_t jail_fork(struct jail *j, struct error *err)
{
	if (j->mode == JAIL_NONE)
		return plain_fork(j, err);
	bool owns_files = keeps_root(j);
	pid_t pid = clone_namespaces(j);
	if (pid >= 0) {
		j->granted |= JAIL_NAMESPACES | (owns_files ? 0 : JAIL_USERNS | JAIL_UID) |
			(j->role == JAIL_NET_USER ? 0 : JAIL_NETNS);
		return pid;
	}
	return refused(j, "user namespaces", err) ? plain_fork(j, err) : -1;
}

const char *jail_env(const struct jail *j, char text[32])
{
	snprintf(text, 32, "ABYME_JAIL=%u", j->granted);
	return text;
}

void jail_from_env(struct jail *j)
{
	const char *text = getenv("ABYME_JAIL");
	uint64_t granted = 0;
	if (text && parse_u64(text, 0, UINT32_MAX, &granted))
		j->granted = (unsigned)granted;
}

/* ---- the empty root ---- */

static bool make_target(const char *path)
{
	char buf[256];
	snprintf(buf, sizeof(buf), ".%s", path);
	for (char *p = buf + 2; *p; p++)
		if (*p == '/') {
			*p = 0;
			mkdir(buf, 0555);
			*p = '/';
		}
	return true;
}

static bool bind_one(const char *const pair[2])
{
	char target[256];
	struct stat st;
	if (stat(pair[0], &st))
		return errno == ENOENT;
	make_target(pair[1]);
	snprintf(target, sizeof(target), ".%s", pair[1]);
	if (S_ISDIR(st.st_mode)) {
		mkdir(target, 0555);
	} else {
		auto_close int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
		if (fd < 0)
			return false;
	}
	return !mount(pair[0], target, NULL, MS_BIND, NULL);
}

int jail_tree(int dir)
{
	int tree = open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return tree >= 0 ? tree : fcntl(dir, F_DUPFD_CLOEXEC, 0);
}

/* A directory's path, as long as there is /proc. */
static void state_path(int fd, char path[PATH_MAX])
{
	char link[40];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = 0;
}

/* A tree goes where we want it; a directory of the host's is known by its path. */
static bool bind_state(int fd, const char *path)
{
	mkdir("." JAIL_STATE, 0555);
	return !move_mount(fd, "", AT_FDCWD, "." JAIL_STATE, MOVE_MOUNT_F_EMPTY_PATH) ||
	       (path[0] && !mount(path, "." JAIL_STATE, NULL, MS_BIND, NULL));
}

static bool empty_root(struct jail *j, const char *const (*binds)[2])
{
	char state[PATH_MAX] = "";
	if (j->state_fd)
		state_path(j->state_fd, state);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("jail", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=64,mode=0555") ||
	    chdir("/proc"))
		return false;
	for (; binds && (*binds)[0]; binds++)
		if (!bind_one(*binds))
			return false;
	j->state_bound = j->state_fd && bind_state(j->state_fd, state);
	if (j->state_fd && !j->state_bound)
		return false;
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return false;
	return !mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

bool jail_root(struct jail *j, const char *const (*binds)[2], struct error *err)
{
	if (j->mode == JAIL_NONE || !(j->granted & JAIL_NAMESPACES))
		return true;
	if (!empty_root(j, binds))
		return refused(j, "an empty root", err);
	j->granted |= JAIL_ROOT;
	return true;
}

/* ---- the seal ---- */

static bool drop_uid(struct jail *j, struct error *err)
{
	if (geteuid() || j->granted & JAIL_USERNS || keeps_root(j))
		return true;
	if (setgroups(0, NULL) || setresgid(JAIL_NOBODY, JAIL_NOBODY, JAIL_NOBODY) || setresuid(JAIL_NOBODY, JAIL_NOBODY, JAIL_NOBODY))
		return refused(j, "to give up root", err);
	die_with_parent();      /* cleared by the change of identity */
	j->granted |= JAIL_UID;
	return true;
}

static bool drop_capabilities(struct jail *j, struct error *err)
{
	bool owns_files = keeps_root(j);
	capng_clear(CAPNG_SELECT_BOTH);
	if (owns_files)
		capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_CHOWN, CAP_DAC_OVERRIDE,
			      CAP_FOWNER, CAP_FSETID, -1);
	if (capng_apply(CAPNG_SELECT_BOTH) && capng_apply(CAPNG_SELECT_CAPS))
		return refused(j, "to drop capabilities", err);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return refused(j, "no_new_privs", err);
	j->granted |= JAIL_CAPS;
	return true;
}

static void limit(int what, rlim_t most)
{
	struct rlimit r = { most, most };
	setrlimit(what, &r);
}

bool jail_seal(struct jail *j, struct error *err)
{
	if (j->mode == JAIL_NONE)
		return true;
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_MEMLOCK, 64 << 10);
	if (j->role == JAIL_MACHINE)
		limit(RLIMIT_NOFILE, 256);
	if (!drop_uid(j, err) || !drop_capabilities(j, err))
		return false;
	if (!seccomp_install(j->role))
		return refused(j, "seccomp filters", err);
	j->granted |= JAIL_SECCOMP;
	return true;
}

/* ---- the rest ---- */

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void jail_close_fds(const int *keep, unsigned n)
{
	int sorted[256];
	n = MIN(n, (unsigned)ARRAY_SIZE(sorted));
	memcpy(sorted, keep, n * sizeof(*keep));
	qsort(sorted, n, sizeof(*sorted), compare_fds);
	unsigned from = 3;
	for (unsigned i = 0; i < n; i++) {
		if (sorted[i] < (int)from)
			continue;
		if (sorted[i] > (int)from)
			syscall(SYS_close_range, from, (unsigned)sorted[i] - 1, 0);
		from = (unsigned)sorted[i] + 1;
	}
	syscall(SYS_close_range, from, ~0u, 0);
}

void jail_describe(const struct jail *j, char text[200])
{
	static const struct { unsigned bit; const char *words; } parts[] = {
		{ JAIL_NAMESPACES, "user, mount, pid, ipc namespaces" }, { JAIL_NETNS, "no network" },
		{ JAIL_ROOT, "empty root" }, { JAIL_UID, "not root" }, { JAIL_CAPS, "no capabilities" },
		{ JAIL_SECCOMP, "seccomp" },
	};
	text[0] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t n = strlen(text);
		if (j->granted & parts[i].bit)
			snprintf(text + n, 200 - n, "%s%s", n ? ", " : "", parts[i].words);
	}
	if (!text[0])
		snprintf(text, 200, "none");
}
