/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme type, abyme key: on the keyboard of a machine with a screen. */
#include "cli/cli.h"
#include "instance/client.h"

#include <jansson.h>

enum { ANSWER_SECONDS = 10 };

static int tell(int argc, char **argv, const char *command, const char *argument)
{
	const struct cli_group groups[] = { { NULL } };
	const char *words[2];
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct instance *i = instance_open(words[0], &err);
	json_t *args = json_pack("{s:s}", argument, words[1]);
	json_t *o = NULL;
	if (i && !args)
		error_set(&err, 0, "the text is not UTF-8");
	else if (i)
		o = control_call_with(i, command, args, -1, ANSWER_SECONDS, &err);
	json_decref(args);
	bool ok = o != NULL;
	json_decref(o);
	instance_close(i);
	return ok ? 0 : cli_fail(&err);
}

int verb_type(int argc, char **argv) { return tell(argc, argv, "type", "text"); }
int verb_key(int argc, char **argv) { return tell(argc, argv, "key", "chord"); }
