/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of an instance: internal snapshots of all its writable disks, which must
 * be qcow2, and a record of their tree in the instance's directory (snapshots.json).
 * On a running instance the machine makes and deletes them; restoring needs it stopped.
 */
#ifndef INSTANCE_SNAPSHOT_H
#define INSTANCE_SNAPSHOT_H

#include "instance/store.h"

bool snapshot_create(struct instance *i, const char *name, struct error *err);
bool snapshot_restore(struct instance *i, const char *name, struct error *err);
/* Its children become those of its parent. */
bool snapshot_delete(struct instance *i, const char *name, struct error *err);
/* {"current": name or null, "snapshots": [{"name", "parent" or null, "time"}]}, a new reference. */
struct json_t *snapshot_tree(const struct instance *i);

/* The disks alone, no record: what backups use. `stopped_ns` may be NULL. */
bool snapshot_disks_create(struct instance *i, const char *name, uint64_t *stopped_ns, struct error *err);
bool snapshot_disks_delete(struct instance *i, const char *name, struct error *err);

#endif
