/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backups of an instance in a directory of their own:
 *
 *     backup.json            what there is; a backup exists once it stands here
 *     0001/disk-0.qcow2      compressed, each cluster with a checksum
 *     0002/disk-0.qcow2      an incremental one: on 0001's as its backing file
 *
 * The source keeps an internal snapshot of the last backup ("backup-ID-NUMBER"): what
 * differs from it is what has changed.  Nothing has to be remembered while the machine
 * runs, so nothing is lost when it is killed.  The snapshot of a backup that did not
 * come to its end is dropped by the next; the one it builds on goes only when the new
 * one stands in backup.json.
 */
#ifndef INSTANCE_BACKUP_H
#define INSTANCE_BACKUP_H

#include "instance/store.h"

struct backup_progress {
	void (*fn)(uint64_t done, uint64_t total);
	bool (*stop)(void);               /* of creating; or NULL */
	uint64_t rate;                    /* of creating; bytes a second, 0: no limit */
};

/* Wished for, then what was possible; the number of the new one. `resume`: finish the one that was
 * interrupted, with the state that it began to copy. */
struct backup_make { bool incremental, resume; unsigned number; };
/* Running or stopped. When it is stopped or killed, what it has copied stays for `resume`. */
bool backup_create(struct instance *i, const char *dir, struct backup_make *make, const struct backup_progress *p,
		   struct error *err);
/* backup.json: {"id", "instance", "backups": [{"number", "parent", "time", "definition", "disks":
 * [{"disk", "file", "size"}]}]}, a new reference; NULL on failure. */
struct json_t *backup_list(const char *dir, struct error *err);
/* Number 0: the last. Its disks into `to` (a directory), and an instance of that name with them. */
bool backup_restore(const char *dir, unsigned number, const char *name, const char *to, const struct backup_progress *p,
		    struct error *err);
/* All files that it needs: their structure, and every cluster read. */
bool backup_verify(const char *dir, unsigned number, const struct backup_progress *p, struct error *err);

/* Starts a machine made of the backup, and waits until it has printed `expect`. */
struct backup_boot { const char *expect; unsigned seconds; };
bool backup_boot(const char *dir, unsigned number, const struct backup_boot *b, const struct backup_progress *p,
		 struct error *err);

#endif
