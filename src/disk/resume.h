/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Long copies that go on where they were killed.  Beside the image that is made lies
 * its log (PATH.copied): the job in the first line, then how far the copy had come to
 * the disk, a line each.  A last line without its end does not count; a log of another
 * job is no log.
 */
#ifndef DISK_RESUME_H
#define DISK_RESUME_H

#include "disk/copy.h"

/* One word a layer, which changes when somebody writes to its file. */
char *resume_identity(const struct image *i);
char *resume_identity_of(int fd, const char *format);
/* The log alone, for a file that another program writes: how far that is whole, 0 for a new one. A descriptor, which
 * keeps others from it until it is closed, in children too; -1: it is in use. */
int resume_log(const char *path, const char *job, uint64_t *at, struct error *err);
/* What an interrupted copy of the same job has left, and how far that is whole; else a new
 * image in place of whatever is there. Refused while another copy is at it. */
struct image *resume_image(const char *path, const char *format, const struct qcow2_create *c, const char *job,
			   uint64_t *at, struct error *err);
/* All of c->from to such an image: `to`, `at` and `resumable` are set here; going_on hears of what is there already. False
 * with an error if it has not begun or was stopped, and goes on then; or with *failed, -errno and no error: nothing stays. */
bool resume_copy(struct image_copy *c, const char *path, const char *format, const struct qcow2_create *create, const char *job,
		 void (*going_on)(uint64_t at, uint64_t size), int *failed, struct error *err);
/* Has a copy of the same job come to its end there, and not been forgotten? */
bool resume_is_whole(const char *path, const char *job, uint64_t size);
/* All before `at` is on the disk. */
bool resume_note(const char *path, uint64_t at);
/* The image has its name, or is given up. */
void resume_forget(const char *path);

#endif
