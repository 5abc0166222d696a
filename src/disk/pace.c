/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast work behind a guest's back may go: see pace.h. Times in nanoseconds. */
#include "disk/pace.h"

#include <time.h>

#define MS 1000000ull
#define SECOND (1000 * MS)
enum {
	PIECE_MIN = 64 * 1024, PIECE_FIRST = 1 << 20, PIECE_MAX = 256 << 20,
	PIECE_TRY = 4 << 20,             /* at most, of a hole beside a guest that is not quiet; at first PIECE_MIN */
	SHARE_MAX = 15,                  /* a sixteenth of the time is left for the work, whatever the guest does */
	QUIET_MAX = 4                    /* requests within a look */
};
#define SLICE (2 * MS)                  /* of work between two pauses, at least */
#define PIECE_BUSY (4 * MS)             /* a piece is to take, beside a guest that asks for something */
#define PIECE_IDLE (20 * MS)
#define WAIT_GOAL (10 * MS)             /* requests should not take longer */
#define PAUSE_MAX (50 * MS)
#define STUCK_MAX (200 * MS)            /* nor should the work wait longer for them */
#define LOOK (50 * MS)
#define TRY_FIRST SECOND
#define TRY_MAX (600 * SECOND)
#define FELT (50 * MS)                  /* half of what a guest may ever stand still for a deletion */

#define load(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define store(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)

void pace_init(struct pace *p)
{
	*p = (struct pace){ .piece = PIECE_FIRST, .try_after = TRY_FIRST, .quiet = true };
	pthread_mutex_init(&p->lock, NULL);
}

void pace_free(struct pace *p) { pthread_mutex_destroy(&p->lock); }

/* --- the guest's requests ------------------------------------------------------ */

uint64_t pace_timed(struct pace *p, uint64_t now)
{
	if (!p->waiting)
		store(&p->last, now);
	store(&p->waiting, p->waiting + 1);
	return now;
}

void pace_answer(struct pace *p, uint64_t began, uint64_t now)
{
	if (now - began > load(&p->worst))
		store(&p->worst, now - began);
	store(&p->last, now);
	store(&p->waiting, p->waiting - 1);
	store(&p->done, p->done + 1);
}

/* --- the work ------------------------------------------------------------------- */

/* How long the request that waits longest has done so at least. */
static uint64_t waits(struct pace *p, uint64_t now)
{
	uint64_t last = load(&p->last);
	return load(&p->waiting) && now > last ? now - last : 0;
}

bool pace_is_stuck(struct pace *p, uint64_t now) { return !load(&p->hurry) && waits(p, now) > WAIT_GOAL; }

/* requires: p->lock */
static bool is_busy(struct pace *p) { return load(&p->done) != p->done_then || load(&p->waiting); }

/* Few requests came since the last look, or within it. */
bool pace_is_quiet(struct pace *p, uint64_t now)
{
	pthread_mutex_lock(&p->lock);
	uint64_t came = load(&p->came);
	bool few = came - p->came_then <= QUIET_MAX;
	if (now - p->looked >= LOOK) {
		p->quiet = few;
		p->looked = now;
		p->came_then = came;
	}
	bool quiet = p->quiet && few && waits(p, now) <= WAIT_GOAL;
	p->try_at = quiet ? 0 : p->try_at;
	pthread_mutex_unlock(&p->lock);
	return quiet;
}

/* Beside a guest that is not quiet, first a while after it last was. What was quick then may not be so now. */
bool pace_may_try(struct pace *p, uint64_t now)
{
	pthread_mutex_lock(&p->lock);
	if (!p->try_at) {
		p->try_at = now + p->try_after;
		p->piece = PIECE_MIN;
	}
	bool may = now >= p->try_at && waits(p, now) <= WAIT_GOAL;
	pthread_mutex_unlock(&p->lock);
	return may;
}

/* Half the time at most, rarely if they are dear, and next to never if the guest may have felt one. */
static void fit_tries(struct pace *p, uint64_t took, uint64_t now)
{
	if (!p->try_at)
		return;
	uint64_t dear = took > FELT ? TRY_MAX : MAX(2 * p->try_after, TRY_FIRST), cheap = MAX(p->try_after / 2, took);
	p->try_after = took > PIECE_BUSY ? MIN(dear, TRY_MAX) : cheap;
	p->try_at = now + p->try_after;
}

