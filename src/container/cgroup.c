/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making, joining and removing control groups: cgroup.h. cgroups(7). */
#include "container/cgroup.h"
#include "container/subids.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/kernel.h"

enum { REMOVE_WAIT_MS = 10000, MAKE_TRIES = 10000 };

const struct cgroup_dir *cgroups_with(const struct cgroups *c, const char *controller)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->dir[i].ours && (c->v2 || cgroup_lists(c->dir[i].controllers, controller)))
			return &c->dir[i];
	return NULL;
}

bool cgroup_write(const struct cgroup_dir *d, const char *file, const char *value, struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", d->path, file);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return error_set(err, errno, "cannot write '%s' to '%s'", value, path);
	return true;
}

bool cgroup_read(const struct cgroup_dir *d, const char *file, char *text, size_t room)
{
	char path[PATH_MAX];
	size_t n = 0;
	snprintf(path, sizeof(path), "%s/%s", d->path, file);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t r; fd >= 0 && n + 1 < room && (r = read(fd, text + n, room - 1 - n)) > 0; )
		n += (size_t)r;
	text[n] = 0;
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = 0;
	return fd >= 0;
}

void cgroups_free(struct cgroups *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		free(c->dir[i].controllers);
		free(c->dir[i].mount);
		free(c->dir[i].path);
	}
	c->n = 0;
	scope_free(&c->scope);
}

/* A new cpuset of version 1 is empty; it takes what its parent has. */
static bool fill_cpuset(const char *parent, const char *path, struct error *err)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	const struct cgroup_dir up = { .path = (char *)parent }, here = { .path = (char *)path };
	char text[4096];
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		if (cgroup_read(&here, files[i], text, sizeof(text)) && *text)
			continue;
		if (cgroup_read(&up, files[i], text, sizeof(text)) && *text && !cgroup_write(&here, files[i], text, err))
			return false;
	}
	return true;
}

/* Version 2: what the parent may give to its children, it gives. Not where processes are: some
 * controllers could be given, and then no process may enter the children (EOPNOTSUPP). */
static void enable_controllers(const char *path)
{
	char have[1024], word[64];
	struct cgroup_dir d = { .path = (char *)path };
	bool root = !cgroup_read(&d, "cgroup.type", have, sizeof(have));
	if ((!root && cgroup_read(&d, "cgroup.procs", have, sizeof(have)) && *have) ||
	    !cgroup_read(&d, "cgroup.controllers", have, sizeof(have)))
		return;
	for (char *p = strtok(have, " "); p; p = strtok(NULL, " ")) {
		snprintf(word, sizeof(word), "+%s", p);
		cgroup_write(&d, "cgroup.subtree_control", word, NULL);
	}
}

/* The length of d->path with one more directory below the mount; 0 after the last. */
static int one_deeper(const struct cgroup_dir *d, int length)
{
	const char *p = d->path + (length ? (size_t)length : strlen(d->mount));
	p += strspn(p, "/");
	return *p ? (int)(p + strcspn(p, "/") - d->path) : 0;
}

/* 0 or errno */
static int make_directories(const struct cgroup_dir *d, char path[PATH_MAX])
{
	for (int n = 0; (n = one_deeper(d, n)); ) {
		snprintf(path, PATH_MAX, "%.*s", n, d->path);
		if (mkdir(path, 0755) && errno != EEXIST)
			return errno;
	}
	return 0;
}

/* All of them are there, and stay while the last is; another container may have made one
 * of them a moment ago and not have come to fill it. */
static bool fill_directories(const struct cgroup_dir *d, bool enable, struct error *err)
{
	char path[PATH_MAX], parent[PATH_MAX];
	snprintf(parent, sizeof(parent), "%s", d->mount);
	for (int n = 0; (n = one_deeper(d, n)); ) {
		snprintf(path, sizeof(path), "%.*s", n, d->path);
		if (d->v2 && enable)
			enable_controllers(parent);
		if (cgroup_lists(d->controllers, "cpuset") && !fill_cpuset(parent, path, err))
			return false;
		memcpy(parent, path, sizeof(parent));
	}
	return true;
}

/* "abyme" is shared: cgroups_remove() of another container may take it away before it has
 * our child in it (ENOENT; ENODEV: just now). Each time it does, another was removed. */
static bool make_dir(struct cgroup_dir *d, bool enable, struct error *err)
{
	char path[PATH_MAX];
	int e = make_directories(d, path);
	for (unsigned tries = 1; (e == ENOENT || e == ENODEV) && tries < MAKE_TRIES; tries++)
		e = make_directories(d, path);
	if (e)
		return error_set(err, e, "cannot make control group '%s'", path);
	d->ours = fill_directories(d, enable, err);
	if (!d->ours)
		rmdir(d->path);
	return d->ours;
}

bool cgroups_make(struct cgroups *c, struct error *err)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct error e = { 0 };
		if (make_dir(&c->dir[i], c->v2, &e))
			continue;
		/* what a limit then needs is an error in cgroups_limit() */
		if (e.code != EROFS && (subids_real_root() || (e.code != EACCES && e.code != EPERM)))
			return error_set(err, 0, "%s", e.text);
	}
	return true;
}

