/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes of a control group: list, freeze, kill. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/cgroup.h"
#include "container/kernel.h"

enum { FREEZE_WAIT_MS = 10000, PIDS_MAX = 65536 };

struct found { pid_t *pids; unsigned n, max; };

static void read_procs(const char *dir, struct found *f)
{
	char path[PATH_MAX], line[64];
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	FILE *in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in)) {
		pid_t pid = atoi(line);
		if (pid > 0 && f->n < f->max)
			f->pids[f->n] = pid;
		f->n += pid > 0;
	}
	if (in)
		fclose(in);
}

static void walk(char path[PATH_MAX], unsigned depth, struct found *f)
{
	size_t n = strlen(path);
	read_procs(path, f);
	DIR *dir = depth < 32 ? opendir(path) : NULL;
	for (struct dirent *e; dir && (e = readdir(dir)); ) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.' || n + strlen(e->d_name) + 2 > PATH_MAX)
			continue;
		snprintf(path + n, PATH_MAX - n, "/%s", e->d_name);
		walk(path, depth + 1, f);
		path[n] = 0;
	}
	if (dir)
		closedir(dir);
}

/* Any hierarchy has all processes; that of pids is the one nobody else changes. */
static const struct cgroup_dir *main_dir(const struct cgroups *c)
{
	const struct cgroup_dir *d = cgroups_with(c, "pids");
	for (unsigned i = 0; !d && i < c->n; i++)
		if (c->dir[i].ours)
			d = &c->dir[i];
	return d;
}

int cgroups_pids(const struct cgroups *c, pid_t *pids, unsigned max, struct error *err)
{
	char path[PATH_MAX];
	struct found f = { pids, 0, max };
	const struct cgroup_dir *d = main_dir(c);
	if (!d)
		return error_minus(err, 0, "this container has no control group, so its processes are not known");
	snprintf(path, sizeof(path), "%s", d->path);
	walk(path, 0, &f);
	return (int)MIN(f.n, (unsigned)INT_MAX);
}

static bool is_state(const struct cgroup_dir *d, bool v2, bool frozen)
{
	char text[256];
	if (v2)
		return cgroup_read(d, "cgroup.events", text, sizeof(text)) && strstr(text, frozen ? "frozen 1" : "frozen 0");
	return cgroup_read(d, "freezer.state", text, sizeof(text)) && !strcmp(text, frozen ? "FROZEN" : "THAWED");
}

static const struct cgroup_dir *freezer(const struct cgroups *c, struct error *err)
{
	const struct cgroup_dir *d = cgroups_with(c, "freezer");
	if (!d)
		error_set(err, 0, "this container has no control group with a freezer, so it cannot be paused");
	return d;
}

bool cgroups_frozen(const struct cgroups *c)
{
	const struct cgroup_dir *d = cgroups_with(c, "freezer");
	return d && is_state(d, c->v2, true);
}

bool cgroups_freeze(const struct cgroups *c, bool frozen, struct error *err)
{
	const struct cgroup_dir *d = freezer(c, err);
	if (!d)
		return false;
	const char *file = c->v2 ? "cgroup.freeze" : "freezer.state";
	const char *value = c->v2 ? (frozen ? "1" : "0") : (frozen ? "FROZEN" : "THAWED");
	for (unsigned waited = 0; waited < FREEZE_WAIT_MS; waited += 2) {
		/* v1: tasks that were being moved or forked need it said again */
		if (!cgroup_write(d, file, value, err))
			return false;
		if (is_state(d, c->v2, frozen))
			return true;
		poll(NULL, 0, 2);
	}
	if (frozen)
		cgroup_write(d, file, c->v2 ? "0" : "THAWED", NULL);
	return error_set(err, 0, "the processes in '%s' did not %s within 10 seconds", d->path, frozen ? "freeze" : "thaw");
}

/* Held still, so that none forks away from the list; SIGKILL reaches a frozen
 * process when it thaws. */
static bool signal_frozen(const struct cgroups *c, int sig, struct error *err)
{
	auto_free pid_t *pids = xcalloc(PIDS_MAX, sizeof(*pids));
	bool held = cgroups_with(c, "freezer") && cgroups_freeze(c, true, NULL);
	int n = cgroups_pids(c, pids, PIDS_MAX, err);
	for (int i = 0; i < MIN(n, (int)PIDS_MAX); i++)
		kill(pids[i], sig);
	if (held)
		cgroups_freeze(c, false, NULL);
	return n >= 0;
}

bool cgroups_kill(const struct cgroups *c, int sig, struct error *err)
{
	const struct cgroup_dir *d = main_dir(c);
	if (c->v2 && sig == SIGKILL && d && cgroup_write(d, "cgroup.kill", "1", NULL))
		return true;
	return signal_frozen(c, sig, err);
}
