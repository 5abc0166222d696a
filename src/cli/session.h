/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user's terminal, or pipes, joined to a program of an instance by frames
 * (session/frame.h).  On a terminal, Ctrl-] begins a command as on a console
 * (cli/terminal.h); signals are passed on to the program.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "base/error.h"

struct session {
	int fd;
	bool tty;                     /* the program has a terminal */
	bool input;                   /* our standard input is its */
	bool quiet;                   /* only wait for the end */
	bool keep_signals;            /* they end us, not the program */
};
enum session_end { SESSION_EXIT, SESSION_FAILED, SESSION_DETACHED, SESSION_KILL, SESSION_SIGNAL, SESSION_LOST };

/* *status: the program's, or the signal. err: why it could not be started. */
enum session_end session_join(const struct session *s, int *status, struct error *err);

#endif
