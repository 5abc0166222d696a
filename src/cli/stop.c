/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme stop: the power button, then patience. abyme kill: at once. */
#include "cli/name.h"
#include "cli/table.h"
#include "instance/client.h"

struct stop_options { bool force; unsigned timeout; };
#define TARGET struct stop_options
static const struct cli_option stop_options[] = {
	FLAG("--force", force, "kill it instead of asking the guest"),
	NUMBER("--timeout", "SECONDS", timeout, "how long the guest may take (default 60)"),
	{ NULL }
};
enum { STOP_SECONDS = 60, KILL_SECONDS = 10 };

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

static int do_stop(const struct instance *i, unsigned seconds)
{
	struct error err = { 0 };
	if (!control_do(i, "stop", &err))
		return cli_fail(&err);
	if (instance_wait_stopped(i, seconds))
		return 0;
	error_set(&err, 0, "the guest has not powered off within %u s: abyme stop --force %s kills it",
		  seconds, i->name);
	return cli_fail(&err);
}

int verb_stop(int argc, char **argv)
{
	struct stop_options o = { .timeout = STOP_SECONDS };
	int status;
	struct instance *i = cli_instance(stop_options, &o, argc, argv, &status);
	if (i)
		status = o.force ? do_kill(i) : do_stop(i, o.timeout);
	instance_close(i);
	return status;
}

int verb_kill(int argc, char **argv)
{
	int status;
	struct instance *i = cli_instance(NULL, NULL, argc, argv, &status);
	if (i)
		status = do_kill(i);
	instance_close(i);
	return status;
}
