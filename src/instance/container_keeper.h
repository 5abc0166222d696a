/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the keeper of a container: what its parts share. */
#ifndef INSTANCE_CONTAINER_KEEPER_H
#define INSTANCE_CONTAINER_KEEPER_H

#include <limits.h>
#include <time.h>

#include "base/loop.h"
#include "instance/hub.h"
#include "instance/keeper_process.h"
#include "session/shim.h"

struct container_keeper {
	struct instance *instance;
	const struct definition *definition;
	const struct keeper_options *options;
	int report, leash, primary, signals, log, console_log, timer, exec_listen, control_listen;
	struct loop *loop;
	struct loop_fd *leash_watch;
	struct hub *hub;
	struct shim shim;
	pid_t shim_pid, pid;          /* pid: of the program, 0 between two runs */
	time_t started;
	bool rootless, told, killed, stopped, paused;
	unsigned restarts, delay_ms;
	int status;
	char text[480];
	char oci[PATH_MAX], records[PATH_MAX], bundle[PATH_MAX];
};

bool container_start_program(struct container_keeper *k, struct error *err);
void container_kill_all(struct container_keeper *k);

/* container_control.c: the control socket, with the words of a machine's where they fit. */
bool container_control_start(struct container_keeper *k, struct error *err);

#endif
