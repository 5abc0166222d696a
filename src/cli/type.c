/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme type, abyme key: on the keyboard of a machine with a screen. */
#include "cli/cli.h"
#include "instance/client.h"

#include <jansson.h>
#include <unistd.h>

enum { ANSWER_SECONDS = 10, POLL_US = 20000 };

/* How many keys are then still to be pressed; -1 with an error. */
static int tell(struct instance *i, const char *command, const char *argument, const char *text, struct error *err)
{
	json_t *args = json_pack("{s:s}", argument, text);
	if (!args) {
		error_set(err, 0, "the text is not UTF-8");
		return -1;
	}
	json_t *o = control_call_with(i, command, args, -1, ANSWER_SECONDS, err);
	int waiting = o ? (int)json_integer_value(json_object_get(o, "waiting")) : -1;
	json_decref(args);
	json_decref(o);
	return waiting;
}

/* A machine that stands still presses no more keys, nor does one whose guest does not read them. What
 * was typed may have ended it, before it could say that the last key was pressed. */
static bool finish(struct instance *i, int waiting, struct error *err)
{
	for (unsigned idle = 0; waiting > 0; usleep(POLL_US)) {
		int before = waiting;
		waiting = tell(i, "type", "text", "", err);
		if (waiting < 0)
			return instance_wait_stopped(i, ANSWER_SECONDS);
		idle = waiting < before ? 0 : idle + POLL_US;
		if (idle > ANSWER_SECONDS * 1000000)
			return error_set(err, 0, "the machine has not taken a key for %d seconds: %d are still to be pressed", ANSWER_SECONDS, waiting);
	}
	return !waiting;
}

static bool type(struct instance *i, const char *text, struct error *err)
{
	return finish(i, tell(i, "type", "text", text, err), err);
}

static bool press(struct instance *i, const char *chord, struct error *err)
{
	return finish(i, tell(i, "key", "chord", chord, err), err);
}

int verb_type(int argc, char **argv) { return cli_with_instance(argc, argv, type); }
int verb_key(int argc, char **argv) { return cli_with_instance(argc, argv, press); }
