/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs whose work a helper program of libexec/abyme does, on our terminal. */
#ifndef CLI_HELPER_H
#define CLI_HELPER_H

#include "cli/cli.h"

/* Run it (argv[0] is its name, argv ends with NULL) and wait: its status, or ours. */
int cli_helper(char *const argv[]);

#endif
