/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme mouse: move the mouse of a machine with a screen, and click. */
#include "cli/cli.h"
#include "instance/client.h"

#include <errno.h>
#include <jansson.h>

enum { ANSWER_SECONDS = 10, FAR = 10000 };

struct mouse_options { bool at; };
static const struct cli_option mouse_options[] = {
	{ "--at", NULL, "X and Y are a place in pixels, for a tablet", OPTION_FLAG, offsetof(struct mouse_options, at) },
	{ NULL }
};

static bool number(const char *word, int *out, struct error *err)
{
	char *end;
	errno = 0;
	long v = strtol(word, &end, 10);
	if (errno || end == word || *end || v < -FAR || v > FAR)
		return error_set(err, 0, "'%s' is not a number of steps from %d to %d", word, -FAR, FAR);
	*out = (int)v;
	return true;
}

static bool tell(const struct instance *i, bool at, int x, int y, const char *click, struct error *err)
{
	json_t *args = json_pack("{s:i, s:i, s:s*}", at ? "x" : "dx", x, at ? "y" : "dy", y, "click", click);
	json_t *o = control_call_with(i, "mouse", args, -1, ANSWER_SECONDS, err);
	json_decref(args);
	json_decref(o);
	return o;
}

int verb_mouse(int argc, char **argv)
{
	struct mouse_options o = { 0 };
	const struct cli_group groups[] = { { mouse_options, &o }, { NULL } };
	const char *words[4] = { NULL };
	struct error err = { 0 };
	int x = 0, y = 0;
	int status = cli_parse(groups, argc, argv, words, 3, 4);
	if (status >= 0)
		return status;
	if (!number(words[1], &x, &err) || !number(words[2], &y, &err))
		return cli_usage(&err);
	struct instance *i = instance_open(words[0], &err);
	bool ok = i && tell(i, o.at, x, y, words[3], &err);
	instance_close(i);
	return ok ? 0 : cli_fail(&err);
}
