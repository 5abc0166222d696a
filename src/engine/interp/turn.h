/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One vCPU of a machine interprets at a time; the turn goes round in the order
 * of asking, so nobody starves. */
#ifndef ENGINE_INTERP_TURN_H
#define ENGINE_INTERP_TURN_H

#include <pthread.h>
#include <stdatomic.h>

struct turn {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	_Atomic unsigned next;        /* ticket for the next who asks */
	_Atomic unsigned serving;
};

void turn_init(struct turn *t);
void turn_destroy(struct turn *t);
void turn_take(struct turn *t);
void turn_give(struct turn *t);
static inline int turn_wanted(struct turn *t)
{
	return atomic_load_explicit(&t->next, memory_order_relaxed) -
	       atomic_load_explicit(&t->serving, memory_order_relaxed) > 1;
}

#endif
