/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control command that writes into a file: see newfile.h. */
#include "cli/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

bool call_into_file(const struct instance *i, const char *command, json_t *args, const char *file,
		    unsigned mode, const char *what, struct error *err)
{
	auto_free char *tmp = xasprintf("%s.%d.tmp", file, (int)getpid());
	auto_close int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return error_set(err, errno, "cannot write %s '%s'", what, file);
	json_t *o = control_call_with(i, command, args, fd, 0, err);
	bool ok = o != NULL;
	json_decref(o);
	if (ok && rename(tmp, file))
		ok = error_set(err, errno, "cannot rename the %s to '%s'", what, file);
	if (!ok)
		unlink(tmp);
	return ok;
}
