/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libslirp and poll(2): see slirp_poll.h. */
#include "net/slirp_poll.h"

#include "base/util.h"

static int add_poll(int fd, int events, void *opaque)
{
	struct slirp_poll *p = opaque;
	if (p->n == SLIRP_MAX_POLL)
		return -1;
	p->fd[p->n] = (struct pollfd){ .fd = fd, .events =
		(short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
			(events & SLIRP_POLL_PRI ? POLLPRI : 0)) };
	return (int)p->n++;
}

static int get_revents(int index, void *opaque)
{
	struct slirp_poll *p = opaque;
	short r = index >= 0 && (unsigned)index < p->n ? p->fd[index].revents : 0;
	return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) |
		(r & POLLPRI ? SLIRP_POLL_PRI : 0) | (r & POLLERR ? SLIRP_POLL_ERR : 0) |
		(r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

int slirp_poll_wait(struct slirp_poll *p, Slirp *slirp, unsigned own, int most_ms)
{
	uint32_t timeout = UINT32_MAX;
	p->n = own;
	slirp_pollfds_fill(slirp, &timeout, add_poll, p);
	int ms = timeout > 1000000 ? -1 : (int)timeout;
	if (most_ms >= 0 && (ms < 0 || ms > most_ms))
		ms = most_ms;
	int r = poll(p->fd, p->n, ms);
	slirp_pollfds_poll(slirp, r < 0, get_revents, p);
	return r;
}

static void guest_error(const char *msg, void *opaque) { }

static int64_t clock_ns(void *opaque) { return (int64_t)monotonic_ns(); }

/* Timers serve unasked router advertisements only, which nobody needs here. */
static void *timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque) { return opaque; }
static void timer_free(void *timer, void *opaque) { }
static void timer_mod(void *timer, int64_t expire, void *opaque) { }
static void watch_fd(int fd, void *opaque) { }
static void notify(void *opaque) { }

void slirp_poll_callbacks(SlirpCb *cb)
{
	cb->guest_error = guest_error;
	cb->clock_get_ns = clock_ns;
	cb->timer_new = timer_new;
	cb->timer_free = timer_free;
	cb->timer_mod = timer_mod;
	cb->register_poll_fd = cb->unregister_poll_fd = watch_fd;
	cb->notify = notify;
}
