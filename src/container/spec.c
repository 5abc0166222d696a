/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runtime-spec config.md: the tables and what tables cannot say. */
#include "container/spec_tables.h"

#include <sched.h>
#include <sys/resource.h>

#include "container/caps.h"

#define END { NULL, FIELD_STR, false, 0, 0, NULL }
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define NS_WORD(name, word, file, flag) [NS_##name] = word,
#define NS_FILE(name, word, file, flag) [NS_##name] = file,
#define NS_FLAG(name, word, file, flag) [NS_##name] = flag,
const char *const ns_words[NS_COUNT] = { NAMESPACES(NS_WORD) };
const char *const ns_files[NS_COUNT] = { NAMESPACES(NS_FILE) };
const int ns_flags[NS_COUNT] = { NAMESPACES(NS_FLAG) };

static const struct field mount[] = {
	FIELD_MUST(STR, struct spec_mount, "destination", destination),
	FIELD(STR, struct spec_mount, "source", source),
	FIELD(STR, struct spec_mount, "type", type),
	FIELD(STRINGS, struct spec_mount, "options", options),
	FIELD_SUB(LIST, struct spec_mount, "uidMappings", uids, struct id_map, spec_map_table),
	FIELD_SUB(LIST, struct spec_mount, "gidMappings", gids, struct id_map, spec_map_table),
	END
};

static const struct field user[] = {
	FIELD(U32, struct spec_process, "uid", user.uid),
	FIELD(U32, struct spec_process, "gid", user.gid),
	FIELD(OPT_U64, struct spec_process, "umask", user.umask),
	FIELD(IDS, struct spec_process, "additionalGids", user.groups),
	END
};

static const struct field console[] = {
	FIELD(U32, struct spec_process, "width", console.width),
	FIELD(U32, struct spec_process, "height", console.height),
	END
};

static const struct field rlimit[] = {
	FIELD_MUST(STR, struct spec_rlimit, "type", type),
	FIELD_MUST(U64, struct spec_rlimit, "soft", soft),
	FIELD_MUST(U64, struct spec_rlimit, "hard", hard),
	END
};

static const struct field caps[] = {
	FIELD(STRINGS, struct spec_caps, "bounding", names[CAPS_BOUNDING]),
	FIELD(STRINGS, struct spec_caps, "effective", names[CAPS_EFFECTIVE]),
	FIELD(STRINGS, struct spec_caps, "inheritable", names[CAPS_INHERITABLE]),
	FIELD(STRINGS, struct spec_caps, "permitted", names[CAPS_PERMITTED]),
	FIELD(STRINGS, struct spec_caps, "ambient", names[CAPS_AMBIENT]),
	END
};

#define SCHEDULER __typeof__(*((struct spec_process *)0)->scheduler)
static const struct field scheduler[] = {
	FIELD_MUST(STR, SCHEDULER, "policy", policy),
	FIELD(OPT_I64, SCHEDULER, "nice", nice),
	FIELD(OPT_I64, SCHEDULER, "priority", priority),
	FIELD(STRINGS, SCHEDULER, "flags", flags),
	FIELD(OPT_U64, SCHEDULER, "runtime", runtime),
	FIELD(OPT_U64, SCHEDULER, "deadline", deadline),
	FIELD(OPT_U64, SCHEDULER, "period", period),
	END
};

#define IO_PRIORITY __typeof__(*((struct spec_process *)0)->io_priority)
static const struct field io_priority[] = {
	FIELD_MUST(STR, IO_PRIORITY, "class", class),
	FIELD(I64, IO_PRIORITY, "priority", priority),
	END
};

const struct field spec_process_table[] = {
	FIELD(BOOL, struct spec_process, "terminal", terminal),
	{ "consoleSize", FIELD_OBJECT, false, 0, 0, console },
	{ "user", FIELD_OBJECT, false, 0, 0, user },
	FIELD(STRINGS, struct spec_process, "args", args),
	FIELD(STRINGS, struct spec_process, "env", env),
	FIELD_MUST(STR, struct spec_process, "cwd", cwd),
	FIELD_SUB(POINTER, struct spec_process, "capabilities", caps, struct spec_caps, caps),
	FIELD_SUB(LIST, struct spec_process, "rlimits", rlimits, struct spec_rlimit, rlimit),
	FIELD(BOOL, struct spec_process, "noNewPrivileges", no_new_privileges),
	FIELD(STR, struct spec_process, "apparmorProfile", apparmor),
	FIELD(STR, struct spec_process, "selinuxLabel", selinux),
	FIELD(OPT_I64, struct spec_process, "oomScoreAdj", oom_score_adj),
	FIELD_SUB(POINTER, struct spec_process, "scheduler", scheduler, SCHEDULER, scheduler),
	FIELD_SUB(POINTER, struct spec_process, "ioPriority", io_priority, IO_PRIORITY, io_priority),
	END
};

static const struct field hook[] = {
	FIELD_MUST(STR, struct spec_hook, "path", path),
	FIELD(STRINGS, struct spec_hook, "args", args),
	FIELD(STRINGS, struct spec_hook, "env", env),
	FIELD(OPT_I64, struct spec_hook, "timeout", timeout),
	END
};

static const struct field hooks[] = {
	FIELD_SUB(LIST, struct spec, "prestart", hooks.prestart, struct spec_hook, hook),
	FIELD_SUB(LIST, struct spec, "createRuntime", hooks.create_runtime, struct spec_hook, hook),
	FIELD_SUB(LIST, struct spec, "createContainer", hooks.create_container, struct spec_hook, hook),
	FIELD_SUB(LIST, struct spec, "startContainer", hooks.start_container, struct spec_hook, hook),
	FIELD_SUB(LIST, struct spec, "poststart", hooks.poststart, struct spec_hook, hook),
	FIELD_SUB(LIST, struct spec, "poststop", hooks.poststop, struct spec_hook, hook),
	END
};

#define ROOT __typeof__(*((struct spec *)0)->root)
static const struct field root[] = {
	FIELD_MUST(STR, ROOT, "path", path),
	FIELD(BOOL, ROOT, "readonly", readonly),
	END
};

static const struct field config[] = {
	FIELD_MUST(STR, struct spec, "ociVersion", version),
	FIELD_SUB(POINTER, struct spec, "root", root, ROOT, root),
	FIELD(STR, struct spec, "hostname", hostname),
	FIELD(STR, struct spec, "domainname", domainname),
	FIELD_SUB(LIST, struct spec, "mounts", mounts, struct spec_mount, mount),
	FIELD_SUB(POINTER, struct spec, "process", process, struct spec_process, spec_process_table),
	{ "hooks", FIELD_OBJECT, false, 0, 0, hooks },
	FIELD(PAIRS, struct spec, "annotations", annotations),
	FIELD_SUB(POINTER, struct spec, "linux", lnx, struct spec_linux, spec_linux_table),
	END
};

static const struct { const char *name; int resource; } rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS }, { "RLIMIT_CORE", RLIMIT_CORE }, { "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA }, { "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK }, { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE }, { "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE }, { "RLIMIT_NPROC", RLIMIT_NPROC }, { "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO }, { "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING }, { "RLIMIT_STACK", RLIMIT_STACK },
};

