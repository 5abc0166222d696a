/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine time: ns = host monotonic + offset, frozen while paused.  TSC,
 * kvmclock, HPET, PM timer, PIT, APIC timer and RTC all derive from it.
 * Timers fire on the machine's I/O loop thread (timerfd), the board lock NOT
 * held (callbacks take it where they need it).  All functions from any thread.
 */
#ifndef MEMORY_CLOCK_H
#define MEMORY_CLOCK_H

#include "base/loop.h"

struct machine_clock;

struct machine_clock *clock_new(struct loop *l, struct error *err);   /* paused, at 0 */
void clock_free(struct machine_clock *c);
uint64_t clock_now(const struct machine_clock *c);         /* ns since power-on */
/* Host wall time (ns since 1970) that belongs to machine time 0: RTC, kvmclock.
 * Part of the saved state with --clock continue. */
int64_t clock_wall_base(const struct machine_clock *c);
void clock_set_wall_base(struct machine_clock *c, int64_t ns);
void clock_pause(struct machine_clock *c);
void clock_resume(struct machine_clock *c);
void clock_set(struct machine_clock *c, uint64_t ns);      /* only while paused */
bool clock_paused(const struct machine_clock *c);
/* From now on 2^shift host nanoseconds are one of the machine's: for an engine that
 * is that much too slow for its guest's watchdogs (verify mode). 0: as it was. */
void clock_slow_down(struct machine_clock *c, unsigned shift);
/* Paused, on the loop's thread: run the timers that are due at this moment, so that
 * none is due and not fired in what is saved. */
void clock_settle(struct machine_clock *c);
/* a*b/c without overflow, as every rate conversion must be. */
static inline uint64_t muldiv64(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t product;

	if (likely(!__builtin_mul_overflow(a, b, &product)))
		return product / c;
	return (uint64_t)((unsigned __int128)a * b / c);
}

struct clock_timer {
	struct machine_clock *clock;
	void (*fn)(void *opaque);
	void *opaque;
	uint64_t deadline;              /* ns of machine time; UINT64_MAX = off */
	struct clock_timer *next;       /* private: list by deadline */
};
void clock_timer_init(struct clock_timer *t, struct machine_clock *c,
		      void (*fn)(void *opaque), void *opaque);
void clock_timer_set(struct clock_timer *t, uint64_t deadline_ns);
/* From fn: set it again, unless another thread has armed it meanwhile -- that one
 * knows better. */
void clock_timer_again(struct clock_timer *t, uint64_t deadline_ns);
/* Does not wait: an expiry that was already due may still call fn, so fn checks
 * under its own lock that it is still wanted. */
void clock_timer_cancel(struct clock_timer *t);

#endif
