/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A container's control group where systemd makes it: scope.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "container/cgroup.h"
#include "container/subids.h"

static const struct scope_manager *manager;

void scope_use(const struct scope_manager *m)
{
	manager = m;
}

bool cgroups_find_scope(struct cgroups *c, const char *path, const char *id, struct error *err)
{
	*c = (struct cgroups){ .v2 = cgroups_unified() };
	if (!manager)
		return error_set(err, 0, "--systemd-cgroup: this program has no systemd to ask");
	return scope_name(&c->scope, path, id, !subids_real_root(), err);
}

/* The unit's own directory, and no other: it will be limited, frozen, killed, removed. */
static bool find_directory(struct cgroups *c, pid_t pid, struct error *err)
{
	char text[24];
	snprintf(text, sizeof(text), "%d", pid);
	if (!cgroups_locate(c, text, err))
		return false;
	const char *slash = strrchr(c->dir[0].path, '/');
	if (!slash || strcmp(slash + 1, c->scope.unit))
		return error_set(err, 0, "systemd started '%s', but the container is in control group '%s'", c->scope.unit, c->dir[0].path);
	c->dir[0].ours = c->v2;
	return c->v2 || (cgroups_make(c, err) && cgroups_join(c, pid, err));     /* of version 1 it makes its own alone */
}

/* systemd.slice(5): "a-b.slice" is in "a.slice". */
static void put_slices(char *path, size_t room, const char *slice)
{
	const char *end = strrchr(slice, '.');
	size_t n = 0;
	*path = 0;
	for (const char *dash = *slice == '-' ? NULL : slice; dash && n < room; ) {
		dash = strchr(dash + 1, '-');
		int part = (int)((dash ? dash : end) - slice);
		n += (size_t)snprintf(path + n, room - n, "/%.*s.slice", part, slice);
	}
}

bool cgroups_expect_scope(struct cgroups *c, struct error *err)
{
	char path[PATH_MAX / 4];
	if (!strrchr(c->scope.slice, '.'))
		return error_set(err, 0, "the record of control groups is damaged");
	put_slices(path, sizeof(path), c->scope.slice);
	auto_free char *group = xasprintf("%s/%s", path, c->scope.unit);
	if (!cgroups_find_path(c, group, err))
		return false;
	cgroups_notice(c);
	return true;
}

bool cgroups_start_scope(struct cgroups *c, pid_t pid, const char *id, const struct spec *s, struct error *err)
{
	struct arena arena = { 0 };
	struct scope_properties p = { .arena = &arena, .v1 = !c->v2 };
	scope_basics(&p, &c->scope, id, pid);
	bool ok = scope_resources(&p, s->lnx->resources, NULL, err) && scope_annotations(&p, &s->annotations, err) &&
		manager->start(&c->scope, &p, err) && find_directory(c, pid, err);
	arena_free(&arena);
	return ok;
}

/* As cpu.max has it. */
static bool read_quota(const struct cgroup_dir *d, char *text, size_t room)
{
	char quota[24], period[24];
	if (d->v2)
		return cgroup_read(d, "cpu.max", text, room);
	if (!cgroup_read(d, "cpu.cfs_quota_us", quota, sizeof(quota)) || !cgroup_read(d, "cpu.cfs_period_us", period, sizeof(period)))
		return false;
	snprintf(text, room, "%s %s", *quota == '-' ? "max" : quota, period);
	return true;
}

/* After the files: a quota or a period alone goes with what the other is now. */
bool cgroups_limit_scope(const struct cgroups *c, const struct spec_resources *r, struct error *err)
{
	struct arena arena = { 0 };
	struct scope_properties p = { .arena = &arena, .v1 = !c->v2 };
	char now[64];
	if (!c->scope.unit)
		return true;
	const struct cgroup_dir *d = cgroups_with(c, "cpu");
	bool known = d && read_quota(d, now, sizeof(now));
	bool ok = scope_resources(&p, r, known ? now : NULL, err) &&
		(!p.n || !manager || manager->set(&c->scope, &p, err));
	arena_free(&arena);
	return ok;
}

bool cgroups_attach_scope(const struct cgroups *c, pid_t pid, struct error *err)
{
	return manager ? manager->attach(&c->scope, pid, err) : error_set(err, 0, "there is no systemd to ask for '%s'", c->scope.unit);
}

/* A scope goes with its last process, too; if a directory stays, removing it says so. */
void cgroups_stop_scope(const struct cgroups *c)
{
	if (manager)
		manager->stop(&c->scope, NULL);
}
