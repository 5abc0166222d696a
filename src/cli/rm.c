/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme rm: remove stopped instances. */
#include "cli/table.h"
#include "instance/client.h"

enum { MAX_NAMES = 256, KILL_SECONDS = 10 };
struct rm_options { bool force; };
#define TARGET struct rm_options
static const struct cli_option rm_options[] = {
	FLAG("--force", force, "kill it first if it runs"),
	{ NULL }
};

static bool remove_one(const char *name, bool force, struct error *err)
{
	struct instance *i = instance_open(name, err);
	if (!i)
		return false;
	if (force && instance_keeper(i) && instance_kill(i, NULL))
		instance_wait_stopped(i, KILL_SECONDS);
	bool ok = instance_remove(i, err);
	instance_close(i);
	return ok;
}

int verb_rm(int argc, char **argv)
{
	struct rm_options o = { 0 };
	const struct cli_group groups[] = { { rm_options, &o }, { NULL } };
	const char *names[MAX_NAMES] = { NULL };
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, names, 1, MAX_NAMES);
	if (status >= 0)
		return status;
	status = 0;
	for (unsigned n = 0; n < MAX_NAMES && names[n]; n++)
		if (!remove_one(names[n], o.force, &err))
			status = cli_fail(&err);
	return status;
}
