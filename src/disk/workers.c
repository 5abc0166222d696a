/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for what blocks: see workers.h. Two lists under one lock.
 *
 * Waking a thread costs more than most of the work, in both directions.  Works of one lane,
 * which one thread does anyhow, are therefore given back some at a time.
 */
#include "disk/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

enum {
	THREADS_MAX = 8, STACK = 256 * 1024,
	BATCH_MAX = 32, BATCH_NS = 50000, /* of one lane, before anybody hears of them; about what it takes to wake the loop */
	BATCH_PART = 8
};

struct workers {
	int event;
	struct loop_fd *watch;
	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct work *todo, **todo_last, *done, **done_last;
	bool stop;
	unsigned nthreads;
	pthread_t thread[THREADS_MAX];
};

/* The next one, or NULL when the threads end. */
static struct work *take(struct workers *ws)
{
	pthread_mutex_lock(&ws->lock);
	while (!ws->todo && !ws->stop)
		pthread_cond_wait(&ws->work, &ws->lock);
	struct work *w = ws->todo;
	if (w && !(ws->todo = w->next))
		ws->todo_last = &ws->todo;
	pthread_mutex_unlock(&ws->lock);
	return w;
}

static void put(struct workers *ws, struct work *w)
{
	w->next = NULL;
	*ws->todo_last = w;
	ws->todo_last = &w->next;
}

/* The lane's next, for the thread that has it, or NULL. */
static struct work *lane_take(struct workers *ws, struct lane *lane)
{
	pthread_mutex_lock(&ws->lock);
	struct work *w = lane->first;
	if (w) {
		lane->first = w->next;
		lane->waiting--;
	}
	pthread_mutex_unlock(&ws->lock);
	return w;
}

/* Does a work, and what else its lane has for as long as a batch takes, or is a small part of what waits there; the
 * last of them. */
static struct work *run(struct workers *ws, struct work *w)
{
	uint64_t end = w->lane ? monotonic_ns() + BATCH_NS : 0;
	w->run(w);
	for (unsigned n = 1; w->lane && n < BATCH_MAX && (n < w->lane->waiting / BATCH_PART || monotonic_ns() < end); n++) {
		struct work *next = lane_take(ws, w->lane);
		if (!next)
			break;
		next->run(next);
		w->next = next;
		w = next;
	}
	return w;
}

/* requires: ws->lock. What is left of it comes last in the list: this thread is about to take work. */
static void lane_leave(struct workers *ws, struct lane *lane)
{
	struct work *w = lane->first;
	lane->busy = w;
	if (!w)
		return;
	lane->first = w->next;
	lane->waiting--;
	put(ws, w);
}

static void give(struct workers *ws, struct work *first, struct work *last)
{
	pthread_mutex_lock(&ws->lock);
	bool wake = !ws->done;
	if (last->lane)
		lane_leave(ws, last->lane);
	last->next = NULL;
	*ws->done_last = first;
	ws->done_last = &last->next;
	pthread_cond_signal(&ws->finished);
	pthread_mutex_unlock(&ws->lock);
	if (wake)
		eventfd_write(ws->event, 1);
}

static void *worker(void *opaque)
{
	struct workers *ws = opaque;
	for (struct work *w; (w = take(ws)); )
		give(ws, w, run(ws, w));
	return NULL;
}

void workers_submit(struct workers *ws, struct work *w)
{
	struct lane *lane = w->lane;
	pthread_mutex_lock(&ws->lock);
	if (lane && lane->busy) {
		w->next = NULL;
		*(lane->first ? lane->last : &lane->first) = w;
		lane->last = &w->next;
		lane->waiting++;
	} else {
		if (lane)
			lane->busy = true;
		put(ws, w);
		pthread_cond_signal(&ws->work);
	}
	pthread_mutex_unlock(&ws->lock);
}

static void complete(struct workers *ws, bool wait)
{
	pthread_mutex_lock(&ws->lock);
	while (wait && !ws->done)
		pthread_cond_wait(&ws->finished, &ws->lock);
	struct work *w = ws->done;
	ws->done = NULL;
	ws->done_last = &ws->done;
	pthread_mutex_unlock(&ws->lock);
	for (struct work *next; w; w = next) {
		next = w->next;
		w->done(w);
	}
}

void workers_wait(struct workers *ws)
{
	complete(ws, true);
}

static void event_ready(void *opaque, int events)
{
	struct workers *ws = opaque;
	eventfd_t n;
	eventfd_read(ws->event, &n);
	complete(ws, false);
}

void workers_free(struct workers *ws)
{
	pthread_mutex_lock(&ws->lock);
	ws->stop = true;
	pthread_cond_broadcast(&ws->work);
	pthread_mutex_unlock(&ws->lock);
	for (unsigned i = 0; i < ws->nthreads; i++)
		pthread_join(ws->thread[i], NULL);
	if (ws->watch)
		loop_fd_del(ws->watch);
	if (ws->event >= 0)
		close(ws->event);
	pthread_cond_destroy(&ws->work);
	pthread_cond_destroy(&ws->finished);
	pthread_mutex_destroy(&ws->lock);
	free(ws);
}

/* Threads take no signals: those belong to the vCPUs and the main thread. */
static int start_threads(struct workers *ws, unsigned want)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int e = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	while (ws->nthreads < MIN(want, (unsigned)THREADS_MAX) &&
	       !(e = pthread_create(&ws->thread[ws->nthreads], &attr, worker, ws)))
		ws->nthreads++;
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

struct workers *workers_new(struct loop *l, unsigned threads, struct error *err)
{
	struct workers *ws = xnew(struct workers);
	ws->todo_last = &ws->todo;
	ws->done_last = &ws->done;
	ws->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int e = errno;
	pthread_mutex_init(&ws->lock, NULL);
	pthread_cond_init(&ws->work, NULL);
	pthread_cond_init(&ws->finished, NULL);
	if (ws->event >= 0)
		ws->watch = loop_fd_add(l, ws->event, LOOP_READ, event_ready, ws);
	if (ws->watch)
		e = start_threads(ws, threads);
	if (ws->nthreads)
		return ws;
	workers_free(ws);
	return error_null(err, e, "cannot start the threads for disk I/O");
}
