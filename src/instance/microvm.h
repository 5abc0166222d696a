/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the keeper of a program in a micro-VM: the machine around it. */
#ifndef INSTANCE_MICROVM_H
#define INSTANCE_MICROVM_H

#include "instance/console.h"
#include "instance/container_keeper.h"
#include "instance/dialer.h"
#include "instance/helpers.h"
#include "instance/machine_process.h"

struct microvm {
	struct container_keeper *keeper;
	struct definition *definition;    /* of the machine */
	char *kernel, *setup;             /* setup: what the init is told (session/guest.h) */
	struct opened opened;
	struct helpers helpers;
	struct machine_process process;
	struct jail jail;
	struct console *console;
	struct dialer dialer;
	int awake_listen;
	struct loop_fd *awake_watch;
	bool awake;
	char *kind;                       /* of its snapshot (microvm_snapshot.h), NULL: it has none */
	bool resumed;
};

/* microvm_machine.c: the definition of the machine, its disk, its shares. */
struct definition *microvm_definition(struct container_keeper *k, const char *kernel, struct error *err);
void microvm_unshare(struct container_keeper *k);
/* What the init is told; after the networks have been joined. To be freed. */
char *microvm_setup(const struct microvm *m, struct error *err);
bool microvm_pin(const char *cpuset, struct error *err);

#endif
