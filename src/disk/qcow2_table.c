/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: tables in memory, and the order in which they become durable. */
#include "disk/qcow2.h"

#include <errno.h>

static struct table **slot(struct qcow2 *q, uint64_t offset)
{
	struct table **t = &q->bucket[(offset >> q->cluster_bits) % TABLE_BUCKETS];
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

static int write_tables(struct qcow2 *q, enum table_kind kind, bool *any)
{
	*any = false;
	for (unsigned b = 0; b < TABLE_BUCKETS; b++)
		for (struct table *t = q->bucket[b]; t; t = t->next) {
			if (!t->dirty || t->kind != kind)
				continue;
			int r = file_write(q->file, t->data, q->cluster_size, t->offset);
			if (r)
				return r;
			t->dirty = false;
			*any = true;
		}
	return 0;
}

/* Whole sectors of the L1 table in which an entry has changed. */
static int write_l1(struct qcow2 *q)
{
	uint8_t sector[512];
	for (uint32_t s = 0; s < (q->l1_size + 63) / 64; s++) {
		if (!q->l1_dirty[s])
			continue;
		uint32_t n = MIN(q->l1_size - s * 64, 64u);
		for (uint32_t i = 0; i < n; i++)
			be64_put(sector + 8 * i, q->l1[s * 64 + i]);
		int r = file_write(q->file, sector, 8 * n, q->l1_offset + s * 512ull);
		if (r)
			return r;
		q->l1_dirty[s] = false;
	}
	q->any_l1_dirty = false;
	return 0;
}

/* Invariants 1 and 2: counts and contents, then what refers to them. */
int metadata_sync(struct qcow2 *q)
{
	bool refs, l2;
	if (q->broken)
		return q->broken;
	int r = write_tables(q, TABLE_REFCOUNT, &refs);
	if (!r)
		r = q->file->ops->sync(q->file);
	if (!r)
		r = write_tables(q, TABLE_L2, &l2);
	if (r)
		return metadata_failed(q, r);
	if (!l2 && !q->any_l1_dirty)
		return 0;
	r = q->file->ops->sync(q->file);
	if (!r && q->any_l1_dirty) {
		r = write_l1(q);
		if (!r)
			r = q->file->ops->sync(q->file);
	}
	return metadata_failed(q, r);
}

/* Make room: the oldest clean table goes; if all are dirty, none is afterwards. */
static int evict(struct qcow2 *q)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		struct table *oldest = NULL;
		for (unsigned b = 0; b < TABLE_BUCKETS; b++)
			for (struct table *t = q->bucket[b]; t; t = t->next)
				if (!t->dirty && (!oldest || t->used < oldest->used))
					oldest = t;
		if (oldest) {
			table_forget(q, oldest->offset);
			return 0;
		}
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
	if (t && t->kind != kind)
		return -EIO;          /* one cluster in two roles: a damaged image */
	if (!t) {
		if (!fresh && !place_sound(q, offset))
			return -EIO;
		int r = q->ntables >= q->tables_max ? evict(q) : 0;
		if (r)
			return r;
		t = xcalloc(1, sizeof(*t) + q->cluster_size);
		t->offset = offset;
		t->kind = kind;
		r = fresh ? 0 : file_read(q->file, t->data, q->cluster_size, offset);
		if (r) {
			free(t);
			return r;
		}
		t->next = q->bucket[(offset >> q->cluster_bits) % TABLE_BUCKETS];
		q->bucket[(offset >> q->cluster_bits) % TABLE_BUCKETS] = t;
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
	be64_put(features + 16, 0);
	if (!r)
		r = file_write(q->file, features, sizeof(features), 72);
	if (!r)
		r = q->file->ops->sync(q->file);
	if (r)
		return metadata_failed(q, r);
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
