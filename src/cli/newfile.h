/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control command that writes into a file of the caller's. */
#ifndef CLI_NEWFILE_H
#define CLI_NEWFILE_H

#include "instance/client.h"

/* The file appears under its name only when it is complete; `what` is for
 * messages ("picture"). `args` is borrowed, may be NULL. */
bool call_into_file(const struct instance *i, const char *command, struct json_t *args, const char *file,
		    unsigned mode, const char *what, struct error *err);

#endif
