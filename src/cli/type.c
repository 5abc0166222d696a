/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme type, abyme key: on the keyboard of a machine with a screen. */
#include "cli/cli.h"
#include "instance/client.h"

#include <jansson.h>

enum { ANSWER_SECONDS = 10 };

static bool tell(struct instance *i, const char *command, const char *argument, const char *text, struct error *err)
{
	json_t *args = json_pack("{s:s}", argument, text);
	if (!args)
		return error_set(err, 0, "the text is not UTF-8");
	json_t *o = control_call_with(i, command, args, -1, ANSWER_SECONDS, err);
	bool ok = o != NULL;
	json_decref(args);
	json_decref(o);
	return ok;
}

static bool type(struct instance *i, const char *text, struct error *err) { return tell(i, "type", "text", text, err); }
static bool press(struct instance *i, const char *chord, struct error *err) { return tell(i, "key", "chord", chord, err); }

int verb_type(int argc, char **argv) { return cli_with_instance(argc, argv, type); }
int verb_key(int argc, char **argv) { return cli_with_instance(argc, argv, press); }