static bool check_rlimits(struct spec_process *p, struct error *err)
{
	for (unsigned i = 0; i < p->rlimits.n; i++) {
		struct spec_rlimit *r = &p->rlimits.v[i];
		r->resource = -1;
		for (unsigned k = 0; k < ARRAY_SIZE(rlimits); k++)
			if (!strcmp(rlimits[k].name, r->type))
				r->resource = rlimits[k].resource;
		if (r->resource < 0)
			return error_set(err, 0, "process.rlimits: '%s' is no resource limit", r->type);
		for (unsigned k = 0; k < i; k++)
			if (p->rlimits.v[k].resource == r->resource)
				return error_set(err, 0, "process.rlimits: %s stands there twice", r->type);
	}
	return true;
}

bool spec_process_check(struct spec_process *p, struct error *err)
{
	if (!p->args.n || !p->args.v[0])
		return error_set(err, 0, "process.args is empty: nothing to run");
	if (p->cwd[0] != '/')
		return error_set(err, 0, "process.cwd '%s' must be an absolute path", p->cwd);
	if (p->user.umask.v > 0777)
		return error_set(err, 0, "process.user.umask must be at most 0777");
	if (p->oom_score_adj.v < -1000 || p->oom_score_adj.v > 1000)
		return error_set(err, 0, "process.oomScoreAdj must be from -1000 to 1000");
	for (unsigned i = 0; p->caps && i < CAPS_SETS; i++)
		caps_parse(&p->caps->names[i], &p->caps->bits[i]);
	return check_rlimits(p, err);
}

struct spec_process *spec_process_parse(struct arena *a, const struct json *v, struct error *err)
{
	struct spec_process *p = arena_alloc(a, sizeof(*p));
	return schema_read(a, v, "process", spec_process_table, p, err) && spec_process_check(p, err) ? p : NULL;
}

