/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine process: a forked, jailed child of the keeper. */
#ifndef INSTANCE_MACHINE_PROCESS_H
#define INSTANCE_MACHINE_PROCESS_H

#include "instance/open.h"
#include "jail/jail.h"

/* Told to the keeper on a pipe: READY or FAILED, then ENDED. */
enum machine_word { MACHINE_READY = 1, MACHINE_FAILED, MACHINE_ENDED };
struct machine_report {
	int word;
	int end;                  /* enum machine_end */
	int status;               /* of debug-exit */
	unsigned jail_granted;
	char text[480];           /* READY: what the jail lacks; else what went wrong */
};

struct machine_process { pid_t pid; int report; };

bool machine_process_start(struct machine_process *p, struct opened *o, struct jail *jail,
			   const char *trace, int log_fd, struct error *err);
/* Wait for its first word; what its jail got goes into `jail`. */
bool machine_process_ready(const struct machine_process *p, const char *name, struct jail *jail, struct error *err);

#endif
