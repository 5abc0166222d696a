/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme pause, unpause: the machine stands still in RAM. */
#include "cli/name.h"
#include "instance/client.h"

static int tell(int argc, char **argv)
{
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(NULL, NULL, argc, argv, &status);
	if (i && !control_do(i, argv[0], &err))
		status = cli_fail(&err);
	instance_close(i);
	return status;
}

int verb_pause(int argc, char **argv) { return tell(argc, argv); }
int verb_unpause(int argc, char **argv) { return tell(argc, argv); }
