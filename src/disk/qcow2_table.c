/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: tables in memory, and the order in which they become durable. */
#include "disk/qcow2.h"

#include <errno.h>

enum { KEPT_BYTES = 64 << 20 };

/* Tables of a disk that was filled in order lie at equal distances: these are mixed. */
static struct table **bucket(struct qcow2 *q, uint64_t offset)
{
	return &q->bucket[(offset >> q->cluster_bits) * 0x9e3779b97f4a7c15u >> (64 - TABLE_BUCKET_BITS)];
}

static struct table **slot(struct qcow2 *q, uint64_t offset)
{
	struct table **t = bucket(q, offset);
	while (*t && (*t)->offset != offset)
		t = &(*t)->next;
	return t;
}

int metadata_failed(struct qcow2 *q, int r)
{
	if (r && !q->broken)
		q->broken = r;
	return r;
}

struct table *table_peek(struct qcow2 *q, uint64_t offset, enum table_kind kind)
{
	struct table *t = *slot(q, offset);
	if (!t || t->kind != kind)
		return NULL;
	t->used = ++q->age;
	return t;
}

bool table_is_at(struct qcow2 *q, uint64_t offset)
{
	return *slot(q, offset) != NULL;
}

static bool no_space(int r) { return r == -ENOSPC || r == -EDQUOT; }

int metadata_unwritten(struct qcow2 *q, int r)
{
	return no_space(r) ? r : metadata_failed(q, r);
}

/* --- writing, from copies ----------------------------------------------------- */

/* What was dirty when it began, in the order of writing. */
struct copy { struct copy *next; uint64_t offset, len; uint8_t data[]; };

static struct copy *copy_add(struct copy ***last, const void *data, uint64_t len, uint64_t offset)
{
	struct copy *c = xmalloc(sizeof(*c) + len);
	*c = (struct copy){ .offset = offset, .len = len };
	memcpy(c->data, data, len);
	**last = c;
	*last = &c->next;
	return c;
}

static struct copy *copy_tables(struct qcow2 *q, enum table_kind kind)
{
	struct copy *first = NULL, **last = &first;
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next) {
			if (!t->dirty || t->kind != kind)
				continue;
			struct copy *c = copy_add(&last, t->data, q->cluster_size, t->offset);
			if (t->lent)
				l2_unmark(q, c->data);
			t->dirty = false;
			t->busy = true;
		}
	return first;
}

static struct copy *copy_l1(struct qcow2 *q)
{
	struct copy *first = NULL, **last = &first;
	uint8_t sector[512];
	for (uint32_t s = 0; q->any_l1_dirty && s < (q->l1_size + 63) / 64; s++) {
		if (!q->l1_dirty[s])
			continue;
		uint32_t n = MIN(q->l1_size - s * 64, 64u);
		for (uint32_t i = 0; i < n; i++)
			be64_put(sector + 8 * i, l1_on_disk(q, s * 64 + i));
		copy_add(&last, sector, 8 * n, q->l1_offset + s * 512ull);
		q->l1_dirty[s] = false;
	}
	q->any_l1_dirty = false;
	return first;
}

/* Written and synced (`must`: even if there are none), freed in any case. *lost: it was the sync that failed. */
static int copies_down(struct qcow2 *q, struct copy *c, int r, bool must, bool *lost)
{
	bool any = (c || must) && !r;
	for (struct copy *next; c; c = next) {
		next = c->next;
		r = r ? r : file_write(q->file, c->data, c->len, c->offset);
		free(c);
	}
	if (!any || r)
		return r;
	r = q->file->ops->sync(q->file);
	*lost = r != 0;
	return r;
}

/* There was no space: all that was copied is dirty again. */
static void take_back(struct qcow2 *q)
{
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next)
			t->dirty |= t->busy;
	for (uint32_t s = 0; s < (q->l1_size + 63) / 64; s++)
		q->l1_dirty[s] = true;
	q->any_l1_dirty = q->l1_size != 0;
}

static void no_longer_busy(struct qcow2 *q)
{
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next)
			t->busy = false;
}

/* Invariant 4: `taken` has gone from the disk now; old transfers may still know it. */
static int settle(struct qcow2 *q, struct cluster_list *taken)
{
	int r = apply_gone(q);
	struct cluster_list *to = q->gone.n ? &q->freed : &q->gone;
	bool flip = to == &q->gone && taken->n;
	for (size_t i = 0; i < taken->n; i++)
		clusters_put(to, taken->at[i]);
	free(taken->at);
	q->generation += flip;
	return r ? r : apply_gone(q);
}

/* Invariants 1 and 2: counts and contents, then what refers to them.  `let_go`: of the
 * lock, while the disk works on copies. */
static int metadata_down(struct qcow2 *q, bool let_go)
{
	struct copy *counts = copy_tables(q, TABLE_REFCOUNT), *l2 = copy_tables(q, TABLE_L2), *l1 = copy_l1(q);
	q->syncing = true;
	if (let_go)
		pthread_mutex_unlock(&q->lock);
	int r = q->external && q->image->data ? q->image->data->ops->sync(q->image->data) : 0;
	bool lost = r != 0;
	r = copies_down(q, counts, r, true, &lost);
	r = copies_down(q, l2, r, false, &lost);
	r = copies_down(q, l1, r, false, &lost);
	if (let_go)
		pthread_mutex_lock(&q->lock);
	if (no_space(r) && !lost)
		take_back(q);
	q->syncing = false;
	no_longer_busy(q);
	pthread_cond_broadcast(&q->changed);
	return lost ? metadata_failed(q, r) : r ? metadata_unwritten(q, r) : 0;
}

