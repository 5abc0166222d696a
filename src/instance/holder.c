/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has a disk: see holder.h. */
#include "instance/holder.h"

#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "disk/disk.h"
#include "instance/store.h"

enum { TRIES = 50 };

struct search { struct stat file; const char *self; char *found; };

static bool has_file(const struct definition *d, const struct stat *file)
{
	struct stat st;
	for (unsigned n = 0; n < d->ndisks; n++)
		if (!stat(d->disks[n].file, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino)
			return true;
	return false;
}

static bool look_at(const char *name, void *opaque)
{
	struct search *s = opaque;
	struct instance *i = s->self && !strcmp(s->self, name) ? NULL : instance_open(name, NULL);
	struct definition *d = i && instance_keeper(i) ? instance_definition(i, NULL) : NULL;
	if (d && has_file(d, &s->file))
		s->found = xstrdup(name);
	definition_free(d);
	instance_close(i);
	return !s->found;
}

bool holder_unknown(const char *path, int fd, bool readonly, const char *self, struct error *err)
{
	static const struct timespec pause = { .tv_nsec = 20000000 };
	struct search s = { .self = self };
	if (fstat(fd, &s.file))
		return true;
	for (unsigned left = self ? TRIES : 1; left; left--) {
		free(move_ptr(s.found));
		if (!disk_is_locked(fd, readonly))
			return true;
		instance_each(look_at, &s, NULL);
		if (!s.found)
			return true;
		if (left > 1)
			nanosleep(&pause, NULL);
	}
	auto_free char *name = s.found;
	return error_set(err, 0, "disk '%s' is in use by instance '%s': stop that one first", path, name);
}
