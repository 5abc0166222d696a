/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backup that is being made: its directory, with job.json beside the disks' files as long
 * as it does not stand in backup.json.  The disks' snapshots have been made before, so that one
 * that was interrupted can be gone on with: the state it copies stays what it was.
 */
#ifndef INSTANCE_BACKUP_JOB_H
#define INSTANCE_BACKUP_JOB_H

#include <time.h>
#include "instance/definition.h"

struct backup_job {
	const char *dir;
	unsigned number, parent;          /* parent 0: a full backup */
	time_t time;                      /* of the snapshots */
	char *definition;                 /* as YAML, as it was then; owned */
	unsigned ndisks;
};
/* An empty directory for it, which says what it is to become. */
bool backup_job_begin(const struct backup_job *j, struct error *err);
/* What one that was interrupted has left; false: nothing. */
bool backup_job_find(struct backup_job *j);
/* The backup exists: only its disks stay. */
void backup_job_end(const struct backup_job *j);
/* All of it goes. */
void backup_job_remove(const struct backup_job *j);
char *backup_job_disk(const struct backup_job *j, unsigned n);

#endif
