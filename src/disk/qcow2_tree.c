/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: an L1 table and all that it leads to, counted once more or once less as a whole,
 * and the COPIED marks, which say that a cluster's count is 1.  requires: q->lock.
 */
#include "disk/qcow2.h"

#include <errno.h>
#include <time.h>

enum { HELD_NS = 2000000 };

void qcow2_give_way(struct qcow2 *q, uint64_t *since)
{
	uint64_t held = monotonic_ns() - *since;
	struct timespec t = { .tv_nsec = (long)MIN(held, 100000000ull) };
	if (held < HELD_NS)
		return;
	pthread_mutex_unlock(&q->lock);
	nanosleep(&t, NULL);
	pthread_mutex_lock(&q->lock);
	*since = monotonic_ns();
}

uint64_t entry_clusters(const struct qcow2 *q, uint64_t e, uint64_t *first)
{
	uint64_t offset = e & OFFSET_MASK, bytes = 1;
	if (e & L2_COMPRESSED)
		compressed_place(q, e, &offset, &bytes);
	*first = offset >> q->cluster_bits;
	return offset ? ((offset + bytes - 1) >> q->cluster_bits) - *first + 1 : 0;
}

bool l2_is_marked(const struct qcow2 *q, const uint8_t *table)
{
	uint64_t any = 0;
	for (uint64_t k = 0; k < q->l2_entries; k++)
		any |= (table[8 * k] & 0xc0) == 0x80;
	return any;
}

/* In the first byte of each entry. */
void l2_unmark(const struct qcow2 *q, uint8_t *table)
{
	for (uint64_t k = 0; k < q->l2_entries; k++)
		if (!(table[8 * k] & (L2_COMPRESSED >> 56)))
			table[8 * k] &= (uint8_t)~(L2_COPIED >> 56);
}

/* The L2 table at `at`, as it is now, into buf. */
static int l2_copy(struct qcow2 *q, uint64_t at, uint8_t *buf)
{
	struct table *t = table_peek(q, at, TABLE_L2);
	if (t) {
		memcpy(buf, t->data, q->cluster_size);
		return 0;
	}
	return place_sound(q, at) ? file_read(q->file, buf, q->cluster_size, at) : -EIO;
}

/* All that the first `end` entries of a table lead to, in runs; *done: how many entries that were. */
static int count_entries(struct qcow2 *q, const uint8_t *table, uint64_t end, int delta, uint64_t *done)
{
	uint64_t run = 0, n = 0, first;
	int r = 0;
	*done = 0;
	for (uint64_t i = 0; i < end && !r; i++) {
		uint64_t k = entry_clusters(q, be64_get(table + 8 * i), &first);
		if (k && n && first == run + n) {
			n += k;
		} else if (k) {
			r = n ? refcount_run(q, run, n, delta) : 0;
			*done = r ? *done : i;
			run = first;
			n = k;
		}
	}
	r = !r && n ? refcount_run(q, run, n, delta) : r;
	*done = r ? *done : end;
	return r;
}

int l2_count(struct qcow2 *q, uint64_t at, int delta)
{
	auto_free uint8_t *buf = xmalloc(q->cluster_size);
	uint64_t done = 0, none;
	int r = l2_copy(q, at, buf);
	if (r || (!(r = count_entries(q, buf, q->l2_entries, delta, &done)) &&
		  !(r = refcount_run(q, at >> q->cluster_bits, 1, delta))))
		return r;
	if (delta > 0)
		count_entries(q, buf, done, -delta, &none);
	return r;
}

int tree_count(struct qcow2 *q, const uint64_t *l1, uint32_t size, int delta)
{
	int r = 0;
	uint32_t i;
	for (i = 0; i < size && !r; i++)
		r = l1[i] & OFFSET_MASK ? l2_count(q, l1[i] & OFFSET_MASK, delta) : 0;
	while (r && delta > 0 && --i > 0)
		if (l1[i - 1] & OFFSET_MASK)
			l2_count(q, l1[i - 1] & OFFSET_MASK, -delta);
	return r;
}

/* The active table's i-th entry and all below it get their marks back where the count is 1 again. */
static int mark_again(struct qcow2 *q, uint32_t i)
{
	uint64_t at = q->l1[i] & OFFSET_MASK, count;
	auto_free uint8_t *buf = xmalloc(q->cluster_size);
	bool any = false;
	int r = at ? refcount_get(q, at >> q->cluster_bits, &count) : 0;
	if (r || !at || count != 1 || (r = l2_copy(q, at, buf)))
		return r;
	for (uint64_t k = 0; k < q->l2_entries && !r; k++) {
		uint64_t e = be64_get(buf + 8 * k);
		if (e & (L2_COMPRESSED | L2_COPIED) || !(e & OFFSET_MASK))
			continue;
		r = refcount_get(q, (e & OFFSET_MASK) >> q->cluster_bits, &count);
		if (r || count != 1)
			continue;
		be64_put(buf + 8 * k, e | L2_COPIED);
		any = true;
	}
	struct table *t;
	if (!r && any && !(r = table_get(q, at, TABLE_L2, false, &t))) {
		memcpy(t->data, buf, q->cluster_size);
		t->dirty = true;
	}
	if (!r && !(q->l1[i] & L2_COPIED)) {
		q->l1[i] |= L2_COPIED;
		l1_changed(q, i);
	}
	return r;
}

int l2_drop(struct qcow2 *q, uint32_t i, uint64_t l1_entry)
{
	int r = l1_entry & OFFSET_MASK ? l2_count(q, l1_entry & OFFSET_MASK, -1) : 0;
	return !r && i < q->l1_size ? mark_again(q, i) : r;
}
