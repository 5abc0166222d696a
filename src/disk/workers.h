/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few threads that take work from one list and give it back to the loop's
 * thread through an eventfd.  They exist once workers_new has returned, before
 * the jail closes.  All but run() happens on the loop's thread; only work without a lane may
 * be submitted from others.
 */
#ifndef DISK_WORKERS_H
#define DISK_WORKERS_H

#include "base/error.h"
#include "base/loop.h"

/* Works of one lane run one after the other, in their order; all zero at first. */
struct lane { struct work *first, **last; _Atomic unsigned waiting; bool busy; };

struct work {
	void (*run)(struct work *w);      /* on one of the threads, may block */
	void (*done)(struct work *w);     /* then, on the loop's */
	struct lane *lane;                /* or NULL */
	struct work *next;                /* private */
};

struct workers;
struct workers *workers_new(struct loop *l, unsigned threads, struct error *err);
void workers_submit(struct workers *ws, struct work *w);
/* Block until at least one is done; something must be in flight. */
void workers_wait(struct workers *ws);
/* Nothing may be in flight. */
void workers_free(struct workers *ws);

#endif
