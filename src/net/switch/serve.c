/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop of a switch (see serve.h).  Links with work are in a list and get
 * turns of BUDGET frames; one that has nothing asks for its bell and leaves.
 * With `poll` microseconds configured (and a few on a network with NAT, whose every
 * window would cost two wake-ups), the loop spins that long after the last frame
 * before it sleeps, but only while frames come that close together: what spinning
 * cannot catch is not worth a core.
 */
#include "net/switch/serve.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "net/switch/control.h"

enum { BUDGET = 64, EVENTS = 64, ROUNDS = 16, TICK_MS = 1000 };

/* ---- links ---- */

static void activate(struct switch_process *w, struct link *l)
{
	if (l->active)
		return;
	l->active = true;
	l->next_active = w->active;
	w->active = l;
}

void process_poll_time(const struct switch_process *w, struct link *l)
{
	if (l->ops->poll_time)
		l->ops->poll_time(l, w->poll_us);
}

bool process_add_link(struct switch_process *w, struct link *l, struct error *err)
{
	struct epoll_event e = { .events = EPOLLIN | (l->edge ? (uint32_t)EPOLLET : 0), .data.ptr = l };
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, l->fd, &e))
		return error_set(err, errno, "cannot watch a port");
	l->next = w->links;
	w->links = l;
	activate(w, l);
	process_poll_time(w, l);
	return true;
}

static void unlink_active(struct switch_process *w, struct link *l)
{
	struct link **p = &w->active;
	while (*p && *p != l)
		p = &(*p)->next_active;
	if (*p)
		*p = l->next_active;
}

void process_remove_link(struct switch_process *w, struct link *l)
{
	struct link **p = &w->links;
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	unlink_active(w, l);
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->fd, NULL);
	policy_port_gone(w->policy, l->port);
	sw_port_remove(l->port);
	l->ops->free(l);
}

struct link *process_find_link(struct switch_process *w, uint64_t id)
{
	for (struct link *l = w->links; l; l = l->next)
		if (l->id == id)
			return l;
	return NULL;
}

/* A turn of every link with work; how many frames moved. */
static unsigned turn(struct switch_process *w)
{
	unsigned moved = 0;
	struct link *l, **p = &w->active;
	w->sw->now_ns = monotonic_ns();
	while ((l = *p)) {
		unsigned n = l->ops->poll(l, BUDGET);
		moved += n;
		if (n == BUDGET || (l->ops->arm && !w->spinning && !l->ops->arm(l)) || (w->spinning && l->edge)) {
			p = &l->next_active;
			continue;
		}
		*p = l->next_active;
		l->active = false;
	}
	sw_flush(w->sw);
	return moved;
}

static void drop_broken(struct switch_process *w)
{
	for (struct link *l = w->links, *next; l; l = next) {
		next = l->next;
		if (l->ops->broken ? l->ops->broken(l) : l->gone) {
			control_broken(w, l);
			process_remove_link(w, l);
		}
	}
}

/* ---- the loop ---- */

static void tick(struct switch_process *w)
{
	if (w->sw->now_ns < w->next_tick_ns)
		return;
	w->next_tick_ns = w->sw->now_ns + TICK_MS * 1000000ull;
	sw_tick(w->sw);
	policy_tick(w->policy);
	drop_broken(w);
}

static void events(struct switch_process *w, int timeout_ms)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(w->epoll, e, EVENTS, timeout_ms);
	w->sw->now_ns = monotonic_ns();
	for (int i = 0; i < n; i++) {
		if (e[i].data.ptr)
			activate(w, e[i].data.ptr);
		else
			w->talk = true;
	}
	if (w->talk) {          /* after the batch: it may remove links */
		w->talk = false;
		w->stop = !control_talk(w);
	}
}

/* Whether frames have come close together of late: an average over 8 sleeps. */
static bool worth_spinning(struct switch_process *w)
{
	return w->spin_us && w->gap_ns < 4 * w->spin_us * 1000ull;
}

static int sleep_time(const struct switch_process *w)
{
	return w->active ? 0 : w->sw->now_ns >= w->next_tick_ns ? 0 :
		(int)((w->next_tick_ns - w->sw->now_ns) / 1000000 + 1);
}

/* Watch the rings that had frames of late without their bells. */
static void begin_spin(struct switch_process *w)
{
	for (struct link *l = w->links; l; l = l->next)
		if (l->edge && l->port->rx_frames != l->seen_frames) {
			l->seen_frames = l->port->rx_frames;
			activate(w, l);
		}
	w->spinning = w->active != NULL;
}

/* Turns until there is nothing to do, or it is time to look at other things. */
static void turns(struct switch_process *w)
{
	for (unsigned i = 0; i < ROUNDS && w->active; i++) {
		if (turn(w)) {
			w->gap_ns = (w->gap_ns * 7 + MIN(w->sw->now_ns - w->last_ns, 1000000000ull)) / 8;
			w->last_ns = w->sw->now_ns;
		} else if (w->spinning) {
			sched_yield();
		}
	}
}

static void serve(struct switch_process *w)
{
	w->last_ns = monotonic_ns();
	while (!w->stop) {
		events(w, sleep_time(w));
		tick(w);
		turns(w);
		if (w->spinning && w->sw->now_ns - w->last_ns > w->spin_us * 1000ull) {
			w->spinning = false;
			turn(w);          /* asks for the bells again */
		} else if (!w->active && worth_spinning(w)) {
			begin_spin(w);
		}
	}
}

static bool start(struct switch_process *w, struct switch_options *o, struct error *err)
{
	struct epoll_event e = { .events = EPOLLIN };
	uint64_t secret = 0;
	ssize_t n UNUSED = getrandom(&secret, sizeof(secret), 0);
	raise_descriptor_limit();
	w->keeper = o->keeper_fd;
	w->sw = sw_new(secret, 1500);
	w->policy = policy_new(w->sw, ~secret);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->keeper, &e))
		return error_set(err, errno, "the switch cannot watch its keeper");
	return jail_root(&o->jail, NULL, err) && jail_seal(&o->jail, err);
}

int switch_main(struct switch_options *o)
{
	struct error err = { 0 };
	struct switch_process *w = xnew(struct switch_process);
	bool ok = start(w, o, &err);
	fd_write_full(o->ready_fd, ok ? "R" : err.text, ok ? 1 : strlen(err.text));
	close(o->ready_fd);
	if (ok)
		serve(w);
	while (w->links)
		process_remove_link(w, w->links);
	control_end(w);
	policy_free(w->policy);
	sw_free(w->sw);
	close(w->epoll);
	free(w);
	return ok ? 0 : 1;
}
