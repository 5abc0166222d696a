/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme pause, unpause: it stands still in RAM. abyme top: a container's processes. */
#include "cli/name.h"
#include "instance/client.h"

#include <jansson.h>
#include <stdio.h>

enum { ASK_SECONDS = 10 };

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

int verb_top(int argc, char **argv)
{
	struct error err = { 0 };
	int status;
	struct instance *i = cli_instance(NULL, NULL, argc, argv, &status);
	json_t *o = i ? control_call(i, "top", -1, ASK_SECONDS, &err) : NULL;
	if (o)
		printf("%s", json_string_value(json_object_get(o, "text")));
	else if (i)
		status = cli_fail(&err);
	json_decref(o);
	instance_close(i);
	return status;
}
