/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user's terminal joined to a serial console: raw mode while joined,
 * restored on every way out.  Ctrl-] begins a command: d detach, k kill,
 * ? help, Ctrl-] sends itself.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include "base/error.h"

enum terminal_end { TERMINAL_CLOSED, TERMINAL_DETACHED, TERMINAL_KILL, TERMINAL_SIGNAL };

/* Until the console closes, a command is given, or a signal (SIGINT, SIGTERM,
 * SIGHUP: its number in *signal) arrives. If `stop_fd` >= 0, also until it
 * becomes readable and the console has nothing more to say. */
enum terminal_end terminal_join(int console_fd, int stop_fd, int *signal);

#endif
