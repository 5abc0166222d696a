/* SPDX-License-Identifier: GPL-2.0-or-later */
/* abyme screenshot: what the machine's screen shows, as a PNG file. */
#include "cli/cli.h"
#include "instance/client.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

/* The file appears under its name only when it is complete. */
static bool screenshot(struct instance *i, const char *file, struct error *err)
{
	auto_free char *tmp = xasprintf("%s.%d.tmp", file, (int)getpid());
	auto_close int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set(err, errno, "cannot write picture '%s'", file);
	json_t *o = control_call(i, "screenshot", fd, 0, err);
	bool ok = o != NULL;
	json_decref(o);
	if (ok && rename(tmp, file))
		ok = error_set(err, errno, "cannot rename the picture to '%s'", file);
	if (!ok)
		unlink(tmp);
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