void cgroups_notice(struct cgroups *c)
{
	if (c->scope.unit && !c->n)
		cgroups_locate(c, "self", NULL);
	for (unsigned i = 0; i < c->n; i++)
		c->dir[i].ours |= !access(c->dir[i].path, F_OK);
}

bool cgroups_join(const struct cgroups *c, pid_t pid, struct error *err)
{
	char text[24];
	snprintf(text, sizeof(text), "%d", pid);
	for (unsigned i = 0; i < c->n; i++)
		if (c->dir[i].ours && !cgroup_write(&c->dir[i], "cgroup.procs", text, err))
			return c->scope.unit && cgroups_attach_scope(c, pid, err);   /* from outside of what is delegated to us */
	return true;
}

static bool remove_tree(char path[PATH_MAX], unsigned depth)
{
	size_t n = strlen(path);
	if (!rmdir(path) || errno == ENOENT)
		return true;
	int why = errno;
	DIR *dir = depth < 32 ? opendir(path) : NULL;
	for (struct dirent *e; dir && (e = readdir(dir)); ) {
		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    n + strlen(e->d_name) + 2 > PATH_MAX)
			continue;
		snprintf(path + n, PATH_MAX - n, "/%s", e->d_name);
		remove_tree(path, depth + 1);
		path[n] = 0;
	}
	if (dir)
		closedir(dir);
	if (!rmdir(path) || errno == ENOENT)
		return true;
	errno = errno == ENOTEMPTY ? why : errno;
	return false;
}

/* EBUSY: processes that were killed are still on their way out. */
static bool remove_dir(const struct cgroup_dir *d, struct error *err)
{
	char path[PATH_MAX];
	for (unsigned waited = 0, ms = 1; ; waited += ms, ms = MIN(ms * 2, 100u)) {
		snprintf(path, sizeof(path), "%s", d->path);
		if (remove_tree(path, 0))
			return true;
		if (errno != EBUSY || waited > REMOVE_WAIT_MS)
			return error_set(err, errno, "cannot remove control group '%s'", d->path);
		poll(NULL, 0, (int)ms);
	}
}

bool cgroups_remove(const struct cgroups *c, struct error *err)
{
	bool ok = true;
	if (c->scope.unit)
		cgroups_stop_scope(c);
	for (unsigned i = 0; i < c->n; i++) {
		if (!c->dir[i].ours || !one_deeper(&c->dir[i], 0))   /* a container in the root group owns nothing */
			continue;
		ok = remove_dir(&c->dir[i], ok ? err : NULL) && ok;
		/* "abyme" above it goes with the last container */
		char *slash = strrchr(c->dir[i].path, '/');
		if (ok && slash - c->dir[i].path > 6 && !strncmp(slash - 6, "/abyme", 6)) {
			*slash = 0;
			rmdir(c->dir[i].path);
			*slash = '/';
		}
	}
	return ok;
}

void cgroups_save(const struct cgroups *c, struct json_out *out)
{
	json_open(out, "cgroups", '{');
	json_put_bool(out, "v2", c->v2);
	if (c->scope.unit) {
		json_put_str(out, "slice", c->scope.slice);
		json_put_str(out, "unit", c->scope.unit);
		json_put_bool(out, "user", c->scope.user);
	}
	json_open(out, "dirs", '[');
	for (unsigned i = 0; i < c->n; i++) {
		if (!c->dir[i].path)
			continue;
		json_open(out, NULL, '{');
		json_put_str(out, "controllers", c->dir[i].controllers);
		json_put_str(out, "mount", c->dir[i].mount);
		json_put_str(out, "path", c->dir[i].path);
		json_put_bool(out, "ours", c->dir[i].ours);
		json_close(out, '}');
	}
	json_close(out, ']');
	json_close(out, '}');
}

bool cgroups_load(struct cgroups *c, const struct json *v, struct error *err)
{
	const struct json *dirs = json_get(v, "dirs");
	const char *unit = json_str(v, "unit"), *slice = json_str(v, "slice");
	*c = (struct cgroups){ .v2 = json_is(v, "v2") };
	if (unit)
		c->scope = (struct scope){ xstrdup(slice ? slice : ""), xstrdup(unit), json_is(v, "user") };
	for (const struct json *m = dirs ? dirs->child : NULL; m && c->n < CGROUP_MAX; m = m->next) {
		const char *controllers = json_str(m, "controllers"), *mount = json_str(m, "mount"), *path = json_str(m, "path");
		if (!controllers || !mount || !path || *path != '/')
			return error_set(err, 0, "the record of control groups is damaged");
		c->dir[c->n++] = (struct cgroup_dir){ .controllers = xstrdup(controllers), .mount = xstrdup(mount),
			.path = xstrdup(path), .v2 = !*controllers, .ours = json_is(m, "ours") };
	}
	return !c->scope.unit || c->v2 || c->n || cgroups_expect_scope(c, err);
}
