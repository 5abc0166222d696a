/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: from guest offsets to clusters; reading, writing, zeroing.
 *
 * Looking up happens under q->lock, transfers of data outside it.  A write to new
 * clusters announces their guest range (`pending`) before it lets go of the lock, and
 * enters them into the table afterwards; others wait for it.  Every transfer is
 * counted in its generation: a cluster is reused only when none is left that could
 * still be writing to it.
 */
#include "disk/qcow2.h"

#include <errno.h>

enum { WINDOW = 200, FREED_ENOUGH = 1024, IN_PLACE = 2 /* in a token, beside its generation */ };

bool place_is_fixed(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
	uint64_t l1_end = q->l1_offset + 8ull * q->l1_size, ref_end = q->reftable_offset + 8 * q->reftable_entries;
	uint64_t end = offset + len;
	return offset < q->cluster_size || (end > q->l1_offset && offset < l1_end) ||
	       (end > q->reftable_offset && offset < ref_end);
}

bool place_sound(const struct qcow2 *q, uint64_t offset)
{
	/* what was never written to the file cannot be referred to (invariant 5): else one entry of a
	 * hostile image makes a file of exabytes */
	return !(offset & (q->cluster_size - 1)) && offset < q->virgin && !place_is_fixed(q, offset, q->cluster_size);
}

enum cluster_kind entry_kind(const struct qcow2 *q, uint64_t e)
{
	if (e & L2_COMPRESSED)
		return CLUSTER_COMPRESSED;
	if (q->version >= 3 && e & L2_ZERO)
		return CLUSTER_ZERO;
	return e & OFFSET_MASK || (q->external && e & L2_COPIED) ? CLUSTER_DATA : CLUSTER_ABSENT;
}

void compressed_place(const struct qcow2 *q, uint64_t e, uint64_t *offset, uint64_t *bytes)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	*offset = e & ((1ull << x) - 1);
	*bytes = (((e & ~L2_COPIED & ~L2_COMPRESSED) >> x) + 1) * 512 - (*offset & 511);
}

static uint64_t l1_index(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->cluster_bits >> (q->cluster_bits - 3);
}

static uint64_t l2_index(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->cluster_bits & (q->l2_entries - 1);
}

/* NULL in *t: there is none. */
static int l2_get(struct qcow2 *q, uint64_t offset, struct table **t)
{
	uint64_t i = l1_index(q, offset), at = i < q->l1_size ? q->l1[i] & OFFSET_MASK : 0;
	*t = NULL;
	int r = at ? table_get(q, at, TABLE_L2, false, t) : 0;
	if (!r && at)
		(*t)->lent |= i < q->lent;
	return r;
}

static bool is_lent(const struct qcow2 *q, uint64_t offset) { return l1_index(q, offset) < q->lent; }

/* An active reference has been replaced. The snapshot to come, which was counted already, will not have it either. */
static void cluster_replaced(struct qcow2 *q, uint64_t guest, uint64_t host)
{
	cluster_free_later(q, host);
	if (is_lent(q, guest))
		cluster_free_later(q, host);
}

int entry_get(struct qcow2 *q, uint64_t offset, uint64_t *entry)
{
	struct table *t;
	int r = l2_get(q, offset, &t);
	*entry = !r && t ? be64_get(t->data + 8 * l2_index(q, offset)) : 0;
	return r;
}

/* What is new below a lent entry, the snapshot to come will have, too. */
static int count_if_lent(struct qcow2 *q, uint64_t guest, uint64_t first, uint64_t n)
{
	return n && is_lent(q, guest) ? refcount_run(q, first, n, 1) : 0;
}

