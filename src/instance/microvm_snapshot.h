/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State files of micro-VMs that wait: the next machine of the same kind goes on from there.
 * $STATE/microvm/HASH/ holds its state, a key that says what kind it is, what its files were
 * when they were last known to be sound ("seen"), and its disk, if it has mounted one.  Of two sorts: one whose init waits for its first request (kernel, init, this
 * program, by file, size and time; engine, CPU model, vCPUs, memory, devices, command line),
 * and one that holds a program (session/guest.h): all that, the image's digest, and
 * config.json less the program's command, environment and host name.  Nothing of an
 * instance is in either: what tells instances apart, the init is told later.
 */
#ifndef INSTANCE_MICROVM_SNAPSHOT_H
#define INSTANCE_MICROVM_SNAPSHOT_H

#include "instance/definition.h"
#include "instance/store.h"

/* The kind of this machine, to be freed; NULL: it has none that could be shared. */
char *microvm_kind(const struct definition *machine);
/* A state file of that kind, -1; its disk becomes *disk, if there is one. err is set only
 * where there is one, and it is damaged. */
int microvm_snapshot_open(const char *kind, int *disk, struct error *err);
/* What was found is of no use. */
void microvm_snapshot_drop(const char *kind);
/* Of the machine behind this socket of the instance's, which goes on afterwards; with its
 * disk, a file of the instance, or NULL. */
bool microvm_snapshot_make(const char *kind, const struct instance *i, const char *socket, const char *disk, struct error *err);
/* What is not zeros in a file, into an empty one of that size. */
bool microvm_copy_disk(int from, int to);

#endif
