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
	if (!c->v2)
		return error_set(err, 0, "--systemd-cgroup needs control groups of version 2 alone at /sys/fs/cgroup; this host has version 1: "
			"set the engine's cgroup manager to cgroupfs");
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
	c->dir[0].ours = slash && !strcmp(slash + 1, c->scope.unit);
	return c->dir[0].ours || error_set(err, 0, "systemd started '%s', but the container is in control group '%s'", c->scope.unit,
		c->dir[0].path);
}

bool cgroups_start_scope(struct cgroups *c, pid_t pid, const char *id, const struct spec *s, struct error *err)
{
	struct arena arena = { 0 };
	struct scope_properties p = { .arena = &arena };
	scope_basics(&p, &c->scope, id, pid);
	bool ok = scope_resources(&p, s->lnx->resources, NULL, err) && scope_annotations(&p, &s->annotations, err) &&
		manager->start(&c->scope, &p, err) && find_directory(c, pid, err);
	arena_free(&arena);
	return ok;
}

/* After the files: a quota or a period alone goes with what the other is now. */
bool cgroups_limit_scope(const struct cgroups *c, const struct spec_resources *r, struct error *err)
{
	struct arena arena = { 0 };
	struct scope_properties p = { .arena = &arena };
	char now[64];
	if (!c->scope.unit)
		return true;
	const struct cgroup_dir *d = cgroups_with(c, "cpu");
	bool known = d && cgroup_read(d, "cpu.max", now, sizeof(now));
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
