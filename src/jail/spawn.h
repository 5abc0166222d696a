/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helper programs: each a role, found beside this program (build tree) or in
 * ../libexec/abyme, run in a jail.  A helper gets its channel as descriptor 3, a
 * pipe to say that it is ready (or why not) as 4, what it serves as 5, and
 * nothing else.
 */
#ifndef JAIL_SPAWN_H
#define JAIL_SPAWN_H

#include "jail/jail.h"

/* An open descriptor of the program, -1 if it is not installed. */
int helper_open(const char *program, struct error *err);
/* Returns when it is ready; -1 and nothing left of it otherwise. serve: -1, none. */
pid_t helper_spawn(const char *program, char *const argv[], struct jail *jail, int channel, int serve,
		   struct error *err);
#endif
