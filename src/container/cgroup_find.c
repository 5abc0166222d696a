/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the hierarchies are, and which directories in them a container's are: cgroup.h. cgroups(7). */
#include "container/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

#define MOUNT "/sys/fs/cgroup"

bool cgroup_lists(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (!strncmp(p, word, n) && (p[n] == ',' || !p[n]))
			return true;
	return false;
}

/* A mount that another one hides is of no use. */
static bool usable(const char *at, bool v2)
{
	struct statfs fs;
	return !statfs(at, &fs) && fs.f_type == (v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC);
}

/* Where this kernel's hierarchy with these controllers is mounted, and which of
 * its directories the mount shows ("/" but in a container). */
static bool find_mount(char *info, const char *controllers, char *at, char *shown)
{
	char word[128];
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(controllers, ","), controllers);
	for (char *line = info, *next; line && *line; line = next) {
		char *end = strchr(line, '\n'), *dash, type[32], super[512];
		next = end ? end + 1 : NULL;
		if (end)
			*end = 0;
		bool hit = (dash = strstr(line, " - ")) && sscanf(dash, " - %31s %*s %511s", type, super) == 2 &&
			(*controllers ? !strcmp(type, "cgroup") && cgroup_lists(super, word) : !strcmp(type, "cgroup2")) &&
			sscanf(line, "%*s %*s %*s %4095s %4095s", shown, at) == 2 && usable(at, !*controllers);
		if (end)
			*end = '\n';
		if (hit)
			return true;
	}
	return false;
}

/* "..": not in a path that is joined to a mount point. */
static bool clean(const char *path)
{
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		p += strspn(p, "/");
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return false;
	}
	return strlen(path) < PATH_MAX / 2;
}

/* Our own directory of a hierarchy, as seen below its mount point. */
static const char *below(const char *own, const char *shown)
{
	size_t n = strlen(shown);
	if (n > 1 && !strncmp(own, shown, n) && (own[n] == '/' || !own[n]))
		return own + n;
	return n > 1 ? "" : own;
}

/* Ours has a process, us: below it version 2 gives no controller to anybody. So beside it. */
static void add(struct cgroups *c, const char *controllers, const char *mount, const char *own, const char *path,
	const char *id)
{
	bool absolute = path && *path == '/', v2 = !*controllers;
	const char *slash = strrchr(own, '/');
	int base = absolute || !slash || !strcmp(own, "/") ? 0 : c->v2 ? (int)(slash - own) : (int)strlen(own);
	struct cgroup_dir *d = &c->dir[c->n++];
	*d = (struct cgroup_dir){ .controllers = xstrdup(controllers), .mount = xstrdup(mount), .v2 = v2 };
	if (path && *path)
		d->path = xasprintf("%s%.*s%s%s", mount, base, own, absolute ? "" : "/", path);
	else
		d->path = xasprintf("%s%.*s/abyme/%s", mount, base, own, id);
	for (size_t n = strlen(d->path); n > 1 && d->path[n - 1] == '/'; )
		d->path[--n] = 0;
}

static char *slurp(const char *path, struct error *err)
{
	size_t n = 0, room = 16384;
	char *text = xmalloc(room);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t r; fd >= 0 && (r = read(fd, text + n, room - n - 1)) > 0; ) {
		n += (size_t)r;
		if (room - n < 4096 && room < 64 * MiB)
			text = xrealloc(text, room *= 2);
	}
	text[n] = 0;
	if (fd >= 0)
		return text;
	free(text);
	return error_null(err, errno, "cannot read '%s'", path);
}

static bool find_all(struct cgroups *c, char *own, char *info, const char *path, const char *id)
{
	char at[PATH_MAX], shown[PATH_MAX];
	for (char *line = own, *next; line && *line; line = next) {
		char *end = strchr(line, '\n'), *names = strchr(line, ':'), *dir = names ? strchr(names + 1, ':') : NULL;
		next = end ? end + 1 : NULL;
		if (end)
			*end = 0;
		if (!dir || c->n == CGROUP_MAX)
			continue;
		*dir++ = 0;
		names++;
		if (!strncmp(dir, "/../", 4) || !strcmp(dir, "/.."))   /* outside our cgroup namespace */
			dir = "/";
		if ((!c->v2 || !*names) && find_mount(info, names, at, shown))
			add(c, names, at, below(dir, shown), path, id);
	}
	return c->n > 0;
}

bool cgroups_unified(void)
{
	return usable(MOUNT, true);
}

bool cgroups_find_path(struct cgroups *c, const char *path, struct error *err)
{
	if (!clean(path))
		return error_set(err, 0, "the control group '%.80s' cannot be one of systemd's", path);
	auto_free char *own = slurp("/proc/self/cgroup", err);
	auto_free char *info = own ? slurp("/proc/self/mountinfo", err) : NULL;
	return info && (find_all(c, own, info, path, "") || error_set(err, 0, "there are no control groups at " MOUNT));
}

/* /proc/PID/cgroup: "0::PATH" is version 2, "N:name=systemd:PATH" systemd's own of version 1 */
bool cgroups_locate(struct cgroups *c, const char *process, struct error *err)
{
	char at[PATH_MAX], shown[PATH_MAX];
	const char *word = c->v2 ? "0::" : ":name=systemd:";
	auto_free char *file = xasprintf("/proc/%s/cgroup", process);
	auto_free char *own = slurp(file, err);
	auto_free char *info = own ? slurp("/proc/self/mountinfo", err) : NULL;
	char *line = info ? strstr(own, word) : NULL;
	if (!info)
		return false;
	if (!line || !find_mount(info, c->v2 ? "" : "name=systemd", at, shown))
		return error_set(err, 0, "'%s' does not say in which control group of systemd's the process is", file);
	line += strlen(word);
	line[strcspn(line, "\n")] = 0;
	c->n = 0;
	const char *path = below(line, shown);
	if (!c->v2)
		return cgroups_find_path(c, *path ? path : "/", err);     /* the same in each hierarchy */
	add(c, "", at, "/", *path ? path : "/", "");
	return true;
}

bool cgroups_find(struct cgroups *c, const char *path, const char *id, struct error *err)
{
	*c = (struct cgroups){ .v2 = cgroups_unified() };
	if (path && !clean(path))
		return error_set(err, 0, "linux.cgroupsPath '%s' must not contain '..' or be that long", path);
	auto_free char *own = slurp("/proc/self/cgroup", err);
	auto_free char *info = own ? slurp("/proc/self/mountinfo", err) : NULL;
	if (!info)
		return false;
	find_all(c, own, info, path, id);
	return true;
}
