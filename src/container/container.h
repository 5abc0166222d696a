/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's record: a directory ROOT/ID with
 *     config.json    the configuration as it was at `create`
 *     state.json     what this program knows, renamed into place
 *     start          a socket; while it is there, the container waits for `start`
 * `create` holds a lock on the directory from its beginning to its end, so a
 * record without a process and without a lock is what a killed `create` left.
 */
#ifndef CONTAINER_CONTAINER_H
#define CONTAINER_CONTAINER_H

#include <sys/types.h>

#include "container/cgroup.h"
#include "container/spec.h"

enum container_status { CONTAINER_CREATING, CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_PAUSED, CONTAINER_STOPPED };
extern const char *const container_status_words[];

struct container {
	struct arena arena;
	const char *id, *bundle, *created;
	const char *rootfs;
	char *path;                   /* ROOT/ID */
	int dir;                      /* that directory */
	pid_t pid;                    /* of its first process; 0: none yet */
	uint64_t start_time;          /* of that process: a PID alone is not a name */
	uint32_t owner;
	struct cgroups cgroups;
	const struct json *annotations;
};

/* The directory of all records: what was given, or the default of this user. It need not be there. */
const char *container_root(const char *given, char path[4096], struct error *err);

/* A new record, locked; an ID that is taken is an error. Only this makes `root`: a late call of
 * another verb would bring back the directory of an instance that is just being removed. */
struct container *container_make(const char *root, const char *id, struct error *err);
/* An existing one. */
struct container *container_open(const char *root, const char *id, struct error *err);
void container_close(struct container *c);
/* Wait for the lock; released by container_close(). */
bool container_lock(struct container *c, struct error *err);
/* The same, and what the record says then: who waited for `create` opened it before it had a PID. */
bool container_lock_record(struct container *c, struct error *err);
void container_unlock(struct container *c);

bool container_save(struct container *c, const struct spec *s, struct error *err);
bool container_write_config(struct container *c, const char *text, size_t size, struct error *err);
struct spec *container_spec(struct container *c, struct error *err);
/* Remove the record; the container itself is gone already. */
bool container_remove(struct container *c, struct error *err);

enum container_status container_status(struct container *c);
/* A descriptor of its first process, which still is that process; -1 with
 * errno ESRCH when it has ended. */
int container_pidfd(const struct container *c);
uint64_t process_start_time(pid_t pid);       /* 0: no such process, or a zombie */

/* The state of runtime-spec runtime.md, for hooks and the `state` verb. */
void container_state_json(struct container *c, const char *status, pid_t pid, struct json_out *out);

#endif
