/* SPDX-License-Identifier: GPL-2.0-or-later */
/* create, run, start, exec. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "container/channel.h"
#include "container/verbs.h"

int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

struct container *verb_container(struct oci *o, const struct arg *table, int argc, char **argv, int *at, struct error *err)
{
	static const struct arg none[] = { { NULL } };
	*at = 1;
	if (!args_parse(table ? table : none, argc, argv, at, err))
		return NULL;
	if (*at >= argc)
		return error_null(err, 0, "%s: the container's ID is missing", argv[0]);
	return container_open(o->root, argv[(*at)++], err);
}

/* Sockets that systemd passed come before --preserve-fds. */
static bool preserve(struct launch *l, const struct opt_i64 *given, struct error *err)
{
	uint64_t listen_fds = 0;
	const char *env = getenv("LISTEN_FDS");
	if (given->v < 0 || given->v > 100000)
		return error_set(err, 0, "--preserve-fds: a number from 0 to 100000");
	if (env && !parse_u64(env, 0, 100000, &listen_fds))
		listen_fds = 0;
	l->preserve_fds = (unsigned)given->v + (unsigned)listen_fds;
	return true;
}

struct create_options { const char *bundle; struct opt_i64 preserve; bool keep; };

static bool parse_create(struct launch *l, struct create_options *c, int argc, char **argv, const char **id,
	struct error *err)
{
	const struct arg table[] = {
		{ "bundle", 'b', ARG_TEXT, &c->bundle }, { "console-socket", 0, ARG_TEXT, &l->console_socket },
		{ "pid-file", 0, ARG_TEXT, &l->pid_file }, { "no-pivot", 0, ARG_FLAG, &l->no_pivot },
		{ "no-new-keyring", 0, ARG_FLAG, &l->no_keyring }, { "preserve-fds", 0, ARG_NUMBER, &c->preserve },
		{ "detach", 'd', ARG_FLAG, &l->detach }, { "keep", 0, ARG_FLAG, &c->keep },
		{ "no-subreaper", 0, ARG_IGNORED, NULL }, { "held", 0, ARG_FLAG, &l->held }, { NULL },
	};
	int at = 1;
	c->bundle = ".";
	if (!args_parse(table, argc, argv, &at, err) || !preserve(l, &c->preserve, err))
		return false;
	if (at + 1 != argc)
		return error_set(err, 0, "%s: one container ID is needed", argv[0]);
	*id = argv[at];
	return true;
}

int oci_create(struct oci *o, int argc, char **argv, struct error *err)
{
	struct launch l;
	struct create_options c = { 0 };
	const char *id;
	launch_init(&l);
	l.systemd = o->systemd;
	if (!parse_create(&l, &c, argc, argv, &id, err) || !seal_self(o->argv, err))
		return -1;
	bool ok = container_create(&l, o->root, id, c.bundle, err);
	launch_free(&l);
	return ok ? 0 : -1;
}

/* The terminal that the process sent, or none; serve it to the end. */
static int serve(struct launch *l, int *receive, struct error *err)
{
	if (*receive >= 0 && !terminal_receive(*receive, &l->terminal, err))
		return -1;
	return exit_status(terminal_serve(l->terminal, l->pid));
}

static int run_to_end(struct launch *l, int *receive, bool keep, struct error *err)
{
	struct container *c = l->container;
	int status = 0;
	if (!l->detach)
		terminal_hold_signals();
	if (!container_start(c, err)) {
		container_delete(c, true, NULL);
		return -1;
	}
	container_unlock(c);      /* the others may kill and delete it meanwhile */
	if (!l->detach) {
		status = serve(l, receive, err);
		if (!keep)
			container_delete(c, true, status < 0 ? NULL : err);
	}
	return status;
}

int oci_run(struct oci *o, int argc, char **argv, struct error *err)
{
	struct launch l;
	struct create_options c = { 0 };
	const char *id;
	int receive = -1, status = -1;
	launch_init(&l);
	l.systemd = o->systemd;
	if (!parse_create(&l, &c, argc, argv, &id, err) || !seal_self(o->argv, err))
		return -1;
	if (!l.detach && !l.console_socket) {
		l.keep_terminal = true;   /* if config.json asks for one */
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	}
	if (container_create(&l, o->root, id, c.bundle, err)) {
		receive = l.terminal;     /* the socket on which it comes */
		l.terminal = -1;
		status = run_to_end(&l, &receive, c.keep, err);
	}
	if (receive >= 0)
		close(receive);
	launch_free(&l);
	return status;
}

int oci_start(struct oci *o, int argc, char **argv, struct error *err)
{
	int at;
	struct container *c = verb_container(o, NULL, argc, argv, &at, err);
	bool ok = c && container_start(c, err);
	container_close(c);
	return ok ? 0 : -1;
}

struct exec_options {
	const char *process, *cwd, *user, *apparmor, *label;
	struct strings env, caps, groups;
	bool tty, no_new_privs;
	struct opt_i64 preserve;
};

static bool parse_user(struct spec_process *p, const char *text, struct error *err)
{
	char uid[24];
	uint64_t u, g = p->user.gid;
	size_t n = strcspn(text, ":");
	snprintf(uid, sizeof(uid), "%.*s", (int)MIN(n, (size_t)20), text);
	if (!parse_u64(uid, 0, UINT32_MAX, &u) || (text[n] && !parse_u64(text + n + 1, 0, UINT32_MAX, &g)))
		return error_set(err, 0, "--user: '%s' must be UID or UID:GID", text);
	p->user.uid = (uint32_t)u;
	p->user.gid = (uint32_t)g;
	return true;
}

