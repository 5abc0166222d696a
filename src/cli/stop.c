/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme stop: the power button, or the signal that a program takes as the wish to end,
 * then patience. abyme kill: at once.
 */
#include "cli/name.h"
#include "instance/client.h"

#include <jansson.h>

struct stop_options { bool force; unsigned timeout; char *signal; };
#define TARGET struct stop_options
#include "cli/table.h"
static const struct cli_option stop_options[] = {
	FLAG("--force", force, "kill it instead of asking"),
	NUMBER("--timeout", "SECONDS", timeout, "how long it may take (default 60; an image's program 10, then it is killed)"),
	{ NULL }
};
static const struct cli_option kill_options[] = {
	TEXT("--signal", "SIGNAL", signal, "send this to an image's program"),
	{ NULL }
};
enum { STOP_SECONDS = 60, PROGRAM_SECONDS = 10, KILL_SECONDS = 10, ASK_SECONDS = 10 };

static int do_kill(const struct instance *i)
{
	struct error err = { 0 };
	if (!instance_kill(i, &err))
		return cli_fail(&err);
	if (instance_wait_stopped(i, KILL_SECONDS))
		return 0;
	error_set(&err, 0, "instance '%s' does not end", i->name);
	return cli_fail(&err);
}

static bool has_program(const struct instance *i)
{
	struct definition *d = instance_definition(i, NULL);
	bool yes = d && definition_isolation(d) != ISOLATION_VM;
	definition_free(d);
	return yes;
}

static int do_stop(const struct instance *i, unsigned seconds)
{
	struct error err = { 0 };
	bool program = has_program(i);
	if (!control_do(i, "stop", &err))
		return cli_fail(&err);
	if (instance_wait_stopped(i, seconds ? seconds : program ? PROGRAM_SECONDS : STOP_SECONDS))
		return 0;
	if (program)
		return do_kill(i);
	error_set(&err, 0, "the guest has not powered off within %u s: abyme stop --force %s kills it",
		  seconds ? seconds : STOP_SECONDS, i->name);
	return cli_fail(&err);
}

int verb_stop(int argc, char **argv)
{
	struct stop_options o = { 0 };
	int status;
	struct instance *i = cli_instance(stop_options, &o, argc, argv, &status);
	if (i)
		status = o.force ? do_kill(i) : do_stop(i, o.timeout);
	instance_close(i);
	return status;
}

static int send_signal(const struct instance *i, const char *name)
{
	struct error err = { 0 };
	json_t *args = json_pack("{s:s}", "signal", name);
	json_t *o = control_call_with(i, "signal", args, -1, ASK_SECONDS, &err);
	json_decref(args);
	json_decref(o);
	return o ? 0 : cli_fail(&err);
}

int verb_kill(int argc, char **argv)
{
	struct stop_options o = { 0 };
	int status;
	struct instance *i = cli_instance(kill_options, &o, argc, argv, &status);
	if (i)
		status = o.signal ? send_signal(i, o.signal) : do_kill(i);
	instance_close(i);
	free(o.signal);
	return status;
}
