/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User namespaces: mappings by ourselves, or by newuidmap(1) for an ordinary user. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "container/kernel.h"
#include "container/launch.h"
#include "container/subids.h"

static bool write_proc(pid_t pid, const char *file, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool write_map(pid_t pid, const char *file, const struct id_maps *m)
{
	auto_free char *text = xmalloc(m->n * 40ull + 1);
	size_t n = 0;
	text[0] = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += (size_t)sprintf(text + n, "%u %u %u\n", m->v[i].inside, m->v[i].outside, m->v[i].size);
	return write_proc(pid, file, text);
}

/* newuidmap PID INSIDE OUTSIDE SIZE ... */
static bool helper(const char *program, pid_t pid, const struct id_maps *m, struct error *err)
{
	size_t argc = 0;
	struct arena a = { 0 };
	char **argv = arena_alloc(&a, (m->n * 3ull + 3) * sizeof(*argv));
	argv[argc++] = (char *)program;
	argv[argc++] = arena_printf(&a, "%d", pid);
	for (unsigned i = 0; i < m->n; i++) {
		argv[argc++] = arena_printf(&a, "%u", m->v[i].inside);
		argv[argc++] = arena_printf(&a, "%u", m->v[i].outside);
		argv[argc++] = arena_printf(&a, "%u", m->v[i].size);
	}
	pid_t child = fork();
	if (!child) {
		execvp(program, argv);
		_exit(127);
	}
	int status = wait_child(child);
	arena_free(&a);
	if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return error_set(err, 0, "these ID mappings need %s (package uidmap)", program);
	return (child > 0 && !status) || error_set(err, 0, "%s refused the ID mappings; see /etc/subuid and /etc/subgid", program);
}

static bool only_own(const struct id_maps *m, uint32_t id)
{
	return m->n == 1 && m->v[0].size == 1 && m->v[0].outside == id;
}

bool write_id_maps(pid_t pid, const struct id_maps *uids, const struct id_maps *gids, struct error *err)
{
	bool root = !geteuid();
	/* user_namespaces(7): without CAP_SETGID in the parent, setgroups must go first */
	if (!root && only_own(gids, getegid()))
		write_proc(pid, "setgroups", "deny");
	if (!write_map(pid, "gid_map", gids)) {
		if (root || only_own(gids, getegid()))
			return error_set(err, errno, "cannot write the group ID mappings");
		if (!helper("newgidmap", pid, gids, err))
			return false;
	}
	if (!write_map(pid, "uid_map", uids)) {
		if (root || only_own(uids, geteuid()))
			return error_set(err, errno, "cannot write the user ID mappings");
		return helper("newuidmap", pid, uids, err);
	}
	return true;
}

bool launch_map_ids(const struct launch *l, struct error *err)
{
	return write_id_maps(l->pid, &l->spec->lnx->uids, &l->spec->lnx->gids, err);
}

int userns_make(const struct id_maps *uids, const struct id_maps *gids, struct error *err)
{
	int ready[2], fd = -1, status;
	char path[64], byte = 0;
	if (pipe2(ready, O_CLOEXEC))
		return error_minus(err, errno, "cannot make a pipe");
	pid_t pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWUSER) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	if (pid < 0 || read(ready[0], &byte, 1) != 1)
		error_set(err, errno, "cannot make a user namespace for ID mappings");
	else if (write_id_maps(pid, uids, gids, err)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	close(ready[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return fd;
}

bool subids_real_root(void)
{
	unsigned inside = 1, outside = 1, size = 0;
	FILE *f = geteuid() ? NULL : fopen("/proc/self/uid_map", "re");
	bool whole = f && fscanf(f, "%u %u %u", &inside, &outside, &size) == 3 && !inside && !outside && size == UINT32_MAX;
	if (f)
		fclose(f);
	return whole;
}
