/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instances on disk: $STATE/instances/NAME/, where $STATE is ABYME_STATE,
 * $XDG_STATE_HOME/abyme, ~/.local/state/abyme, or /var/lib/abyme for root.
 *
 *     definition.yaml   what was asked for (replaced atomically)
 *     lock              a POSIX lock on it is held by the running keeper
 *     run.json          facts of the running machine
 *     control.sock      the machine's control protocol
 *     console.sock      its serial console
 *     console.log, log  what the guest printed; what the monitor says
 */
#ifndef INSTANCE_STORE_H
#define INSTANCE_STORE_H

#include <sys/types.h>
#include "instance/definition.h"

struct instance { char *name; int dir; };

/* The directory of all instances, made if missing; -1 on failure. */
int store_open(struct error *err);
/* A new directory that appears complete or not at all. With name NULL a fresh
 * one is made up. */
struct instance *instance_create(const char *name, const struct definition *d, struct error *err);
struct instance *instance_open(const char *name, struct error *err);
void instance_close(struct instance *i);
struct definition *instance_definition(const struct instance *i, struct error *err);
bool instance_set_definition(const struct instance *i, const struct definition *d, struct error *err);
/* Removes a stopped instance; an error if it runs. */
bool instance_remove(struct instance *i, struct error *err);
/* Calls fn for each name, sorted. */
bool instance_each(bool (*fn)(const char *name, void *opaque), void *opaque, struct error *err);

/* Replace a file of the instance: temporary file, fsync, rename. */
bool instance_write(const struct instance *i, const char *file, const char *text, struct error *err);
/* The whole of a small file, NULL if it is not there. */
char *instance_read(const struct instance *i, const char *file);

/* The keeper's lock: taken by the keeper for its life. */
bool instance_lock(struct instance *i, struct error *err);
/* The process that holds it, 0 if the instance is stopped. */
pid_t instance_keeper(const struct instance *i);

/* Sockets of an instance, whatever the length of its path. */
int instance_listen(const struct instance *i, const char *file, struct error *err);
int instance_connect(const struct instance *i, const char *file, struct error *err);
int instance_dial(const struct instance *i, const char *file, struct error *err);

#endif
