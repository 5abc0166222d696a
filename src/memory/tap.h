/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vCPU takes from outside of its registers and RAM (device reads, time,
 * random bits) and gives to it (device writes), on a tape: recorded while a
 * piece of code runs for the first time, handed out again, with the writes
 * swallowed, when it runs for the second.  What is still on a tape is handed out
 * before more is recorded.  Verify mode needs this; elsewhere
 * there is no tape and a tap costs a load and a predicted branch.
 *
 *     struct tape *t = tape_take();
 *     if (t && tape_replay(t, TAPE_READ, where, size, &value))
 *             return value;
 *     value = ...;
 *     tape_record(t, TAPE_READ, where, size, value);
 *
 * From take to record the thread has no tape, so taps nest.  A tape belongs to
 * one thread.
 */
#ifndef MEMORY_TAP_H
#define MEMORY_TAP_H

#include "base/util.h"

enum tape_kind { TAPE_READ, TAPE_WRITE, TAPE_APIC_READ, TAPE_APIC_WRITE, TAPE_MSR_READ,
		 TAPE_MSR_WRITE, TAPE_TIME, TAPE_RANDOM };
struct tape_event { uint8_t kind, size; uint64_t where, value; };

/* It grows with what a piece of code does: INS and OUTS go on for 65,536 turns. */
struct tape {
	bool closed;             /* nothing more is recorded */
	bool torn;               /* the second run did not do what the first did */
	unsigned n, next, room;
	struct tape_event *e;
};
extern __thread struct tape *tape_now;

static inline struct tape *tape_take(void)
{
	struct tape *t = tape_now;
	if (unlikely(t))
		tape_now = NULL;
	return t;
}

/* From the tape: true, *value is the recorded one and the tape is back in place.
 * For writes *value is what is written now, compared with the recorded. */
bool tape_replay(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t *value);

void tape_put(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size, uint64_t value);
/* Open again: what has been handed out is cut off. */
void tape_rewind(struct tape *t);
void tape_free(struct tape *t);
static inline void tape_record(struct tape *t, enum tape_kind kind, uint64_t where, unsigned size,
			       uint64_t value)
{
	if (unlikely(t))
		tape_put(t, kind, where, size, value);
}

#endif
