/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop of a process or of one of its threads (libuv underneath).
 * Everything but loop_post and loop_stop is called on the loop's own thread
 * (or before it runs).  Callbacks run on the loop's thread.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/error.h"
#include "base/util.h"

struct loop;
struct loop_fd;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };   /* hang-up is reported as LOOP_READ */

/* In a forked child that has no loop and is about to close what it does not know: libuv
 * would go on to close descriptors by the numbers that its own had, at every fork(). */
void loop_forget(void);
struct loop *loop_new(struct error *err);
void loop_free(struct loop *l);
void loop_run(struct loop *l);            /* until loop_stop */
void loop_stop(struct loop *l);           /* from any thread */

/* Watch a descriptor (not owned); events may be changed, 0 = paused. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, int events,
			    void (*cb)(void *opaque, int events), void *opaque);
void loop_fd_events(struct loop_fd *f, int events);
void loop_fd_del(struct loop_fd *f);      /* safe inside its own callback */

/* Run fn(opaque) on the loop's thread soon; from any thread. */
void loop_post(struct loop *l, void (*fn)(void *opaque), void *opaque);

#endif
