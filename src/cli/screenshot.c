/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme screenshot: what the machine's screen shows, as a PNG file or as text. */
#include "cli/cli.h"
#include "cli/newfile.h"

#include <jansson.h>

static bool screenshot(struct instance *i, const char *file, struct error *err)
{
	const char *dot = strrchr(file, '.');
	bool text = dot && !strcmp(dot, ".txt");
	json_t *args = json_pack("{s:s}", "format", text ? "text" : "png");
	bool ok = call_into_file(i, "screenshot", args, file, 0644, "picture", err);
	json_decref(args);
	return ok;
}

int verb_screenshot(int argc, char **argv) { return cli_with_instance(argc, argv, screenshot); }
