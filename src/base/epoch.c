/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epoch-based reclamation (contract in epoch.h).  A global counter goes up with
 * every deferred free; each reader publishes the value it saw at its last
 * quiescent point.  What was deferred at epoch E is freed once every reader
 * inside has published more than E.
 */
#include "base/epoch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/util.h"

struct reader {
	_Atomic uint64_t seen;        /* 0: outside */
	unsigned depth;
	struct reader *next;
};
struct garbage { uint64_t epoch; void (*fn)(void *); void *p; struct garbage *next; };

static _Atomic uint64_t epoch_now = 1;
static _Atomic unsigned waiting;      /* garbage items */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct reader *readers;
static struct garbage *oldest, **newest = &oldest;
static __thread struct reader *self;

static struct reader *reader_self(void)
{
	if (!self) {
		struct reader *r = xnew(struct reader);
		pthread_mutex_lock(&lock);
		r->next = readers;
		readers = r;
		pthread_mutex_unlock(&lock);
		self = r;     /* lives as long as the process: threads are few */
	}
	return self;
}

static uint64_t oldest_seen(void)
{
	uint64_t min = UINT64_MAX;
	for (struct reader *r = readers; r; r = r->next) {
		uint64_t s = atomic_load(&r->seen);
		if (s && s < min)
			min = s;
	}
	return min;
}

static struct garbage *take_ready(void)
{
	pthread_mutex_lock(&lock);
	uint64_t min = oldest_seen();
	struct garbage *first = oldest, **p = &oldest;
	while (*p && (*p)->epoch < min)
		p = &(*p)->next;
	if (p == &oldest) {
		first = NULL;
	} else {
		oldest = *p;
		*p = NULL;
		if (!oldest)
			newest = &oldest;
	}
	pthread_mutex_unlock(&lock);
	return first;
}

static void collect(void)
{
	for (struct garbage *g = take_ready(), *next; g; g = next) {
		next = g->next;
		g->fn(g->p);
		free(g);
		atomic_fetch_sub(&waiting, 1);
	}
}

void epoch_enter(void)
{
	struct reader *r = reader_self();
	if (r->depth++ == 0)
		atomic_store(&r->seen, atomic_load(&epoch_now));
}

void epoch_leave(void)
{
	struct reader *r = reader_self();
	if (--r->depth == 0) {
		atomic_store(&r->seen, 0);
		if (atomic_load_explicit(&waiting, memory_order_relaxed))
			collect();
	}
}

void epoch_quiescent(void)
{
	struct reader *r = reader_self();
	if (r->depth != 1)
		return;
	uint64_t now = atomic_load(&epoch_now);
	if (atomic_load_explicit(&r->seen, memory_order_relaxed) == now)
		return;
	atomic_store(&r->seen, now);
	if (atomic_load_explicit(&waiting, memory_order_relaxed))
		collect();
}

void epoch_defer(void (*fn)(void *), void *p)
{
	struct garbage *g = xnew(struct garbage);
	g->fn = fn;
	g->p = p;
	pthread_mutex_lock(&lock);
	g->epoch = atomic_fetch_add(&epoch_now, 1);
	*newest = g;
	newest = &g->next;
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&waiting, 1);
}
