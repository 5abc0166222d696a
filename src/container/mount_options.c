/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mount options: mount(8), runtime-spec config.md "Linux mount options". */
#include "container/mount_options.h"

#include "container/kernel.h"

enum option_kind { ATTR, ATTR_CLEAR, ATIME, PROPAGATION, SUPER, NOTHING, BIND, RBIND, REMOUNT, COPY_UP, IDMAP, RIDMAP };
struct option { const char *name; enum option_kind kind; uint64_t value; };

/* Those of kind ATTR, ATTR_CLEAR and ATIME also exist with an "r" in front, for
 * all mounts below. */
static const struct option options[] = {
	{ "ro", ATTR, MOUNT_ATTR_RDONLY }, { "rw", ATTR_CLEAR, MOUNT_ATTR_RDONLY },
	{ "nosuid", ATTR, MOUNT_ATTR_NOSUID }, { "suid", ATTR_CLEAR, MOUNT_ATTR_NOSUID },
	{ "nodev", ATTR, MOUNT_ATTR_NODEV }, { "dev", ATTR_CLEAR, MOUNT_ATTR_NODEV },
	{ "noexec", ATTR, MOUNT_ATTR_NOEXEC }, { "exec", ATTR_CLEAR, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", ATTR, MOUNT_ATTR_NODIRATIME }, { "diratime", ATTR_CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "nosymfollow", ATTR, MOUNT_ATTR_NOSYMFOLLOW }, { "symfollow", ATTR_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "noatime", ATIME, MOUNT_ATTR_NOATIME }, { "atime", ATIME, MOUNT_ATTR_RELATIME },
	{ "relatime", ATIME, MOUNT_ATTR_RELATIME }, { "norelatime", ATIME, MOUNT_ATTR_STRICTATIME },
	{ "strictatime", ATIME, MOUNT_ATTR_STRICTATIME }, { "nostrictatime", ATIME, MOUNT_ATTR_RELATIME },
	{ "private", PROPAGATION, MS_PRIVATE }, { "rprivate", PROPAGATION, MS_PRIVATE | MS_REC },
	{ "shared", PROPAGATION, MS_SHARED }, { "rshared", PROPAGATION, MS_SHARED | MS_REC },
	{ "slave", PROPAGATION, MS_SLAVE }, { "rslave", PROPAGATION, MS_SLAVE | MS_REC },
	{ "unbindable", PROPAGATION, MS_UNBINDABLE }, { "runbindable", PROPAGATION, MS_UNBINDABLE | MS_REC },
	{ "sync", SUPER, 0 }, { "dirsync", SUPER, 0 }, { "mand", SUPER, 0 }, { "lazytime", SUPER, 0 },
	{ "iversion", SUPER, 0 }, { "acl", NOTHING, 0 },
	{ "async", NOTHING, 0 }, { "nomand", NOTHING, 0 }, { "nolazytime", NOTHING, 0 }, { "noiversion", NOTHING, 0 },
	{ "silent", NOTHING, 0 }, { "loud", NOTHING, 0 }, { "defaults", NOTHING, 0 },
	{ "bind", BIND, 0 }, { "rbind", RBIND, 0 }, { "remount", REMOUNT, 0 }, { "tmpcopyup", COPY_UP, 0 },
	{ "idmap", IDMAP, 0 }, { "ridmap", RIDMAP, 0 },
};

static bool is_attr(const struct option *o)
{
	return o->kind <= ATIME;
}

static const struct option *find(const char *name, bool *below)
{
	*below = false;
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		if (!strcmp(options[i].name, name))
			return &options[i];
	*below = true;
	for (unsigned i = 0; *name == 'r' && i < ARRAY_SIZE(options); i++)
		if (is_attr(&options[i]) && !strcmp(options[i].name, name + 1))
			return &options[i];
	return NULL;
}

static void attribute(struct mount_plan *p, const struct option *o, bool below)
{
	uint64_t *set = below ? &p->rset : &p->set, *clear = below ? &p->rclear : &p->clear;
	if (o->kind == ATTR) {
		*set |= o->value;
		*clear &= ~o->value;
	} else if (o->kind == ATTR_CLEAR) {
		*clear |= o->value;
		*set &= ~o->value;
	} else {
		*clear |= MOUNT_ATTR__ATIME;
		*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | o->value;
	}
}

static void apply(struct mount_plan *p, const struct option *o, bool below)
{
	switch (o->kind) {
	case ATTR: case ATTR_CLEAR: case ATIME:
		attribute(p, o, below);
		break;
	case PROPAGATION:
		p->propagation = o->value & ~(uint64_t)MS_REC;
		p->propagation_below = (o->value & MS_REC) != 0;
		break;
	case SUPER:
		p->super.v[p->super.n++] = o->name;
		break;
	case BIND: case RBIND:
		p->bind = true;
		p->recursive |= o->kind == RBIND;
		break;
	case REMOUNT:
		p->remount = true;
		break;
	case COPY_UP:
		p->copy_up = true;
		break;
	case IDMAP: case RIDMAP:
		p->idmap = true;
		p->idmap_below = o->kind == RIDMAP;
		break;
	case NOTHING:
		break;
	}
}

bool mount_plan_make(struct arena *a, const struct spec_mount *m, struct mount_plan *out, struct error *err)
{
	*out = (struct mount_plan){ .spec = m, .tree = -1 };
	out->super.v = arena_alloc(a, (m->options.n + 2ull) * sizeof(char *));
	out->data.v = arena_alloc(a, (m->options.n + 1ull) * sizeof(char *));
	for (unsigned i = 0; i < m->options.n; i++) {
		bool below;
		const struct option *o = find(m->options.v[i], &below);
		if (o)
			apply(out, o, below);
		else if (m->options.v[i][0])
			out->data.v[out->data.n++] = m->options.v[i];
	}
	/* runtime-spec: "bind" as a type means the option */
	if (m->type && !strcmp(m->type, "bind") && !out->bind)
		out->bind = true;
	if (m->uids.n || m->gids.n)
		out->idmap = true;
	if (out->idmap && !out->bind)
		return error_set(err, 0, "mount '%s': ID mappings are for bind mounts", m->destination);
	if (out->bind && !m->source)
		return error_set(err, 0, "mount '%s': a bind mount needs a source", m->destination);
	if (!out->bind && !out->remount && !(m->type && *m->type) && !out->propagation)
		return error_set(err, 0, "mount '%s': the type is missing", m->destination);
	if (!out->bind && (out->set & MOUNT_ATTR_RDONLY))
		out->super.v[out->super.n++] = "ro";
	return true;
}

void mount_option_names(void (*each)(void *arg, const char *name), void *arg)
{
	char below[32] = "r";
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		each(arg, options[i].name);
		if (!is_attr(&options[i]))
			continue;
		memcpy(below + 1, options[i].name, strlen(options[i].name) + 1);
		each(arg, below);
	}
}
