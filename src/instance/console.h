/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The serial console's hub in the keeper: the machine's stream on one side; on
 * the other the log file, an optional output file, and clients (the foreground
 * terminal, `abyme console`, unix:PATH).  On the keeper's loop.
 */
#ifndef INSTANCE_CONSOLE_H
#define INSTANCE_CONSOLE_H

#include "base/loop.h"

struct console;

/* Takes the machine's stream (non-blocking). Log and file descriptors may be -1. */
struct console *console_new(struct loop *l, int machine_fd, int log_fd, int file_fd);
void console_free(struct console *c);
/* Clients connect to `fd` (a listening socket; owned). */
void console_listen(struct console *c, int fd);
/* A client that is already connected (owned). The primary one is never lost:
 * the machine waits when it does not read. */
void console_attach(struct console *c, int fd, bool primary);
/* Take what is left from the machine and write it to all; before the end. */
void console_drain(struct console *c);

#endif
