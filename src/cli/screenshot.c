/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme screenshot: what the machine's screen shows, as a PNG file or as text. */
#include "cli/cli.h"
#include "cli/newfile.h"

#include <jansson.h>

static bool screenshot(const struct instance *i, const char *file, struct error *err)
{
	const char *dot = strrchr(file, '.');
	bool text = dot && !strcmp(dot, ".txt");
	json_t *args = json_pack("{s:s}", "format", text ? "text" : "png");
	bool ok = call_into_file(i, "screenshot", args, file, 0644, "picture", err);
	json_decref(args);
	return ok;
}

int verb_screenshot(int argc, char **argv)
{
	const struct cli_group groups[] = { { NULL } };
	const char *words[2];
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, words, 2, 2);
	if (status >= 0)
		return status;
	struct instance *i = instance_open(words[0], &err);
	bool ok = i && screenshot(i, words[1], &err);
	instance_close(i);
	return ok ? 0 : cli_fail(&err);
}
