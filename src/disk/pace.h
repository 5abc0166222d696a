/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast work behind a guest's back may go (merging snapshots, punching holes): as fast
 * as it can while the guest asks for nothing; at most half the time while it does; and the
 * slower the longer its requests wait, down to a share at which the work still ends.
 *
 * Holes are dearer than they look: a file system holds the file locked while it punches one, and may hand it to a
 * device whose queue is long; a long one takes longer.  They are for quiet moments; a guest that never has one gets
 * small ones to try, the fewer the longer they take: one that it may have felt is the last for ten minutes,
 * as what is free is used again anyhow, and the file system has the rest back when the machine stops.
 */
#ifndef DISK_PACE_H
#define DISK_PACE_H

#include <pthread.h>
#include "base/util.h"

struct pace {
	bool hurry;                       /* no more pauses: somebody waits for the end; atomic */
	unsigned works;                   /* that go on: requests are timed meanwhile; atomic */
	/* the guest's requests: from one thread, read by others */
	uint64_t came, done;
	unsigned waiting;                 /* of those that are timed */
	uint64_t last;                    /* when one has ended, or the first of those waiting came */
	uint64_t worst;                   /* since it was looked at last */
	pthread_mutex_t lock;             /* all below */
	uint64_t looked, came_then, done_then;
	bool quiet;
	uint64_t piece;                   /* bytes to do at once */
	uint64_t try_at, try_after;       /* a hole beside a guest that is not quiet: when, and how long after the last */
	unsigned share;                   /* of pauses, as a multiple of the work */
};

void pace_init(struct pace *p);
void pace_free(struct pace *p);
/* Let it end. */
static inline void pace_hurry(struct pace *p) { __atomic_store_n(&p->hurry, true, __ATOMIC_RELAXED); }
static inline bool pace_hurries(const struct pace *p) { return __atomic_load_n(&p->hurry, __ATOMIC_RELAXED); }

/* For the thread that has the requests: each as it comes, and as it has ended. 0: it is not timed. */
uint64_t pace_timed(struct pace *p, uint64_t now);
static inline uint64_t pace_request(struct pace *p)
{
	__atomic_store_n(&p->came, p->came + 1, __ATOMIC_RELAXED);
	return unlikely(__atomic_load_n(&p->works, __ATOMIC_RELAXED)) ? pace_timed(p, monotonic_ns()) : 0;
}
void pace_answer(struct pace *p, uint64_t began, uint64_t now);

/* For the work; a pace of NULL: as fast as it can. No lock may be held that a request wants. */
struct pace_work { uint64_t from /* the last pause */, since /* the last piece */; };
void pace_begin(struct pace *p, struct pace_work *w);
/* How many bytes to do at once. */
uint64_t pace_piece(struct pace *p);
/* May a hole be punched now? Not if there is hurry. */
bool pace_may_punch(struct pace *p);
/* So many bytes have been done: pauses, if that is due. */
void pace_step(struct pace *p, struct pace_work *w, uint64_t bytes);
void pace_end(struct pace *p, struct pace_work *w);
/* Until a moment may be quieter. */
void pace_nap(struct pace *p);

/* What those do, with the clock told: nanoseconds to pause, 0: go on; does a request wait for so long
 * that the next piece should rather wait, too? */
bool pace_is_quiet(struct pace *p, uint64_t now);
bool pace_may_try(struct pace *p, uint64_t now);
uint64_t pace_pause(struct pace *p, struct pace_work *w, uint64_t bytes, uint64_t now);
bool pace_is_stuck(struct pace *p, uint64_t now);

#endif
