/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child in new or joined namespaces.  With nothing to join it is one clone3();
 * otherwise a helper process enters what is to be joined and makes the child
 * with CLONE_PARENT, so that it is the runtime's own child all the same.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/channel.h"
#include "container/kernel.h"
#include "container/launch.h"

static pid_t clone_child(struct launch *l, uint64_t flags, void (*main)(struct launch *l))
{
	struct clone3_args a = { .flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };
	pid_t pid = sys_clone3(&a);
	if (!pid) {
		main(l);
		_exit(1);
	}
	return pid;
}

/* The cgroup namespace waits: its root is where the process is when it is made. */
static uint64_t new_flags(const struct spec *s)
{
	uint64_t flags = 0;
	for (unsigned t = 0; t < NS_COUNT; t++)
		if ((s->ns_new & BIT(t)) && t != NS_CGROUP && t != NS_TIME)
			flags |= (uint64_t)ns_flags[t];
	return flags;
}

static int open_ns(const struct spec *s, unsigned t, struct error *err)
{
	int fd = open(s->ns_path[t], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		error_set(err, errno, "cannot open the %s namespace '%s'", ns_words[t], s->ns_path[t]);
	return fd;
}

static bool is_current(unsigned t, int fd)
{
	char path[40];
	struct stat a, b;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_files[t]);
	return !fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* What belongs to the host is joined with the host's rights; what belongs to a
 * user namespace that is joined too, after that. */
static bool join_paths(const struct spec *s, struct error *err)
{
	int fds[NS_COUNT];
	bool ok = true, done[NS_COUNT] = { 0 };
	for (unsigned t = 0; t < NS_COUNT; t++) {
		fds[t] = ok && s->ns_path[t] ? open_ns(s, t, err) : -1;
		ok = ok && (!s->ns_path[t] || fds[t] >= 0);
		done[t] = fds[t] < 0 || (t == NS_USER && is_current(t, fds[t]));
		/* the container's root replaces that of the namespace: never our own */
		if (ok && fds[t] >= 0 && t == NS_MOUNT && is_current(t, fds[t]))
			ok = error_set(err, 0, "linux.namespaces: the mount namespace '%s' is the host's own", s->ns_path[t]);
	}
	for (unsigned t = NS_USER + 1; ok && t < NS_COUNT; t++)
		done[t] = done[t] || (t != NS_MOUNT && !setns(fds[t], ns_flags[t]));
	for (unsigned t = 0; ok && t < NS_COUNT; t++)
		if (!done[t] && setns(fds[t], ns_flags[t]))
			ok = error_set(err, errno, "cannot join the %s namespace '%s'%s", ns_words[t], s->ns_path[t],
				errno == EINVAL ? " (is it one of that kind?)" : "");
	for (unsigned t = 0; t < NS_COUNT; t++)
		if (fds[t] >= 0)
			close(fds[t]);
	return ok;
}

static size_t put_offset(char *text, size_t room, const char *clock, const struct spec_time_offset *o)
{
	return !o ? 0 : (size_t)snprintf(text, room, "%s %lld %u\n", clock, (long long)o->secs, o->nanosecs);
}

/* The file takes one write. time_namespaces(7) */
static bool new_time(const struct spec *s, struct error *err)
{
	char text[200];
	size_t n = put_offset(text, sizeof(text), "monotonic", s->lnx->time_offsets.monotonic);
	n += put_offset(text + n, sizeof(text) - n, "boottime", s->lnx->time_offsets.boottime);
	if (unshare(CLONE_NEWTIME))
		return error_set(err, errno, "cannot make a time namespace");
	auto_close int fd = n ? open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC) : -1;
	if (n && (fd < 0 || write(fd, text, n) != (ssize_t)n))
		return error_set(err, errno, "cannot set linux.timeOffsets");
	return true;
}

/* All namespaces of a running container at once. Those that are ours already are
 * left out: a user namespace cannot be joined twice. */
static bool join_container(struct launch *l, struct error *err)
{
	int flags = 0;
	char path[64];
	auto_close int pidfd = container_pidfd(l->container);
	if (pidfd < 0)
		return error_set(err, 0, "container '%s' is not running", l->container->id);
	for (unsigned t = 0; t < NS_COUNT; t++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", l->container->pid, ns_files[t]);
		auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT)
			return error_set(err, errno, "cannot open the namespaces of container '%s'", l->container->id);
		if (fd >= 0 && !is_current(t, fd))
			flags |= ns_flags[t];
	}
	/* from here on the container's processes may see us */
	prctl(PR_SET_DUMPABLE, 0);
	if (flags && setns(pidfd, flags))
		return error_set(err, errno, "cannot join the namespaces of container '%s'", l->container->id);
	return true;
}

/* With a new time namespace the user namespace that owns it comes first. */
static bool enter(struct launch *l, uint64_t *flags, struct error *err)
{
	const struct spec *s = l->spec;
	if (l->joining)
		return join_container(l, err);
	*flags = new_flags(s);
	if (!join_paths(s, err))
		return false;
	if (!(s->ns_new & BIT(NS_TIME)))
		return true;
	if (s->ns_new & BIT(NS_USER)) {
		if (unshare(CLONE_NEWUSER))
			return error_set(err, errno, "cannot make a user namespace");
		*flags &= ~(uint64_t)CLONE_NEWUSER;
	}
	return new_time(s, err);
}

/* In the helper; its own PID namespace is still the host's, so is the number. */
static NORETURN void helper_main(struct launch *l, void (*main)(struct launch *l))
{
	struct error err = { 0 };
	uint64_t flags = 0;
	if (enter(l, &flags, &err)) {
		pid_t pid = clone_child(l, flags | CLONE_PARENT, main);
		if (pid > 0 && channel_send(l->channel[1], CHANNEL_PID, pid))
			_exit(0);
		error_set(&err, errno, "cannot make the container's process");
	}
	channel_fail(l->channel[1], &err);
	_exit(1);
}

static bool needs_helper(const struct launch *l)
{
	for (unsigned t = 0; t < NS_COUNT; t++)
		if (l->joining || l->spec->ns_path[t])
			return true;
	return (l->spec->ns_new & BIT(NS_TIME)) != 0;
}

pid_t launch_spawn(struct launch *l, void (*main)(struct launch *l), struct error *err)
{
	int pid = -1;
	if (!needs_helper(l)) {
		pid = clone_child(l, new_flags(l->spec), main);
		return pid > 0 ? pid : error_minus(err, errno, "cannot make the container's namespaces");
	}
	pid_t helper = fork();
	if (!helper)
		helper_main(l, main);
	if (helper < 0)
		return error_minus(err, errno, "cannot start a process");
	bool ok = channel_wait(l->channel[0], CHANNEL_PID, &pid, "the process that joins namespaces", err);
	wait_child(helper);
	return ok ? pid : -1;
}