/* A table that is ours alone to change: made, or copied from a shared one. */
static int l2_for_write(struct qcow2 *q, uint64_t offset, struct table **out)
{
	uint64_t i = l1_index(q, offset), at, got;
	struct table *old;
	int r = l2_get(q, offset, &old);
	if (r || (old && q->l1[i] & L2_COPIED)) {
		*out = old;
		return r;
	}
	auto_free uint8_t *copy = old ? memcpy(xmalloc(q->cluster_size), old->data, q->cluster_size) : NULL;
	if ((r = clusters_alloc(q, 1, &at, &got)) || (r = count_if_lent(q, offset, at >> q->cluster_bits, 1)) ||
	    (r = table_get(q, at, TABLE_L2, true, out)))
		return r;
	(*out)->lent = is_lent(q, offset);
	if (copy) {
		memcpy((*out)->data, copy, q->cluster_size);
		cluster_replaced(q, offset, q->l1[i] & OFFSET_MASK);
	}
	q->l1[i] = at | L2_COPIED;
	l1_changed(q, (uint32_t)i);
	return 0;
}

/* The entry of a guest offset is about to change. */
static void entry_replaced(struct qcow2 *q, uint64_t guest, uint64_t e)
{
	uint64_t offset = e & OFFSET_MASK, bytes = 1;
	if (e & L2_COMPRESSED)
		compressed_place(q, e, &offset, &bytes);
	else if (!offset || q->external)
		return;
	uint64_t first = offset >> q->cluster_bits, last = (offset + bytes - 1) >> q->cluster_bits;
	for (; first <= last; first++)
		cluster_replaced(q, guest, first << q->cluster_bits);
}

struct run { enum cluster_kind kind; uint64_t host, len, entry; };

/* Neighbours of one kind, contiguous in the file, from `offset` on. requires: q->lock */
static int run_in(struct qcow2 *q, const struct table *t, uint64_t offset, uint64_t len, bool ours_only,
		  struct run *run)
{
	uint64_t in = offset & (q->cluster_size - 1), i = l2_index(q, offset);
	uint64_t e = t ? be64_get(t->data + 8 * i) : 0, most = MIN(len, ((q->l2_entries - i) << q->cluster_bits) - in);
	run->kind = entry_kind(q, e);
	run->host = (e & OFFSET_MASK) + in;
	run->entry = e;
	run->len = MIN(most, q->cluster_size - in);
	if (q->external && run->kind == CLUSTER_DATA)
		return q->image->data && run->host == offset && e & L2_COPIED ? 0 : -EIO;
	if (run->kind == CLUSTER_DATA && !place_sound(q, e & OFFSET_MASK))
		return -EIO;
	if (!t)
		run->len = most;
	if (!t || run->kind == CLUSTER_COMPRESSED)
		return 0;
	for (uint64_t host = e & OFFSET_MASK; run->len < most; run->len = MIN(run->len + q->cluster_size, most)) {
		uint64_t next = be64_get(t->data + 8 * ++i);
		if (entry_kind(q, next) != run->kind)
			break;
		host += q->cluster_size;
		if (run->kind == CLUSTER_DATA && ((next & OFFSET_MASK) != host || !place_sound(q, host) ||
						  (ours_only && !(next & L2_COPIED))))
			break;
	}
	return 0;
}

static int find_run(struct qcow2 *q, uint64_t offset, uint64_t len, bool ours_only, struct run *run)
{
	struct table *t;
	int r = l2_get(q, offset, &t);
	return r ? r : run_in(q, t, offset, len, ours_only, run);
}

static int read_backing(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	struct image *b = q->image->backing;
	struct iovec part[WINDOW];
	uint64_t there = b && offset < b->size ? MIN(len, b->size - offset) : 0;
	unsigned k = iov_window(iov, n, there, len - there, part);
	iov_zero(part, k);
	k = iov_window(iov, n, 0, there, part);
	return there ? b->ops->read(b, part, k, offset, there) : 0;
}

