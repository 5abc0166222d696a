/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ticket lock whose waiters sleep. */
#include "engine/interp/turn.h"

void turn_init(struct turn *t)
{
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->moved, NULL);
}

void turn_destroy(struct turn *t)
{
	pthread_cond_destroy(&t->moved);
	pthread_mutex_destroy(&t->lock);
}

void turn_take(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	unsigned mine = t->next++;
	while (t->serving != mine)
		pthread_cond_wait(&t->moved, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

void turn_give(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->serving++;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}