/* Pieces double while they are quick. */
static void fit_piece(struct pace *p, uint64_t took, uint64_t bytes)
{
	uint64_t goal = is_busy(p) ? PIECE_BUSY : PIECE_IDLE;
	if (took > goal)
		p->piece = MAX(p->piece / 2, (uint64_t)PIECE_MIN);
	else if (took < goal / 2 && bytes >= p->piece)
		p->piece = MIN(p->piece * 2, (uint64_t)(p->try_at ? PIECE_TRY : PIECE_MAX));
}

static void fit_share(struct pace *p, uint64_t worst, bool busy)
{
	if (!busy)
		p->share = 0;
	else if (worst > WAIT_GOAL)
		p->share = MIN(2 * p->share + 1, (unsigned)SHARE_MAX);
	else
		p->share = MAX(p->share * 3 / 4, 1u);
}

/* requires: p->lock. A slice of work has been done. */
static uint64_t between_slices(struct pace *p, const struct pace_work *w, uint64_t now)
{
	uint64_t worst = __atomic_exchange_n(&p->worst, 0, __ATOMIC_RELAXED), stuck = waits(p, now);
	fit_share(p, MAX(worst, stuck), is_busy(p));
	p->done_then = load(&p->done);
	return MIN((now - w->from) * p->share, PAUSE_MAX);
}

uint64_t pace_pause(struct pace *p, struct pace_work *w, uint64_t bytes, uint64_t now)
{
	uint64_t took = now - w->since, pause = 0;
	pthread_mutex_lock(&p->lock);
	if (bytes) {
		fit_piece(p, took, bytes);
		fit_tries(p, took, now);
	}
	w->since = now;
	if (now - w->from >= SLICE) {
		pause = between_slices(p, w, now);
		w->from = w->since = now + pause;
	}
	pthread_mutex_unlock(&p->lock);
	return load(&p->hurry) ? 0 : pause;
}

static void pause_for(struct pace *p, uint64_t ns)
{
	while (ns && !load(&p->hurry)) {
		struct timespec t = { .tv_nsec = (long)MIN(ns, PAUSE_MAX) };
		nanosleep(&t, NULL);
		ns -= (uint64_t)t.tv_nsec;
	}
}

void pace_nap(struct pace *p) { pause_for(p, 2 * LOOK); }

/* Is the guest quiet? If it was not lately, that is looked at for a while. */
void pace_begin(struct pace *p, struct pace_work *w)
{
	*w = (struct pace_work){ 0 };
	if (!p)
		return;
	if (!__atomic_fetch_add(&p->works, 1, __ATOMIC_RELAXED) && !pace_is_quiet(p, monotonic_ns())) {
		pause_for(p, LOOK);
		pace_is_quiet(p, monotonic_ns());
	}
	w->from = w->since = monotonic_ns();
}

uint64_t pace_piece(struct pace *p)
{
	if (!p)
		return PIECE_MAX;
	pthread_mutex_lock(&p->lock);
	uint64_t n = p->piece;
	pthread_mutex_unlock(&p->lock);
	return n;
}

bool pace_may_punch(struct pace *p)
{
	return !p || (!load(&p->hurry) && (pace_is_quiet(p, monotonic_ns()) || pace_may_try(p, monotonic_ns())));
}

void pace_step(struct pace *p, struct pace_work *w, uint64_t bytes)
{
	uint64_t pause = p ? pace_pause(p, w, bytes, monotonic_ns()) : 0;
	if (!pause)
		return;
	pause_for(p, pause);
	for (uint64_t t = 0; t < STUCK_MAX && pace_is_stuck(p, monotonic_ns()); t += SLICE)
		pause_for(p, SLICE);
	w->from = w->since = monotonic_ns();
}

void pace_end(struct pace *p, struct pace_work *w)
{
	if (p)
		__atomic_sub_fetch(&p->works, 1, __ATOMIC_RELAXED);
}
