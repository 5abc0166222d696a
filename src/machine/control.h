/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket of a machine: JSON, one object a line, protocol 1.
 *
 *     <- {"abyme": {"protocol": 1, "name": "web"}}
 *     -> {"id": 7, "command": "pause"}
 *     <- {"id": 7, "return": {}}       or {"id": 7, "error": "a sentence"}
 *
 * Commands: status, stats, pause, unpause, stop (power button), kill, key {"chord"}, type {"text"};
 * suspend and screenshot (with a descriptor to write to as SCM_RIGHTS); snapshot-create and
 * snapshot-delete {"name"}, of all disks.  Served on the I/O loop; suspend and snapshots work on a
 * thread of their own.
 */
#ifndef MACHINE_CONTROL_H
#define MACHINE_CONTROL_H

#include "base/error.h"

enum { CONTROL_PROTOCOL = 1 };

struct machine;
/* Serve config->control_fd (-1: nothing to do). After machine_build. */
bool control_start(struct machine *m, struct error *err);
/* The loop has ended: wait for work on other threads that needs the devices. */
void control_finish(struct machine *m);
/* Drop all clients; before machine_free, on the loop's thread or after it ended. */
void control_stop(struct machine *m);

#endif
