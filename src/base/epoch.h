/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epochs: readers of shared immutable data (memory views, code blocks) are
 * threads that have entered; between two epoch_quiescent() calls of theirs
 * nothing they can see is freed.  A thread that blocks leaves first.
 */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

void epoch_enter(void);       /* this thread becomes a reader; nests */
void epoch_leave(void);
void epoch_quiescent(void);   /* I hold no references right now */
/* Free later: fn(p) runs on some thread once every reader has passed a
 * quiescent point or left. */
void epoch_defer(void (*fn)(void *), void *p);

#endif
