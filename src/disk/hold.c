/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that wait: for their turn under the limits of a disk, or for a host that
 * can do them again.  On the loop's thread; all of them count as in flight.
 *
 * Limits are two leaky buckets, of requests and of bytes.  A request goes when
 * neither is below zero and may take them there, so that one larger than a burst
 * goes too; flushes cost nothing.
 */
#include "disk/format.h"

#include <errno.h>
#include <sys/timerfd.h>

#define SECOND 1000000000ull
enum { RETRY_NS = 500000000 };

struct bucket { double rate, most, level; };

struct hold {
	struct disk *disk;
	int timer;
	struct loop_fd *watch;
	struct bucket ops, bytes;
	uint64_t filled;                  /* when the buckets were looked at last */
	struct request_queue turn;                /* over the limits */
	struct request_queue failed;
	unsigned retried;                 /* of those, how many are being tried again */
	uint64_t retry_at;
	bool stuck, nothing;
	enum disk_on_error on_error;
	void (*on_stuck)(void *opaque, int error);
	void *opaque;
};

/* --- limits ----------------------------------------------------------------- */

static void fill(struct hold *h)
{
	uint64_t t = monotonic_ns();
	double seconds = (double)(t - h->filled) / (double)SECOND;
	h->filled = t;
	h->ops.level = MIN(h->ops.most, h->ops.level + h->ops.rate * seconds);
	h->bytes.level = MIN(h->bytes.most, h->bytes.level + h->bytes.rate * seconds);
}

/* Nanoseconds until it is no longer below zero. */
static uint64_t wait_of(const struct bucket *b)
{
	return b->rate > 0 && b->level < 0 ? (uint64_t)(-b->level / b->rate * (double)SECOND) + 1 : 0;
}

static bool may_go(struct hold *h, const struct disk_request *r)
{
	if (wait_of(&h->ops) || wait_of(&h->bytes))
		return false;
	h->ops.level -= h->ops.rate > 0;
	h->bytes.level -= h->bytes.rate > 0 ? (double)r->length : 0;
	return true;
}

static void arm(struct hold *h)
{
	uint64_t at = 0;
	if (h->turn.n)
		at = h->filled + MAX(wait_of(&h->ops), wait_of(&h->bytes)) + 1;
	if (h->failed.n && !h->retried && (!at || h->retry_at < at))
		at = h->retry_at;
	struct itimerspec t = { .it_value = { (time_t)(at / SECOND), (long)(at % SECOND) } };
	timerfd_settime(h->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void next_turns(struct hold *h)
{
	struct disk *d = h->disk;
	if (!h->turn.n)
		return;
	fill(h);
	d->ops->plug(d, true);
	while (h->turn.n && (h->nothing || may_go(h, h->turn.first)))
		d->ops->submit(d, request_take(&h->turn));
	d->ops->plug(d, false);
}

bool hold_delays(struct hold *h, struct disk_request *r)
{
	if (h->nothing || r->op == DISK_FLUSH || (h->ops.rate <= 0 && h->bytes.rate <= 0))
		return false;
	fill(h);
	if (!h->turn.n && may_go(h, r))
		return false;
	request_put(&h->turn, r);
	if (h->turn.n == 1)
		arm(h);
	return true;
}

static void set_bucket(struct bucket *b, uint64_t rate, uint64_t burst)
{
	b->rate = (double)rate;
	b->most = burst ? (double)burst : (double)rate / 10;
	b->level = MIN(b->level, b->most);
}

void disk_set_limits(struct disk *d, const struct disk_limits *l)
{
	struct hold *h = d->hold;
	fill(h);
	set_bucket(&h->ops, l->iops, l->iops_burst);
	set_bucket(&h->bytes, l->bps, l->bps_burst);
	next_turns(h);
	arm(h);
}

/* --- errors ----------------------------------------------------------------- */

static const char *const words[] = {
#define X(name, word) [DISK_ON_ERROR_##name] = word,
	DISK_ON_ERROR(X)
#undef X
};

bool disk_on_error_parse(const char *word, enum disk_on_error *out, struct error *err)
{
	const char *w = strcmp(word, "stop") ? word : "pause";       /* QEMU's word for it */
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], w)) {
			*out = (enum disk_on_error)i;
			return true;
		}
	return error_set(err, 0, "'%s' is no answer to disk errors: use report, pause, enospc or ignore", word);
}

