/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: clusters that nothing refers to any more, and their way back to the file system, as
 * holes.  A cluster is punched while it is still counted, so that nobody gets it meanwhile, and
 * without the lock, as the file system may take its time.
 *
 * Beside a guest that is not quiet (pace.h) clusters become free without that; those that
 * still are when it is quiet are counted again, and punched.  requires: q->lock
 */
#include "disk/pace.h"
#include "disk/qcow2.h"

enum { LATER_MAX = 1 << 20, AT_ONCE = 4096, CLOSE_NS = 2000000000 };

void clusters_put(struct cluster_list *l, uint64_t cluster)
{
	if (l->n == l->max) {
		l->max = l->max ? 2 * l->max : 64;
		l->at = xrealloc(l->at, l->max * sizeof(*l->at));
	}
	l->at[l->n++] = cluster;
}

void cluster_free_later(struct qcow2 *q, uint64_t offset)
{
	clusters_put(&q->freed, offset >> q->cluster_bits);
}

/* The last reference has gone: nothing may be put beside what is in it, either. */
void becomes_hole(struct qcow2 *q, uint64_t cluster)
{
	clusters_put(&q->holes, cluster);
	if (q->packed_to && (q->packed_to - 1) >> q->cluster_bits == cluster)
		q->packed_to = 0;
}

/* Of a list, from the i-th on: how many are neighbours. */
static size_t neighbours(const struct cluster_list *l, size_t i)
{
	size_t n = 1;
	while (i + n < l->n && l->at[i + n] == l->at[i] + n)
		n++;
	return n;
}

static int by_place(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* One hole, no longer than it should be beside the guest's requests; *n: of how many clusters. Lets go of the lock. */
static int punch_one(struct qcow2 *q, const struct cluster_list *l, size_t i, size_t *n, struct pace_work *work)
{
	int r = 0;
	pthread_mutex_unlock(&q->lock);
	bool now = pace_may_punch(q->image->pace);
	size_t most = MAX(pace_piece(q->image->pace) >> q->cluster_bits, 1ull);
	*n = MIN(neighbours(l, i), most);
	if (now)
		q->file->ops->punch(q->file, l->at[i] << q->cluster_bits, *n << q->cluster_bits);
	pace_step(q->image->pace, work, now ? *n << q->cluster_bits : 0);
	pthread_mutex_lock(&q->lock);
	for (size_t k = i; k < i + *n && !r; k++) {
		r = refcount_add(q, l->at[k], -1);
		if (!now && q->later.n < LATER_MAX)
			clusters_put(&q->later, l->at[k]);
	}
	return r;
}

/* Whoever else does that ends before. */
int punch_holes(struct qcow2 *q)
{
	struct pace_work work;
	int r = 0;
	while (q->punching)
		pthread_cond_wait(&q->changed, &q->lock);
	struct cluster_list l = q->holes;
	if (!l.n)
		return 0;
	q->holes = (struct cluster_list){ 0 };
	q->punching = true;
	pthread_mutex_unlock(&q->lock);
	qsort(l.at, l.n, sizeof(*l.at), by_place);
	pace_begin(q->image->pace, &work);
	pthread_mutex_lock(&q->lock);
	for (size_t i = 0, n; i < l.n && !r; i += n)
		r = punch_one(q, &l, i, &n, &work);
	pace_end(q->image->pace, &work);
	q->punching = false;
	pthread_cond_broadcast(&q->changed);
	free(l.at);
	return r;
}

int punch_holes_some_time(struct qcow2 *q)
{
	return !q->holes.n || tidy_later(q) ? 0 : punch_holes(q);
}

/* Some of those that were left. */
static int punch_some_left(struct qcow2 *q)
{
	int r = 0;
	for (unsigned n = 0; n < AT_ONCE && q->later.n && !r; n++) {
		uint64_t count, c = q->later.at[--q->later.n];
		r = refcount_get(q, c, &count);
		if (!r && !count && !(r = refcount_set(q, c, 1)))
			becomes_hole(q, c);
	}
	return r ? r : punch_holes(q);
}

bool holes_tidy(struct qcow2 *q)
{
	int r = q->broken ? q->broken : punch_holes(q);
	while (!r && q->later.n && pace_may_punch(q->image->pace))
		r = punch_some_left(q);
	return !r && q->later.n;
}

int holes_close(struct qcow2 *q)
{
	uint64_t end = monotonic_ns() + CLOSE_NS;
	int r = punch_holes(q);
	while (!r && q->later.n && monotonic_ns() < end)
		r = punch_some_left(q);
	return r;
}

int apply_gone(struct qcow2 *q)
{
	int r = 0;
	if (!q->gone.n || q->active[(q->generation + 1) & 1])
		return 0;
	for (size_t i = 0, n; i < q->gone.n && !r; i += n) {
		n = neighbours(&q->gone, i);
		r = refcount_run(q, q->gone.at[i], n, -1);
	}
	q->gone.n = 0;
	return r;
}