static int read_run(struct qcow2 *q, const struct run *run, const struct iovec *iov, unsigned n, uint64_t offset)
{
	switch (run->kind) {
	case CLUSTER_DATA: return qcow2_data(q)->ops->read(qcow2_data(q), iov, n, run->host);
	case CLUSTER_ABSENT: return read_backing(q, iov, n, offset, run->len);
	case CLUSTER_ZERO:
		iov_zero(iov, n);
		return 0;
	default: {
		auto_free uint8_t *buf = xmalloc(q->cluster_size);
		int r = qcow2_inflate(q, run->entry, buf);
		uint64_t at = offset & (q->cluster_size - 1);
		for (unsigned i = 0; i < n && !r; at += iov[i++].iov_len)
			memcpy(iov[i].iov_base, buf + at, iov[i].iov_len);
		return r;
	}
	}
}

/* A transfer begins, before it looks anything up. */
static unsigned transfer_begin(struct qcow2 *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->frozen)
		pthread_cond_wait(&q->changed, &q->lock);
	unsigned token = q->generation & 1;
	q->active[token]++;
	pthread_mutex_unlock(&q->lock);
	return token;
}

/* requires: q->lock */
static void transfer_end(struct qcow2 *q, unsigned token)
{
	if (!--q->active[token] && q->frozen)
		pthread_cond_broadcast(&q->changed);
}

/* requires: q->lock. A write to a cluster that was marked COPIED. */
static void in_place_end(struct qcow2 *q)
{
	if (--q->in_place || !q->drains)
		return;
	q->drains = false;
	pthread_cond_broadcast(&q->changed);
}

void qcow2_landed(struct image *i, unsigned token)
{
	struct qcow2 *q = i->format;
	pthread_mutex_lock(&q->lock);
	if (token & IN_PLACE)
		in_place_end(q);
	transfer_end(q, token & 1);
	pthread_mutex_unlock(&q->lock);
}

enum image_direct qcow2_direct(struct image *i, uint64_t offset, uint64_t len, bool writes, uint64_t *host,
			       unsigned *token)
{
	struct qcow2 *q = i->format;
	struct run run = { .len = 0 };
	enum image_direct found = DIRECT_NO;
	if (q->external || pthread_mutex_trylock(&q->lock))
		return DIRECT_NO;
	if (q->frozen || (writes && q->drains)) {
		pthread_mutex_unlock(&q->lock);
		return DIRECT_NO;
	}
	uint64_t k = l1_index(q, offset), at = k < q->l1_size ? q->l1[k] & OFFSET_MASK : 0;
	struct table *t = at ? table_peek(q, at, TABLE_L2) : NULL;
	if ((at && !t) || run_in(q, t, offset, len, writes, &run) || run.len < len ||
	    (writes && (q->broken || !q->marked_dirty)))
		found = DIRECT_NO;
	else if (run.kind == CLUSTER_DATA && (!writes || run.entry & L2_COPIED))
		found = DIRECT_HERE;
	else if (!writes && run.kind == CLUSTER_ABSENT && i->backing)
		found = DIRECT_BELOW;
	else if (!writes && (run.kind == CLUSTER_ZERO || run.kind == CLUSTER_ABSENT))
		found = DIRECT_ZERO;
	if (found == DIRECT_HERE) {
		*host = run.host;
		if (writes)
			bitmaps_mark(q, offset, len);
		*token = q->generation & 1;
		q->active[*token]++;
		q->in_place += writes;
		*token |= writes ? IN_PLACE : 0;
	}
	pthread_mutex_unlock(&q->lock);
	return found;
}

/* requires: a transfer */
static int do_read(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	struct iovec part[WINDOW];
	if (n > WINDOW)
		return -EINVAL;
	for (uint64_t done = 0; done < len; ) {
		struct run run;
		pthread_mutex_lock(&q->lock);
		int r = find_run(q, offset + done, len - done, false, &run);
		pthread_mutex_unlock(&q->lock);
		if (r)
			return r;
		unsigned k = iov_window(iov, n, done, run.len, part);
		if ((r = read_run(q, &run, part, k, offset + done)))
			return r;
		done += run.len;
	}
	return 0;
}

