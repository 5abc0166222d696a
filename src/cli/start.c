/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme start: a stopped instance runs again. */
#include "cli/name.h"
#include "cli/run.h"

struct start_options { bool attach, rm; };
static const struct cli_option start_options[] = {
	{ "--attach", NULL, "stay in the foreground, on its console", OPTION_FLAG,
	  offsetof(struct start_options, attach) },
	{ "--rm", NULL, "remove the instance when it ends", OPTION_FLAG, offsetof(struct start_options, rm) },
	{ NULL }
};

int verb_start(int argc, char **argv)
{
	struct start_options o = { 0 };
	struct error err = { 0 };
	char why[160];
	int status;
	struct instance *i = cli_instance(start_options, &o, argc, argv, &status);
	if (!i)
		return status;
	struct keeper_options k = { .foreground = o.attach, .remove = o.rm, .state_fd = -1 };
	struct definition *d = instance_definition(i, &err);
	status = d && definition_resolve(d, why, &err) ? run_instance(i, d, &k) : cli_fail(&err);
	definition_free(d);
	instance_close(i);
	return status;
}
