/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme exec: a further program in a running container. attach: its own one. wait: its end. */
#include "cli/name.h"
#include "cli/session.h"
#include "container/bundle.h"
#include "instance/client.h"
#include "session/frame.h"

#include <stdio.h>

enum { LIST_MOST = 256, STATUS_NO_PROGRAM = 125 };
struct exec_options { const char *env[LIST_MOST]; unsigned nenv; char *workdir, *user; bool detach, tty, interactive; };
#define TARGET struct exec_options
#include "cli/table.h"

static bool add_env(void *target, const char *value, struct error *err)
{
	struct exec_options *o = target;
	if (!strchr(value, '=') || o->nenv == LIST_MOST)
		return error_set(err, 0, "--env takes NAME=VALUE, at most %d times", LIST_MOST);
	o->env[o->nenv++] = value;
	return true;
}

static bool set_both(void *target, const char *value, struct error *err)
{
	struct exec_options *o = target;
	return o->tty = o->interactive = true;
}

static const struct cli_option exec_options[] = {
	CALL("--env", "NAME=VALUE", add_env, "a variable more (repeatable)"),
	CALL("-e", "NAME=VALUE", add_env, "the same"),
	TEXT("--workdir", "DIR", workdir, "its working directory"),
	TEXT("-w", "DIR", workdir, "the same"),
	TEXT("--user", "USER[:GROUP]", user, "who it is, by name or number"),
	TEXT("-u", "USER[:GROUP]", user, "the same"),
	FLAG("--tty", tty, "it has a terminal"),
	FLAG("-t", tty, "the same"),
	FLAG("--interactive", interactive, "it reads our standard input"),
	FLAG("-i", interactive, "the same"),
	{ "-it", NULL, "both of these", OPTION_CALL, 0, set_both },
	{ "-ti", NULL, "both of these", OPTION_CALL, 0, set_both },
	FLAG("--detach", detach, "do not wait for it"),
	FLAG("-d", detach, "the same"),
	{ NULL }
};

static bool send_request(int fd, const struct exec_options *o, char **command, unsigned n, struct error *err)
{
	struct json_out j = { 0 };
	json_open(&j, NULL, '{');
	bundle_strings(&j, "args", (const char *const *)command, n);
	bundle_strings(&j, "env", o->env, o->nenv);
	if (o->workdir)
		json_put_str(&j, "cwd", o->workdir);
	if (o->user)
		json_put_str(&j, "user", o->user);
	json_put_bool(&j, "terminal", o->tty);
	json_put_bool(&j, "detach", o->detach);
	json_close(&j, '}');
	bool ok = j.length <= FRAME_MAX ? frame_send(fd, FRAME_START, j.text, j.length) ||
		error_set(err, 0, "the instance does not listen") : error_set(err, 0, "the command is too long");
	json_out_free(&j);
	return ok;
}

/* The status to end with. */
static int join(const struct session *s)
{
	struct error err = { 0 };
	int status = 0;
	switch (session_join(s, &status, &err)) {
	case SESSION_EXIT:
		return status;
	case SESSION_SIGNAL:
		return 128 + status;
	case SESSION_DETACHED:
		fprintf(stderr, "abyme: detached\n");
		return 0;
	case SESSION_LOST:
		error_set(&err, 0, "the connection to the instance was lost");
		break;
	default:
		break;
	}
	cli_fail(&err);
	return STATUS_NO_PROGRAM;
}

static int run_exec(const char *name, const struct exec_options *o, char **command, unsigned n)
{
	struct error err = { 0 };
	struct instance *i = instance_open(name, &err);
	auto_close int fd = i ? instance_connect(i, "exec.sock", &err) : -1;
	const struct session s = { .fd = fd, .tty = o->tty, .input = o->interactive };
	int status = STATUS_FAILED;
	if (fd < 0 || !send_request(fd, o, command, n, &err))
		cli_fail(&err);
	else
		status = join(&s);
	instance_close(i);
	return status;
}

int verb_exec(int argc, char **argv)
{
	struct exec_options o = { 0 };
	struct error err = { 0 };
	const char *name = NULL;
	const struct cli_group groups[] = { { exec_options, &o }, { NULL } };
	int at = cli_first_word(groups, argc, argv);
	int status = cli_parse(groups, MIN(at + 1, argc), argv, &name, 1, 1);
	if (status < 0 && at + 1 >= argc) {
		error_set(&err, 0, "abyme exec needs a command: abyme exec %s COMMAND", name);
		status = cli_usage(&err);
	}
	if (status < 0)
		status = run_exec(name, &o, argv + at + 1, (unsigned)(argc - at - 1));
	free(o.workdir);
	free(o.user);
	return status;
}

/* ---- attach, wait ---- */

static int look_on(int argc, char **argv, bool quiet)
{
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(NULL, NULL, argc, argv, &status);
	if (!i)
		return status;
	struct definition *d = instance_definition(i, &err);
	auto_close int fd = d ? instance_connect(i, "attach.sock", &err) : -1;
	const struct session s = { .fd = fd, .tty = d && d->tty && !quiet, .input = d && d->interactive && !quiet,
				   .quiet = quiet, .keep_signals = quiet };
	status = fd >= 0 ? join(&s) : cli_fail(&err);
	if (quiet && fd >= 0)
		printf("%d\n", status);
	definition_free(d);
	instance_close(i);
	return quiet && fd >= 0 ? 0 : status;
}

int verb_attach(int argc, char **argv) { return look_on(argc, argv, false); }
int verb_wait(int argc, char **argv) { return look_on(argc, argv, true); }