int qcow2_read(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	struct qcow2 *q = i->format;
	unsigned token = transfer_begin(q);
	int r = do_read(q, iov, n, offset, len);
	qcow2_landed(i, token);
	return r;
}

/* --- writing -------------------------------------------------------------- */

/* How many clusters from `offset` on need a place of their own, within one table;
 * absent: none of them has contents in this image. */
static int count_new(struct qcow2 *q, uint64_t offset, uint64_t len, uint64_t *count, bool *absent)
{
	struct table *t;
	uint64_t i = l2_index(q, offset), in = offset & (q->cluster_size - 1);
	uint64_t most = MIN((in + len + q->cluster_size - 1) >> q->cluster_bits, q->l2_entries - i);
	int r = l2_get(q, offset, &t);
	*absent = true;
	for (*count = 0; !r && *count < most; ++*count) {
		uint64_t e = t ? be64_get(t->data + 8 * (i + *count)) : 0;
		if (entry_kind(q, e) == CLUSTER_DATA && e & L2_COPIED)
			break;
		*absent &= entry_kind(q, e) == CLUSTER_ABSENT;
	}
	return r;
}

/* Guest data in new clusters at `host`, with the old contents around it. */
static int fill_clusters(struct qcow2 *q, uint64_t host, uint64_t clusters, const struct iovec *iov, unsigned n,
			 uint64_t offset, uint64_t len)
{
	uint64_t head = offset & (q->cluster_size - 1), tail = (clusters << q->cluster_bits) - head - len;
	if (q->external)              /* a raw data file is as long as the disk */
		tail = MIN(tail, q->image->size - (offset + len));
	auto_free uint8_t *before = xmalloc(head + 1), *after = xmalloc(tail + 1);
	struct iovec all[WINDOW + 2], old = { before, head };
	unsigned k = 0;
	int r = head ? do_read(q, &old, 1, offset - head, head) : 0;
	if (head)
		all[k++] = old;
	memcpy(all + k, iov, n * sizeof(*iov));
	k += n;
	old = (struct iovec){ after, tail };
	if (!r && tail) {
		memset(after, 0, tail);
		uint64_t end = offset + len, there = end < q->image->size ? MIN(tail, q->image->size - end) : 0;
		struct iovec part = { after, there };
		r = there ? do_read(q, &part, 1, end, there) : 0;
		all[k++] = old;
	}
	return r ? r : qcow2_data(q)->ops->write(qcow2_data(q), all, k, host);
}

/* New clusters that need nothing around the guest's data: it is zero, and so is the file. */
static bool needs_fill(const struct qcow2 *q, const struct pending *p, bool virgin, bool absent)
{
	uint64_t from = p->first << q->cluster_bits;
	bool below = q->image->backing && from < q->image->backing->size;
	return !absent || below || !virgin || q->external;
}

static bool pending_at(const struct qcow2 *q, uint64_t first, uint64_t last)
{
	for (const struct pending *p = q->pending; p; p = p->next)
		if (p->first <= last && first <= p->last)
			return true;
	return false;
}

/* Wait until nobody fills clusters of that range, nor writes into what a snapshot has taken, as that may have to be
 * copied; requires: q->lock */
static void pending_wait(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	while (q->drains || pending_at(q, offset >> q->cluster_bits, (offset + len - 1) >> q->cluster_bits))
		pthread_cond_wait(&q->changed, &q->lock);
}

static void pending_end(struct qcow2 *q, struct pending *p)
{
	struct pending **at = &q->pending;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	pthread_cond_broadcast(&q->changed);
}

int entry_set(struct qcow2 *q, uint64_t offset, uint64_t entry)
{
	struct table *t;
	uint64_t first, n = entry_clusters(q, entry, &first);
	int r = count_if_lent(q, offset, first, n);
	if (r || (r = l2_for_write(q, offset, &t)))
		return r;
	uint8_t *e = t->data + 8 * l2_index(q, offset);
	entry_replaced(q, offset, be64_get(e));
	be64_put(e, entry);
	t->dirty = true;
	return 0;
}