static int may_go_down(struct qcow2 *q)
{
	while (q->syncing)
		pthread_cond_wait(&q->changed, &q->lock);
	return q->broken;
}

int metadata_sync(struct qcow2 *q)
{
	int r = may_go_down(q);
	return r ? r : metadata_down(q, false);
}

int metadata_flush(struct qcow2 *q)
{
	int r = may_go_down(q);
	if (r)
		return r;
	struct cluster_list taken = q->freed;     /* what no table on disk refers to afterwards */
	q->freed = (struct cluster_list){ 0 };
	if (!(r = metadata_down(q, true)))
		return (r = settle(q, &taken)) ? r : punch_holes_some_time(q);
	for (size_t i = 0; no_space(r) && i < taken.n; i++)
		clusters_put(&q->freed, taken.at[i]);
	free(taken.at);                           /* lost for good: they stay counted, leaks */
	return r;
}

/* Make room: the oldest clean table goes; if all are dirty, none is afterwards. */
static struct table *oldest_clean(const struct qcow2 *q)
{
	struct table *oldest = NULL;
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next)
			if (!t->dirty && !t->busy && (!oldest || t->used < oldest->used))
				oldest = t;
	return oldest;
}

unsigned tables_enough(const struct qcow2 *q)
{
	return (unsigned)(KEPT_BYTES / 4 / q->cluster_size);
}

void tables_keep(struct qcow2 *q)
{
	q->tables_max = MAX(q->tables_usual, (unsigned)(KEPT_BYTES / q->cluster_size));
}

void tables_trim(struct qcow2 *q)
{
	for (struct table *t; q->ntables > q->tables_max && (t = oldest_clean(q)); )
		table_forget(q, t->offset);
}

void tables_shrink(struct qcow2 *q)
{
	q->tables_max = q->tables_usual;
	tables_trim(q);
}

bool tables_are_dirty(const struct qcow2 *q)
{
	unsigned n = 0;
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (const struct table *t = q->bucket[b]; t; t = t->next)
			n += t->dirty;
	return n > q->tables_max / 2;
}

static int evict(struct qcow2 *q)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		struct table *oldest = oldest_clean(q);
		if (oldest) {
			table_forget(q, oldest->offset);
			return 0;
		}
		/* until a flush has ended there may be a few more */
		if (q->syncing || (q->ntables < 2 * q->tables_max && tidy_later(q)))
			return 0;
		int r = metadata_sync(q);
		if (r)
			return r;
	}
	return -EIO;
}

void table_forget(struct qcow2 *q, uint64_t offset)
{
	struct table **p = slot(q, offset), *t = *p;
	if (!t)
		return;
	*p = t->next;
	q->ntables--;
	free(t);
}

int table_get(struct qcow2 *q, uint64_t offset, enum table_kind kind, bool fresh, struct table **out)
{
	struct table *t = *slot(q, offset);
	if (t && (fresh || t->kind != kind))
		return -EIO;          /* one cluster in two roles: a damaged image */
	if (!t) {
		if (!fresh && !place_sound(q, offset))
			return -EIO;
		int r = q->ntables >= q->tables_max ? evict(q) : 0;
		if (r)
			return r;
		t = calloc(1, sizeof(*t) + q->cluster_size);      /* up to 2 MiB: it may fail */
		if (!t)
			return -ENOMEM;
		t->offset = offset;
		t->kind = kind;
		r = fresh ? 0 : file_read(q->file, t->data, q->cluster_size, offset);
		if (r) {
			free(t);
			return r;
		}
		struct table **first = bucket(q, offset);
		t->next = *first;
		*first = t;
		q->ntables++;
	}
	t->dirty |= fresh;
	t->used = ++q->age;
	*out = t;
	return 0;
}

int mark_dirty(struct qcow2 *q)
{
	uint8_t features[24];
	if (q->broken)
		return q->broken;
	if (q->marked_dirty)
		return 0;
	if (q->version < 3) {
		q->marked_dirty = true;       /* that version has no bit for it */
		return 0;
	}
	/* what we do not keep up to date is declared stale: autoclear */
	int r = file_read(q->file, features, sizeof(features), 72);
	be64_put(features, q->incompatible | INCOMPAT_DIRTY);
	be64_put(features + 16, q->autoclear & 2);      /* all goes through the data file: raw it stays */
	if (!r)
		r = file_write(q->file, features, sizeof(features), 72);
	if (r)
		return metadata_unwritten(q, r);
	if ((r = q->file->ops->sync(q->file)))
		return metadata_failed(q, r);
	if ((r = bitmaps_begin(q)))
		return metadata_unwritten(q, r);
	q->incompatible |= INCOMPAT_DIRTY;
	q->marked_dirty = true;
	return 0;
}

void tables_free(struct qcow2 *q)
{
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		while (q->bucket[b])
			table_forget(q, q->bucket[b]->offset);
}
