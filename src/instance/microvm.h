/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the keeper of a program in a micro-VM: the machine around it. */
#ifndef INSTANCE_MICROVM_H
#define INSTANCE_MICROVM_H

#include <jansson.h>

#include "instance/console.h"
#include "instance/container_keeper.h"
#include "instance/dialer.h"
#include "instance/helpers.h"
#include "instance/machine_process.h"

#define MICROVM_DISK "disk.img"

struct microvm {
	struct container_keeper *keeper;
	struct definition *definition;    /* of the machine */
	struct opened opened;
	struct helpers helpers;
	struct machine_process process;
	struct jail jail;
	struct console *console;
	struct dialer dialer;
	int awake_listen;
	struct loop_fd *awake_watch;
	bool awake, waited;               /* waited: its time to boot is counted */
	/* snapshots (microvm_snapshot.h); kinds are NULL where there is none */
	char *kind, *held_kind;           /* of one that waits for its first request; that holds this program */
	char *held_config;                /* config.json of the latter */
	json_t *program;                  /* and what it is started with */
	enum { MICROVM_COLD, MICROVM_AWAKE, MICROVM_HELD } from;      /* where this machine began */
	bool again;                       /* the program has been started before */
};

/* microvm_machine.c: the definition of the machine, its disk, its shares. */
struct definition *microvm_definition(struct container_keeper *k, const char *kernel, struct error *err);
bool microvm_make_disk(const struct container_keeper *k, struct error *err);
void microvm_unshare(struct container_keeper *k);
/* What the init is told; after the networks have been joined. To be freed. */
char *microvm_setup(const struct microvm *m, bool held, struct error *err);
/* The configuration of a container that is held; fills in what it is started with. */
char *microvm_hold(struct microvm *m, struct error *err);
bool microvm_pin(const char *cpuset, struct error *err);

#endif
