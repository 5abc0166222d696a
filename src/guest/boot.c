/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the kernel's first process to one that can serve: see guest.h. */
#include "guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void guest_say(const char *what, int error)
{
	auto_close int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		dprintf(fd, "<3>abyme-init: %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
}

/* In the order of the list, which the host has made; what the kernel has built in is not there. */
static void load_modules(void)
{
	char line[256], path[300];
	FILE *f = fopen("/modules/order", "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		snprintf(path, sizeof(path), "/modules/%s", line);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			guest_say(path, errno);
		if (fd >= 0)
			close(fd);
		unlink(path);         /* its memory is better used */
	}
	if (f)
		fclose(f);
}

/* pivot_root(2) cannot leave the initial RAM disk: a mount of it, moved over it, it can. */
static bool root_on_a_mount(void)
{
	mkdir("/root", 0700);
	return !mount("/", "/root", NULL, MS_BIND, NULL) && !chdir("/root") && !mount(".", "/", NULL, MS_MOVE, NULL) &&
		!chroot(".") && !chdir("/");
}

static void mount_kernel(void)
{
	static const struct { const char *type, *at, *options; unsigned long flags; } mounts[] = {
		{ "proc", "/proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", "", MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "devtmpfs", "/dev", "", MS_NOSUID | MS_NOEXEC },
		{ "tmpfs", "/run", "mode=755", MS_NOSUID | MS_NODEV },
		{ "tmpfs", GUEST_BUNDLE, "mode=755", MS_NOSUID },
		{ "cgroup2", "/sys/fs/cgroup", "", MS_NOSUID | MS_NODEV | MS_NOEXEC },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].at, 0755);
		if (mount(mounts[i].type, mounts[i].at, mounts[i].type, mounts[i].flags, mounts[i].options) && errno != EBUSY)
			guest_say(mounts[i].at, errno);
	}
}

static void delegate_groups(void)
{
	static const char *const controllers[] = { "+cpu", "+cpuset", "+memory", "+pids", "+io" };
	auto_close int fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_SIZE(controllers); i++)
		if (write(fd, controllers[i], strlen(controllers[i])) < 0)
			guest_say(controllers[i], errno);
}

void guest_boot(void)
{
	umask(022);
	if (!root_on_a_mount())
		guest_say("cannot move the root", errno);
	mount_kernel();
	load_modules();
	delegate_groups();
}
