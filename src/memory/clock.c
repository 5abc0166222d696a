/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine time and its timers (contract in clock.h).  Invariant: the timerfd is
 * armed for the head of the sorted list while the clock runs, and disarmed
 * while it is paused.
 */
#include "memory/clock.h"
#include "memory/tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/timerfd.h>
#include <time.h>

struct machine_clock {
	pthread_mutex_t lock;
	struct loop *loop;
	struct loop_fd *watch;
	int timerfd;
	_Atomic int64_t offset;       /* machine = (host >> slow) + offset, while running */
	_Atomic unsigned slow;
	_Atomic unsigned changes;     /* of these two; odd: in the middle of one */
	_Atomic uint64_t frozen;      /* machine time while paused */
	_Atomic bool paused;
	_Atomic int64_t wall_base;
	struct clock_timer *first;
};

static uint64_t running_now(const struct machine_clock *c)
{
	unsigned before;
	uint64_t now;

	do {
		before = atomic_load_explicit(&c->changes, memory_order_acquire);
		now = (monotonic_ns() >> atomic_load_explicit(&c->slow, memory_order_relaxed)) +
		      (uint64_t)atomic_load_explicit(&c->offset, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
	} while (unlikely(before & 1 || before != atomic_load_explicit(&c->changes, memory_order_relaxed)));
	return now;
}

uint64_t clock_now(const struct machine_clock *c)
{
	if (unlikely(atomic_load_explicit(&c->paused, memory_order_acquire)))
		return atomic_load(&c->frozen);
	struct tape *t = tape_take();
	uint64_t now;
	if (t && tape_replay(t, TAPE_TIME, 0, 8, &now))
		return now;
	now = running_now(c);
	tape_record(t, TAPE_TIME, 0, 8, now);
	return now;
}

int64_t clock_wall_base(const struct machine_clock *c) { return atomic_load(&c->wall_base); }
void clock_set_wall_base(struct machine_clock *c, int64_t ns) { atomic_store(&c->wall_base, ns); }

/* requires: c->lock */
static void arm(struct machine_clock *c)
{
	struct itimerspec its = { 0 };
	if (!c->paused && c->first) {
		int64_t at = (int64_t)(c->first->deadline - (uint64_t)c->offset);
		at = MIN(at, INT64_MAX >> c->slow) << c->slow;
		if (at <= 0)
			at = 1;       /* zero would disarm */
		its.it_value.tv_sec = (time_t)(at / 1000000000);
		its.it_value.tv_nsec = (long)(at % 1000000000);
	}
	timerfd_settime(c->timerfd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* requires: c->lock */
static void unlink_timer(struct machine_clock *c, struct clock_timer *t)
{
	for (struct clock_timer **p = &c->first; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			return;
		}
}

static struct clock_timer *pop_due(struct machine_clock *c, bool paused)
{
	pthread_mutex_lock(&c->lock);
	struct clock_timer *t = c->first;
	if (c->paused != paused || !t || t->deadline > clock_now(c)) {
		t = NULL;
		arm(c);
	} else {
		c->first = t->next;
		t->deadline = UINT64_MAX;
	}
	pthread_mutex_unlock(&c->lock);
	return t;
}

static void expired(void *opaque, int events)
{
	struct machine_clock *c = opaque;
	uint64_t count;
	ssize_t n UNUSED = read(c->timerfd, &count, sizeof(count));
	for (struct clock_timer *t; (t = pop_due(c, false)); )
		t->fn(t->opaque);
}

void clock_settle(struct machine_clock *c)
{
	for (struct clock_timer *t; (t = pop_due(c, true)); )
		t->fn(t->opaque);
}

struct machine_clock *clock_new(struct loop *l, struct error *err)
{
	struct machine_clock *c = xnew(struct machine_clock);
	pthread_mutex_init(&c->lock, NULL);
	c->loop = l;
	c->paused = true;
	c->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->timerfd < 0) {
		free(c);
		return error_null(err, errno, "cannot create a timer");
	}
	c->watch = loop_fd_add(l, c->timerfd, LOOP_READ, expired, c);
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	c->wall_base = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	return c;
}

void clock_free(struct machine_clock *c)
{
	if (!c)
		return;
	loop_fd_del(c->watch);
	close(c->timerfd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void clock_pause(struct machine_clock *c)
{
	pthread_mutex_lock(&c->lock);
	if (!c->paused) {
		c->frozen = clock_now(c);
		c->paused = true;
		arm(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_resume(struct machine_clock *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->paused) {
		c->offset = (int64_t)(c->frozen - (monotonic_ns() >> c->slow));
		c->paused = false;
		arm(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_slow_down(struct machine_clock *c, unsigned shift)
{
	pthread_mutex_lock(&c->lock);
	uint64_t host = monotonic_ns();
	int64_t now = (int64_t)(host >> c->slow) + c->offset;
	atomic_fetch_add(&c->changes, 1);
	c->slow = shift;
	c->offset = now - (int64_t)(host >> shift);
	atomic_fetch_add(&c->changes, 1);
	arm(c);
	pthread_mutex_unlock(&c->lock);
}

bool clock_paused(const struct machine_clock *c) { return atomic_load(&c->paused); }

void clock_set(struct machine_clock *c, uint64_t ns)
{
	pthread_mutex_lock(&c->lock);
	c->frozen = ns;
	pthread_mutex_unlock(&c->lock);
}

void clock_timer_init(struct clock_timer *t, struct machine_clock *c,
		      void (*fn)(void *), void *opaque)
{
	*t = (struct clock_timer){ .clock = c, .fn = fn, .opaque = opaque,
				   .deadline = UINT64_MAX };
}

/* requires: c->lock */
static void set_locked(struct machine_clock *c, struct clock_timer *t, uint64_t deadline_ns)
{
	struct clock_timer *head = c->first;
	if (t->deadline != UINT64_MAX)
		unlink_timer(c, t);
	t->deadline = deadline_ns;
	if (deadline_ns != UINT64_MAX) {
		struct clock_timer **p = &c->first;
		while (*p && (*p)->deadline <= deadline_ns)
			p = &(*p)->next;
		t->next = *p;
		*p = t;
	}
	if (c->first && (c->first != head || head == t))
		arm(c);       /* a head that went away only costs one early wake-up */
}

void clock_timer_set(struct clock_timer *t, uint64_t deadline_ns)
{
	struct machine_clock *c = t->clock;
	pthread_mutex_lock(&c->lock);
	set_locked(c, t, deadline_ns);
	pthread_mutex_unlock(&c->lock);
}

void clock_timer_again(struct clock_timer *t, uint64_t deadline_ns)
{
	struct machine_clock *c = t->clock;
	pthread_mutex_lock(&c->lock);
	if (t->deadline == UINT64_MAX)
		set_locked(c, t, deadline_ns);
	pthread_mutex_unlock(&c->lock);
}

void clock_timer_cancel(struct clock_timer *t)
{
	clock_timer_set(t, UINT64_MAX);
}
