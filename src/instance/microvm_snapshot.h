/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State files of micro-VMs whose init waits for its first request: the next machine of the
 * same kind goes on from there instead of booting.  $STATE/microvm/HASH.state beside
 * HASH.key, which says what kind: kernel, init, this program (by file, size and time), engine,
 * CPU model, vCPUs, memory, devices, command line.  Nothing of an image or of an instance is in
 * it: what tells machines apart, the init is told later (session/guest.h).
 */
#ifndef INSTANCE_MICROVM_SNAPSHOT_H
#define INSTANCE_MICROVM_SNAPSHOT_H

#include "instance/definition.h"
#include "instance/store.h"

/* The kind of this machine, to be freed; NULL: it has none that could be shared. */
char *microvm_kind(const struct definition *machine);
/* A state file of that kind, -1. */
int microvm_snapshot_open(const char *kind);
/* What was found is of no use. */
void microvm_snapshot_drop(const char *kind);
/* The machine behind this socket of the instance's goes on afterwards. */
bool microvm_snapshot_make(const char *kind, const struct instance *i, const char *socket, struct error *err);

#endif