void disk_set_on_error(struct disk *d, enum disk_on_error what, void (*stuck)(void *, int), void *opaque)
{
	d->hold->on_error = what;
	d->hold->on_stuck = stuck;
	d->hold->opaque = opaque;
}

static bool waits_for_host(const struct hold *h, const struct disk_request *r, int result)
{
	if (h->nothing || !result || result == -EOPNOTSUPP || result == -EINVAL)
		return false;
	return h->on_error == DISK_ON_ERROR_PAUSE ||
	       (h->on_error == DISK_ON_ERROR_ENOSPC && r->op != DISK_READ && (result == -ENOSPC || result == -EDQUOT));
}

static void tell(struct hold *h, int error)
{
	h->stuck = error != 0;
	if (h->on_stuck)
		h->on_stuck(h->opaque, error);
}

bool hold_keeps(struct hold *h, struct disk_request *r, int *result)
{
	if (likely(!*result && !h->stuck))
		return false;
	bool keep = waits_for_host(h, r, *result), news = keep || r->again;
	h->retried -= r->again;
	r->again = false;
	if (keep) {
		r->error = *result;
		request_put(&h->failed, r);
		h->retry_at = monotonic_ns() + RETRY_NS;
	} else if (h->on_error == DISK_ON_ERROR_IGNORE && *result != -EOPNOTSUPP) {
		*result = 0;
	}
	if (news && !h->retried) {
		arm(h);
		tell(h, h->failed.n ? -h->failed.first->error : 0);
	}
	return keep;
}

void disk_retry(struct disk *d)
{
	struct hold *h = d->hold;
	struct request_queue again = h->failed;
	if (!again.n || h->retried)
		return;
	h->failed = (struct request_queue){ 0 };
	h->retried = again.n;
	for (struct disk_request *r; (r = request_take(&again)); ) {
		r->again = true;
		d->ops->submit(d, r);
	}
}

static void report_failed(struct hold *h)
{
	for (struct disk_request *r; (r = request_take(&h->failed)); ) {
		h->disk->in_flight--;
		r->done(r, r->error);
	}
}

void hold_nothing(struct hold *h, bool on)
{
	h->nothing = on;
	if (!on)
		return;
	next_turns(h);
	report_failed(h);
	if (h->stuck && !h->retried)
		tell(h, 0);
}

int disk_settle(struct disk *d)
{
	struct hold *h = d->hold;
	do {
		while (h->turn.n)
			d->ops->submit(d, request_take(&h->turn));
		if (d->in_flight > h->failed.n)
			d->ops->wait(d);
	} while (d->in_flight > h->failed.n);
	return h->failed.n ? h->failed.first->error : 0;
}

/* --- life ------------------------------------------------------------------- */

static void fired(void *opaque, int events)
{
	struct hold *h = opaque;
	uint64_t n;
	if (read(h->timer, &n, sizeof(n)) != sizeof(n))
		return;
	next_turns(h);
	if (h->failed.n && monotonic_ns() >= h->retry_at)
		disk_retry(h->disk);
	arm(h);
}

struct hold *hold_new(struct disk *d)
{
	struct hold *h = xnew(struct hold);
	h->disk = d;
	h->filled = monotonic_ns();
	h->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (h->timer >= 0)
		h->watch = loop_fd_add(d->loop, h->timer, LOOP_READ, fired, h);
	return h;
}

void hold_free(struct hold *h)
{
	if (h->watch)
		loop_fd_del(h->watch);
	if (h->timer >= 0)
		close(h->timer);
	free(h);
}
