/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs whose only argument is an instance's name. */
#ifndef CLI_NAME_H
#define CLI_NAME_H

#include "cli/cli.h"
#include "instance/store.h"

/* Parse "[OPTIONS] NAME" and open it; NULL with the status to end with. */
struct instance *cli_instance(const struct cli_option *options, void *target, int argc, char **argv,
			      int *status);

#endif
