/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the keepers of machines and of containers have in common, in their own process. */
#ifndef INSTANCE_KEEPER_PROCESS_H
#define INSTANCE_KEEPER_PROCESS_H

#include "instance/keeper.h"

struct keeper_job {
	struct instance *instance;
	const struct definition *definition;
	const struct keeper_options *options;
	int report, leash, primary;   /* -1: none */
};

void keeper_report(int fd, int word, int status, const char *text);
void keeper_to_null(int fd);
/* The leash is readable: true if the foreground process wrote 'd' (it detached, and its
 * terminal is no longer ours), false if it is gone. */
bool keeper_let_go(int leash);
/* A process group of its own, nothing of the starter's; a signalfd for CHLD, TERM, INT. */
int keeper_settle(const struct keeper_job *job);
/* The signal that came through it; 0: none. */
int keeper_signal(int signals);

NORETURN void machine_keeper(const struct keeper_job *job);
NORETURN void container_keeper(const struct keeper_job *job);
/* Of one that does not run, for the client on `primary`: exec.sock's words (session/shim.h). */
NORETURN void container_keeper_rest(const struct keeper_job *job);

#endif