/* The new clusters take their places; on failure nothing refers to them. */
static int enter_new(struct qcow2 *q, uint64_t offset, uint64_t host, uint64_t n, int r)
{
	struct table *t;
	uint64_t first = host >> q->cluster_bits;
	bool lent = false;
	r = r ? r : q->broken ? q->broken : count_if_lent(q, offset, first, n);
	if (!r) {
		lent = is_lent(q, offset);
		r = l2_for_write(q, offset, &t);
	}
	for (uint64_t i = 0; i < n; i++) {
		if (r) {
			for (unsigned refs = q->external ? 0 : 1 + lent; refs; refs--)
				refcount_add(q, first + i, -1);
			continue;
		}
		uint8_t *e = t->data + 8 * (l2_index(q, offset) + i);
		entry_replaced(q, offset, be64_get(e));
		be64_put(e, (host + (i << q->cluster_bits)) | L2_COPIED);
		t->dirty = true;
	}
	return r;
}

/* requires: q->lock, which it lets go of. Writes at most *len bytes; *len: how many. */
static int write_new(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t *len)
{
	struct iovec part[WINDOW];
	struct table *t;
	uint64_t want, got, host, in = offset & (q->cluster_size - 1);
	bool absent;
	int r = mark_dirty(q);
	if (r || (r = count_new(q, offset, *len, &want, &absent)) || (r = l2_for_write(q, offset, &t)))
		return r;
	uint64_t virgin = q->virgin;
	host = offset - in;
	got = want;
	if ((q->external && !q->image->data) || (!q->external && (r = clusters_alloc(q, want, &host, &got))))
		return r ? r : -EIO;
	*len = MIN(*len, (got << q->cluster_bits) - in);
	unsigned k = iov_window(iov, n, 0, *len, part);
	struct pending p = { offset >> q->cluster_bits, (offset >> q->cluster_bits) + got - 1, q->pending };
	bool fill = needs_fill(q, &p, host >= virgin, absent);
	q->pending = &p;        /* cppcheck-suppress autoVariables; pending_end() takes it out */
	pthread_mutex_unlock(&q->lock);
	r = fill ? fill_clusters(q, host, got, part, k, offset, *len) :
		   qcow2_data(q)->ops->write(qcow2_data(q), part, k, host + in);
	pthread_mutex_lock(&q->lock);
	r = enter_new(q, offset, host, got, r);
	pending_end(q, &p);
	return r;
}

/* requires: q->lock, which it lets go of. */
static int write_in_place(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t host)
{
	q->in_place++;
	pthread_mutex_unlock(&q->lock);
	int r = qcow2_data(q)->ops->write(qcow2_data(q), iov, n, host);
	pthread_mutex_lock(&q->lock);
	in_place_end(q);
	return r;
}

/* requires: a transfer */
static int do_write(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	struct iovec part[WINDOW];
	if (n > WINDOW)
		return -EINVAL;
	for (uint64_t done = 0; done < len; ) {
		struct run run = { 0 };
		uint64_t now = len - done;
		pthread_mutex_lock(&q->lock);
		pending_wait(q, offset + done, now);
		int r = mark_dirty(q);
		bitmaps_mark(q, offset + done, now);
		if (!r)
			r = find_run(q, offset + done, now, true, &run);
		bool ours = !r && run.kind == CLUSTER_DATA && run.entry & L2_COPIED;
		unsigned k = iov_window(iov, n, done, ours ? run.len : now, part);
		if (!r && !ours)
			r = write_new(q, part, k, offset + done, &now);
		if (ours)
			r = write_in_place(q, part, k, run.host);
		pthread_mutex_unlock(&q->lock);
		if (r)
			return r;
		done += ours ? run.len : now;
	}
	return 0;
}