static bool add_groups(struct arena *a, struct spec_process *p, const struct strings *list, struct error *err)
{
	uint64_t g;
	uint32_t *v = arena_alloc(a, (p->user.groups.n + (size_t)list->n) * sizeof(*v));
	if (p->user.groups.n)
		memcpy(v, p->user.groups.v, p->user.groups.n * sizeof(*v));
	p->user.groups.v = v;
	for (unsigned i = 0; i < list->n; i++) {
		if (!parse_u64(list->v[i], 0, UINT32_MAX, &g))
			return error_set(err, 0, "--additional-gids: '%s' is no group ID", list->v[i]);
		v[p->user.groups.n++] = (uint32_t)g;
	}
	return true;
}

static bool add_caps(struct arena *a, struct spec_process *p, const struct strings *list)
{
	if (!p->caps)
		p->caps = arena_alloc(a, sizeof(*p->caps));
	for (unsigned set = 0; list->n && set < CAPS_SETS; set++) {
		struct strings *s = &p->caps->names[set];
		if (set == CAPS_INHERITABLE || set == CAPS_AMBIENT)
			continue;
		const char **v = arena_alloc(a, (s->n + list->n + 1ull) * sizeof(*v));
		if (s->n)
			memcpy(v, s->v, s->n * sizeof(*v));
		memcpy(v + s->n, list->v, list->n * sizeof(*v));
		*s = (struct strings){ v, s->n + list->n };
	}
	return true;
}

/* The process of config.json, changed by the options. */
static struct spec_process *exec_from_options(struct launch *l, struct exec_options *e, char **command, unsigned n,
	struct error *err)
{
	struct arena *a = &l->spec->arena;
	struct spec_process *p = l->spec->process;
	if (!p)
		return error_null(err, 0, "config.json has no 'process' to take settings from; use --process");
	if (!n)
		return error_null(err, 0, "exec: the command is missing");
	p->args.v = arena_alloc(a, (n + 1ull) * sizeof(char *));
	memcpy(p->args.v, command, n * sizeof(char *));
	p->args.n = n;
	p->terminal = e->tty;
	p->cwd = e->cwd ? e->cwd : p->cwd;
	p->apparmor = e->apparmor ? e->apparmor : p->apparmor;
	p->selinux = e->label ? e->label : p->selinux;
	p->no_new_privileges |= e->no_new_privs;
	const char **env = arena_alloc(a, (p->env.n + e->env.n + 1ull) * sizeof(char *));
	if (p->env.n)
		memcpy(env, p->env.v, p->env.n * sizeof(char *));
	memcpy(env + p->env.n, e->env.v, e->env.n * sizeof(char *));
	p->env = (struct strings){ env, p->env.n + e->env.n };
	if ((e->user && !parse_user(p, e->user, err)) || !add_groups(a, p, &e->groups, err) || !add_caps(a, p, &e->caps))
		return NULL;
	return spec_process_check(p, err) ? p : NULL;
}

static bool parse_exec(struct oci *o, struct launch *l, struct exec_options *e, int argc, char **argv, struct error *err)
{
	const struct arg table[] = {
		{ "process", 'p', ARG_TEXT, &e->process }, { "console-socket", 0, ARG_TEXT, &l->console_socket },
		{ "pid-file", 0, ARG_TEXT, &l->pid_file }, { "detach", 'd', ARG_FLAG, &l->detach },
		{ "tty", 't', ARG_FLAG, &e->tty }, { "cwd", 0, ARG_TEXT, &e->cwd }, { "env", 'e', ARG_LIST, &e->env },
		{ "user", 'u', ARG_TEXT, &e->user }, { "additional-gids", 'g', ARG_LIST, &e->groups },
		{ "cap", 'c', ARG_LIST, &e->caps }, { "apparmor", 0, ARG_TEXT, &e->apparmor },
		{ "process-label", 0, ARG_TEXT, &e->label }, { "no-new-privs", 0, ARG_FLAG, &e->no_new_privs },
		{ "preserve-fds", 0, ARG_NUMBER, &e->preserve }, { "no-subreaper", 0, ARG_IGNORED, NULL },
		{ "ignore-paused", 0, ARG_IGNORED, NULL }, { "cgroup", 0, ARG_IGNORED_TEXT, NULL }, { NULL },
	};
	int at;
	l->container = verb_container(o, table, argc, argv, &at, err);
	l->spec = l->container && preserve(l, &e->preserve, err) ? container_spec(l->container, err) : NULL;
	if (!l->spec)
		return false;
	struct arena *a = &l->spec->arena;
	const struct json *v = e->process ? json_load(a, AT_FDCWD, e->process, err) : NULL;
	if (e->process)
		l->process = v ? spec_process_parse(a, v, err) : NULL;
	else
		l->process = exec_from_options(l, e, argv + at, (unsigned)(argc - at), err);
	return l->process != NULL;
}

int oci_exec(struct oci *o, int argc, char **argv, struct error *err)
{
	struct launch l;
	struct exec_options e = { 0 };
	int receive = -1, status = -1;
	const char **room = xcalloc((size_t)argc * 3 + 3, sizeof(*room));
	e.env.v = room;
	e.caps.v = room + argc + 1;
	e.groups.v = room + 2 * (argc + 1);
	launch_init(&l);
	bool ok = seal_self(o->argv, err) && parse_exec(o, &l, &e, argc, argv, err);
	if (ok && l.process->terminal && !l.console_socket && !l.detach)
		ok = launch_own_console(&l, &receive, err);
	if (ok && !l.detach)
		terminal_hold_signals();
	if (ok && container_exec(&l, err) > 0)
		status = l.detach ? 0 : serve(&l, &receive, err);
	if (receive >= 0)
		close(receive);
	launch_free(&l);
	free(room);
	return status;
}
