/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are kept: $STATE is ABYME_STATE, $XDG_STATE_HOME/abyme,
 * ~/.local/state/abyme, or /var/lib/abyme for root.  In $STATE/KIND every thing
 * of that kind (an instance, a network) is a directory with its name; what begins
 * with a dot is on its way in or out.  All but place_open leave errno.
 */
#ifndef BASE_PLACE_H
#define BASE_PLACE_H

#include <sys/types.h>

#include "base/error.h"

/* $STATE, to be freed. */
char *place_state(struct error *err);
/* The directory $STATE/NAME, made if missing; -1 on failure. */
int place_open(const char *name, struct error *err);
/* A file of the directory as a whole: the old text or the new, never half of it. */
bool place_write(int dir, const char *file, const char *text);
/* NULL: not there, longer than `most` bytes, or unreadable. To be freed. */
char *place_read(int dir, const char *file, size_t most);
/* Remove what is in the directory, and below. */
void place_empty(int dir);
/*
 * A new thing of that name: fill() writes what belongs into it, and it appears then
 * or, if fill fails, not at all.  Its directory, or -1: EEXIST there is one already,
 * 0 if it was fill that failed.
 */
int place_make(int store, const char *name, bool (*fill)(int dir, void *opaque), void *opaque);
/* The thing goes; its name goes first, so that nobody ever sees half of it. */
bool place_remove(int store, const char *name, int dir);
/* Call fn with the name of each thing, in order, until it returns false: then 0, else
 * 1; -1: they cannot be listed. */
int place_each(int store, bool (*fn)(const char *name, void *opaque), void *opaque);

/*
 * The lock of a thing, held by its keeper: a POSIX lock, which belongs to the
 * keeper alone (children do not inherit it) and ends with it.  EAGAIN or EACCES:
 * somebody has it.
 */
bool place_lock(int dir);
/* Who has it; 0: nobody. */
pid_t place_holder(int dir);

#endif