/* Clusters that wait to be reused are applied at flushes; not to wait for ever. */
static int after_write(struct image *i, unsigned token, int r)
{
	struct qcow2 *q = i->format;
	pthread_mutex_lock(&q->lock);
	transfer_end(q, token);
	if (!r && q->freed.n > FREED_ENOUGH && !q->syncing && !tidy_later(q))
		r = metadata_flush(q);
	pthread_mutex_unlock(&q->lock);
	return r;
}

/* What fails here is dirty still, or the image is broken: the guest's next flush says so. */
bool qcow2_tidy(struct image *i)
{
	struct qcow2 *q = i->format;
	pthread_mutex_lock(&q->lock);
	if (q->freed.n > FREED_ENOUGH || tables_are_dirty(q))
		metadata_flush(q);
	bool left = holes_tidy(q);
	tables_trim(q);
	pthread_mutex_unlock(&q->lock);
	return left;
}

int qcow2_write(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len)
{
	unsigned token = transfer_begin(i->format);
	return after_write(i, token, do_write(i->format, iov, n, offset, len));
}

/* --- zeroing -------------------------------------------------------------- */

static int write_zeros(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	static uint8_t zeros[65536];          /* never written */
	struct iovec v = { zeros, 0 };
	int r = 0;
	for (uint64_t done = 0; done < len && !r; done += v.iov_len) {
		v.iov_len = MIN(len - done, (uint64_t)sizeof(zeros));
		r = do_write(q, &v, 1, offset + done, v.iov_len);
	}
	return r;
}

/* One whole cluster becomes zero without data, if the version can say so. */
static int zero_cluster(struct qcow2 *q, uint64_t offset, bool *done)
{
	struct table *t;
	uint64_t e;
	int r = entry_get(q, offset, &e);
	enum cluster_kind kind = entry_kind(q, e);
	bool below = q->image->backing_name;          /* even if it is not open just now */
	*done = r || (kind == CLUSTER_ABSENT && !below) || kind == CLUSTER_ZERO;
	if (*done || q->external || (q->version < 3 && below))
		return r;
	*done = true;
	if ((r = mark_dirty(q)) || (r = l2_for_write(q, offset, &t)))
		return r;
	bitmaps_mark(q, offset, q->cluster_size);
	entry_replaced(q, offset, e);
	be64_put(t->data + 8 * l2_index(q, offset), q->version >= 3 ? L2_ZERO : 0);
	t->dirty = true;
	return 0;
}

int qcow2_zero(struct image *i, uint64_t offset, uint64_t len, bool unmap)
{
	struct qcow2 *q = i->format;
	int r = 0;
	unsigned token = transfer_begin(q);
	for (uint64_t at = offset, end = offset + len; at < end && !r; ) {
		uint64_t n = MIN(q->cluster_size - (at & (q->cluster_size - 1)), end - at);
		bool whole = n == q->cluster_size || (!(at & (q->cluster_size - 1)) && at + n == i->size), done = false;
		pthread_mutex_lock(&q->lock);
		pending_wait(q, at, n);
		if (whole)
			r = q->broken ? q->broken : zero_cluster(q, at, &done);
		pthread_mutex_unlock(&q->lock);
		if (!r && !done)
			r = write_zeros(q, at, n);
		at += n;
	}
	return after_write(i, token, r);
}

int qcow2_flush(struct image *i)
{
	struct qcow2 *q = i->format;
	pthread_mutex_lock(&q->lock);
	int r = metadata_flush(q);
	pthread_mutex_unlock(&q->lock);
	return r;
}

int qcow2_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind)
{
	struct qcow2 *q = i->format;
	struct run run;
	pthread_mutex_lock(&q->lock);
	int r = find_run(q, offset, *len, false, &run);
	pthread_mutex_unlock(&q->lock);
	if (r)
		return r;
	*len = run.len;
	*kind = run.kind == CLUSTER_ABSENT ? IMAGE_ABSENT : run.kind == CLUSTER_ZERO ? IMAGE_ZERO : IMAGE_DATA;
	return 0;
}