static bool check_namespaces(struct spec *s, struct error *err)
{
	for (unsigned i = 0; i < s->lnx->namespaces.n; i++) {
		const struct spec_ns *n = &s->lnx->namespaces.v[i];
		unsigned t = 0;
		while (t < NS_COUNT && strcmp(ns_words[t], n->type))
			t++;
		if (t == NS_COUNT)
			return error_set(err, 0, "linux.namespaces: '%s' is no kind of namespace", n->type);
		if (spec_has_ns(s, t))
			return error_set(err, 0, "linux.namespaces: '%s' stands there twice", n->type);
		if (n->path && *n->path && *n->path != '/')
			return error_set(err, 0, "linux.namespaces: path '%s' must be absolute", n->path);
		if (n->path && *n->path)
			s->ns_path[t] = n->path;
		else
			s->ns_new |= BIT(t);
	}
	return true;
}

static bool check_maps(const struct id_maps *m, const char *what, struct error *err)
{
	if (m->n > 340)   /* user_namespaces(7) */
		return error_set(err, 0, "linux.%s: at most 340 entries", what);
	for (unsigned i = 0; i < m->n; i++)
		if (!m->v[i].size || m->v[i].inside + (uint64_t)m->v[i].size > UINT32_MAX + 1ull ||
		    m->v[i].outside + (uint64_t)m->v[i].size > UINT32_MAX + 1ull)
			return error_set(err, 0, "linux.%s[%u] reaches past the last ID", what, i);
	return true;
}

static bool check_hooks(const spec_hooks *h, struct error *err)
{
	for (unsigned i = 0; i < h->n; i++) {
		if (h->v[i].path[0] != '/')
			return error_set(err, 0, "hooks: path '%s' must be absolute", h->v[i].path);
		if (h->v[i].timeout.set && (h->v[i].timeout.v <= 0 || h->v[i].timeout.v > 1000000))
			return error_set(err, 0, "hooks: the timeout of '%s' must be from 1 to 1000000 seconds", h->v[i].path);
	}
	return true;
}

static bool check_all_hooks(const struct spec *s, struct error *err)
{
	return check_hooks(&s->hooks.prestart, err) && check_hooks(&s->hooks.create_runtime, err) &&
		check_hooks(&s->hooks.create_container, err) && check_hooks(&s->hooks.start_container, err) &&
		check_hooks(&s->hooks.poststart, err) && check_hooks(&s->hooks.poststop, err);
}

/* What belongs to a namespace may only be set in one that is the container's. */
static bool check_needs(const struct spec *s, struct error *err)
{
	if (!spec_has_ns(s, NS_MOUNT) && spec_has_ns(s, NS_USER))
		return error_set(err, 0, "a 'user' namespace needs a 'mount' namespace");
	if (s->hostname && !spec_has_ns(s, NS_UTS))
		return error_set(err, 0, "'hostname' needs a 'uts' namespace");
	if (s->domainname && !spec_has_ns(s, NS_UTS))
		return error_set(err, 0, "'domainname' needs a 'uts' namespace");
	if ((s->lnx->uids.n || s->lnx->gids.n) && !spec_has_ns(s, NS_USER))
		return error_set(err, 0, "ID mappings need a 'user' namespace");
	if ((s->ns_new & BIT(NS_USER)) && (!s->lnx->uids.n || !s->lnx->gids.n))
		return error_set(err, 0, "a new 'user' namespace needs linux.uidMappings and linux.gidMappings");
	if ((s->lnx->time_offsets.monotonic || s->lnx->time_offsets.boottime) && !(s->ns_new & BIT(NS_TIME)))
		return error_set(err, 0, "linux.timeOffsets needs a new 'time' namespace");
	return true;
}

static bool check(struct spec *s, struct error *err)
{
	if (strncmp(s->version, "1.", 2))
		return error_set(err, 0, "ociVersion '%s' is not supported; 1.0.0 to 1.2.x are", s->version);
	if (!s->root || !s->root->path[0])
		return error_set(err, 0, "root.path is missing");
	if (!s->lnx)
		return error_set(err, 0, "'linux' is missing: this runtime runs Linux containers");
	if (s->process && !spec_process_check(s->process, err))
		return false;
	return check_namespaces(s, err) && check_maps(&s->lnx->uids, "uidMappings", err) &&
		check_maps(&s->lnx->gids, "gidMappings", err) && check_all_hooks(s, err) && check_needs(s, err);
}

struct spec *spec_parse(const char *text, size_t size, struct error *err)
{
	struct spec *s = xnew(struct spec);
	const struct json *v = json_parse(&s->arena, text, size, "config.json", err);
	if (v && schema_read(&s->arena, v, "", config, s, err) && check(s, err))
		return s;
	spec_free(s);
	return NULL;
}

void spec_free(struct spec *s)
{
	if (!s)
		return;
	struct arena a = s->arena;
	arena_free(&a);
	free(s);
}

const char *spec_annotation(const struct spec *s, const char *key)
{
	for (unsigned i = 0; i < s->annotations.n; i++)
		if (!strcmp(s->annotations.v[i].key, key))
			return s->annotations.v[i].value;
	return NULL;
}
