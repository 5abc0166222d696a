/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: one small process a running instance.  It takes the instance's
 * lock, opens every file and socket, starts the helpers and the machine
 * process, serves the serial console, reaps, and cleans up.  Whoever starts it
 * in the foreground holds a leash: letting go of it ends the machine, unless
 * detached before.
 */
#ifndef INSTANCE_KEEPER_H
#define INSTANCE_KEEPER_H

#include "instance/store.h"

/* In the instance's directory while a machine goes from one engine to another. */
#define ENGINE_STATE "engine.state"

struct keeper_options {
	bool foreground;          /* console and leash for the caller */
	bool remove;              /* rm at the end */
	int state_fd;             /* resume from it; -1: power on */
};

/* The caller's ends; descriptors are -1 unless foreground (report: always). */
struct keeper_link { pid_t pid; int report, console, leash; char missing[200]; /* of the jail, or "" */ };

/* What the keeper tells on the report pipe: READY (with what the jail lacks) or
 * FAILED, then ENDED. */
enum keeper_word { KEEPER_READY = 1, KEEPER_FAILED, KEEPER_ENDED };
struct keeper_report { int word; int status; char text[480]; };

/* Returns when the machine runs; `d` is resolved. */
bool keeper_start(struct instance *i, const struct definition *d,
		  const struct keeper_options *o, struct keeper_link *link, struct error *err);
void keeper_link_close(struct keeper_link *link);

#endif
