/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backups that are being made: see backup_job.h. */
#include "instance/backup_job.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "base/place.h"
#include "base/util.h"
#include "disk/resume.h"

static const char JOB[] = "job.json";

static char *directory(const struct backup_job *j) { return xasprintf("%s/%04u", j->dir, j->number); }

static int open_directory(const struct backup_job *j)
{
	auto_free char *path = directory(j);
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

char *backup_job_disk(const struct backup_job *j, unsigned n)
{
	return xasprintf("%s/%04u/disk-%u.qcow2", j->dir, j->number, n);
}

bool backup_job_begin(const struct backup_job *j, struct error *err)
{
	auto_free char *path = directory(j);
	json_t *o = json_pack("{s:i, s:I, s:s, s:i}", "parent", (int)j->parent, "time", (json_int_t)j->time, "definition",
			      j->definition, "disks", (int)j->ndisks);
	auto_free char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	backup_job_remove(j);                 /* of one that did not come to its end */
	bool made = text && !mkdir(path, 0700);
	auto_close int dir = made ? open_directory(j) : -1;
	return (dir >= 0 && place_write(dir, JOB, text)) || error_set(err, errno, "cannot create '%s'", path);
}

bool backup_job_find(struct backup_job *j)
{
	enum { MOST = 1 << 20 };
	auto_close int dir = open_directory(j);
	auto_free char *text = dir >= 0 ? place_read(dir, JOB, MOST) : NULL;
	json_t *o = text ? json_loads(text, 0, NULL) : NULL;
	const char *yaml = json_string_value(json_object_get(o, "definition"));
	json_int_t parent = json_integer_value(json_object_get(o, "parent"));
	bool ok = yaml && parent >= 0 && parent < (json_int_t)j->number;
	if (ok) {
		free(j->definition);
		j->definition = xstrdup(yaml);
		j->parent = (unsigned)parent;
		j->time = (time_t)json_integer_value(json_object_get(o, "time"));
		ok = j->ndisks == (unsigned)json_integer_value(json_object_get(o, "disks"));
	}
	json_decref(o);
	return ok;
}

void backup_job_end(const struct backup_job *j)
{
	auto_close int dir = open_directory(j);
	for (unsigned n = 0; n < j->ndisks; n++) {
		auto_free char *path = backup_job_disk(j, n);
		resume_forget(path);
	}
	if (dir >= 0)
		unlinkat(dir, JOB, 0);
}

void backup_job_remove(const struct backup_job *j)
{
	auto_free char *path = directory(j);
	auto_close int dir = open_directory(j);
	if (dir >= 0)
		place_empty(dir);
	rmdir(path);
}
