/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `abyme network`: the sub-verbs, spread over files. */
#ifndef CLI_NETWORK_H
#define CLI_NETWORK_H

#include "cli/cli.h"
#include "network/client.h"

/* The network named by the only word; NULL with the status to end with. */
struct network *network_tool_open(const struct cli_option *options, void *target, int argc, char **argv, int *status);

int network_tool_stats(int argc, char **argv);
int network_tool_join(int argc, char **argv);
int network_tool_capture(int argc, char **argv);
int network_tool_trace(int argc, char **argv);

#endif
