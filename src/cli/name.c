/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "[OPTIONS] NAME": see name.h. */
#include "cli/name.h"

struct instance *cli_instance(const struct cli_option *options, void *target, int argc, char **argv,
			      int *status)
{
	const struct cli_group groups[] = { { options, target }, { NULL } };
	const char *name = NULL;
	struct error err = { 0 };
	*status = cli_parse(groups, argc, argv, &name, 1, 1);
	if (*status >= 0)
		return NULL;
	struct instance *i = instance_open(name, &err);
	*status = i ? 0 : cli_fail(&err);
	return i;
}
