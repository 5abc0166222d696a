/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: a snapshot of an image that is being written to.  Its moment waits for no disk:
 *
 * prepare  Entry by entry, the clusters of the active L1 table are counted once more, for the
 *          snapshot to come: these entries are lent.  Transfers go on and write in place, by
 *          the COPIED marks in memory; on the disk the marks are off once the counts are up,
 *          as a snapshot's must be (a power cut leaves leaks).
 *          What a lent entry gets is counted twice, what it loses is freed twice.
 * take     The L1 table is copied, and the marks go in memory, too: from now on writes go
 *          elsewhere.  Those on their way into the old places end before others begin,
 *          which would copy what they have not written yet; nobody waits for that here.
 * keep     The tables are flushed, then the header names the snapshot (qcow2_snapshot.c).
 *
 * Between prepare and keep the counts are above the references on the disk, never below
 * (invariant 1), and what is given up is counted down as if the snapshot were deleted.
 */
#include "disk/qcow2.h"

#include <errno.h>

/* --- before its moment ------------------------------------------------------ */

/* The next entry. */
static int lend(struct qcow2 *q)
{
	uint32_t i = q->lent;
	uint64_t at = q->l1[i] & OFFSET_MASK;
	struct table *t = NULL;
	int r = at ? table_get(q, at, TABLE_L2, false, &t) : 0;
	if (!r && at)
		r = l2_count(q, at, 1);
	if (!r && at && (r = table_get(q, at, TABLE_L2, false, &t)))
		l2_count(q, at, -1);
	if (r)
		return r;
	if (t) {
		t->lent = true;
		t->dirty |= l2_is_marked(q, t->data);
		l1_changed(q, i);
	}
	q->lent++;
	return 0;
}

static int lend_all(struct qcow2 *q)
{
	uint64_t since = monotonic_ns();
	unsigned n = 0;
	int r = 0;
	while (q->lent < q->l1_size && !r) {
		n += (q->l1[q->lent] & OFFSET_MASK) != 0;
		r = lend(q);
		if (!r && n == tables_enough(q)) {
			n = 0;
			r = metadata_flush(q);
			since = monotonic_ns();
		}
		qcow2_give_way(q, &since);
	}
	return r ? r : metadata_flush(q);
}

/* The last lent entry is the active one's alone again. */
static int take_one_back(struct qcow2 *q)
{
	uint32_t i = --q->lent;
	struct table *t = q->l1[i] & OFFSET_MASK ? table_peek(q, q->l1[i] & OFFSET_MASK, TABLE_L2) : NULL;
	if (t) {
		t->dirty |= t->lent;
		t->lent = false;
	}
	l1_changed(q, i);
	return l2_drop(q, i, q->l1[i]);
}

/* Nothing of it has been on the disk but its counts. */
static void give_up(struct qcow2 *q)
{
	const struct snapshot_new *t = q->taken;
	uint64_t since = monotonic_ns();
	for (uint32_t k = t ? t->l1_size : q->lent; k; k--) {
		while (q->syncing)            /* it may be writing a table that goes now */
			pthread_cond_wait(&q->changed, &q->lock);
		int r = t ? l2_drop(q, k - 1, t->l1[k - 1]) : take_one_back(q);
		q->leaks |= r || punch_holes(q);
		qcow2_give_way(q, &since);
	}
}

/* Tables, too, that have been copied meanwhile: they may become active again. */
static void none_is_lent(struct qcow2 *q)
{
	q->lent = 0;
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next)
			t->lent = false;
}

static void end(struct qcow2 *q)
{
	none_is_lent(q);
	if (q->taken)
		free(q->taken->l1);
	free(move_ptr(q->taken));
	q->making = false;
	tables_shrink(q);
	alter_end(q);
}

/* As if nothing had been. */
static void cancel(struct qcow2 *q)
{
	if (!q->broken)
		give_up(q);
	end(q);
}

bool qcow2_snapshot_prepare(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = snapshot_writable(i, err);
	if (!q)
		return false;
	if (!*name || strlen(name) > 255)
		return error_set(err, 0, "a snapshot's name has 1 to 255 bytes");
	pthread_mutex_lock(&q->lock);
	alter_begin(q);
	q->making = true;
	tables_keep(q);
	int r = snapshot_may_be(q, name);
	if (r || (r = mark_dirty(q)) || (r = lend_all(q)))
		cancel(q);
	pthread_mutex_unlock(&q->lock);
	return snapshot_explain(i, r, "make", name, err);
}

void qcow2_snapshot_cancel(struct image *i)
{
	struct qcow2 *q = i->format;
	pthread_mutex_lock(&q->lock);
	if (q->making)
		cancel(q);
	pthread_mutex_unlock(&q->lock);
}

/* --- the moment --------------------------------------------------------------- */

/* No table keeps a mark that the disk does not have. */
static void unmark_lent(struct qcow2 *q)
{
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next)
			if (t->lent)
				l2_unmark(q, t->data);
	none_is_lent(q);
}

static void take(struct qcow2 *q)
{
	struct snapshot_new *n = q->taken = xnew(struct snapshot_new);
	*n = (struct snapshot_new){ .l1 = xcalloc(q->l1_size + 1ull, 8), .l1_size = q->l1_size, .size = q->image->size };
	clock_gettime(CLOCK_REALTIME, &n->when);
	for (uint32_t k = 0; k < q->l1_size; k++)
		n->l1[k] = q->l1[k] &= ~L2_COPIED;
	unmark_lent(q);
	q->drains = q->in_place != 0;
}

bool qcow2_snapshot_take(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = i->format;
	int r = 0;
	pthread_mutex_lock(&q->lock);
	while (q->lent < q->l1_size && !r)    /* the disk has grown */
		r = lend(q);
	if (r)
		cancel(q);
	else
		take(q);
	pthread_mutex_unlock(&q->lock);
	return snapshot_explain(i, r, "make", name, err);
}

/* --- after it ----------------------------------------------------------------- */

bool qcow2_snapshot_keep(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = i->format;
	pthread_mutex_lock(&q->lock);
	while (q->drains)                     /* what is on its way belongs to it */
		pthread_cond_wait(&q->changed, &q->lock);
	q->taken->name = name;
	int r = snapshot_store(q, q->taken);
	if (r)
		cancel(q);
	else
		end(q);
	pthread_mutex_unlock(&q->lock);
	return snapshot_explain(i, r, "make", name, err);
}

bool qcow2_snapshot_create(struct image *i, const char *name, struct error *err)
{
	return qcow2_snapshot_prepare(i, name, err) && qcow2_snapshot_take(i, name, err) &&
	       qcow2_snapshot_keep(i, name, err);
}
