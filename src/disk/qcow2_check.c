/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: counting all references and comparing them with the refcounts.  More
 * count than references: a leak, harmless.  Less, or a reference that leads
 * nowhere: corruption.  Repair makes the counts right; it takes no data away.
 */
#include "disk/qcow2.h"

#include <errno.h>

struct check {
	struct qcow2 *q;
	struct image_check *found;
	uint32_t *refs;                   /* a counter for each cluster of the file */
	uint64_t clusters;
};

/* `n` bytes at `offset` are referred to once more. */
static void refer(struct check *c, uint64_t offset, uint64_t n)
{
	if (!n)
		return;
	uint64_t i = offset >> c->q->cluster_bits, last = (offset + n - 1) >> c->q->cluster_bits;
	if (offset + n < offset || last >= c->clusters) {
		c->found->corruptions++;
		return;
	}
	for (; i <= last; i++)
		c->refs[i] += c->refs[i] < UINT32_MAX;
}

static int refer_l2(struct check *c, uint64_t at)
{
	struct qcow2 *q = c->q;
	auto_free uint8_t *table = xmalloc(q->cluster_size);
	int r = file_read(q->file, table, q->cluster_size, at);
	for (uint64_t i = 0; i < q->l2_entries && !r; i++) {
		uint64_t e = be64_get(table + 8 * i), offset = e & OFFSET_MASK, bytes = q->cluster_size;
		enum cluster_kind kind = entry_kind(q, e);
		if (kind == CLUSTER_COMPRESSED)
			compressed_place(q, e, &offset, &bytes);
		c->found->allocated += kind == CLUSTER_DATA || kind == CLUSTER_COMPRESSED;
		if (kind == CLUSTER_COMPRESSED) {
			uint64_t end = c->clusters << q->cluster_bits;
			refer(c, offset, offset < end ? MIN(bytes, end - offset) : bytes);
		} else if (q->external && kind == CLUSTER_DATA) {
			continue;             /* not in this file */
		} else if (offset & (q->cluster_size - 1)) {
			c->found->corruptions++;
		} else if (offset) {
			refer(c, offset, q->cluster_size);
		}
	}
	return r;
}

static int refer_l1(struct check *c, uint64_t offset, const uint64_t *l1, uint32_t size)
{
	int r = 0;
	refer(c, offset, 8ull * size);
	for (uint32_t i = 0; i < size && !r; i++) {
		uint64_t at = l1[i] & OFFSET_MASK;
		if (!at)
			continue;
		refer(c, at, c->q->cluster_size);
		if (at & (c->q->cluster_size - 1) || at >> c->q->cluster_bits >= c->clusters)
			c->found->corruptions++;
		else
			r = refer_l2(c, at);
	}
	return r;
}

/* An entry of the snapshot table: 40 bytes, extra data, id, name; padded to 8. */
static int refer_snapshots(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t at = q->snapshots_offset;
	uint8_t h[40];
	for (uint32_t n = 0; n < q->nb_snapshots; n++) {
		int r = at >> q->cluster_bits < c->clusters ? file_read(q->file, h, sizeof(h), at) : -EIO;
		if (r)
			return r;
		uint64_t offset = be64_get(h);
		uint32_t size = be32_get(h + 8);
		if (size > L1_MAX_BYTES / 8 || offset & (q->cluster_size - 1))
			return -EIO;
		auto_free uint64_t *l1 = xcalloc(size + 1ull, 8);
		if ((r = file_read(q->file, l1, 8ull * size, offset)))
			return r;
		for (uint32_t i = 0; i < size; i++)
			l1[i] = be64toh(l1[i]);
		if ((r = refer_l1(c, offset, l1, size)))
			return r;
		at = ALIGN_UP(at + 40 + be32_get(h + 36) + be16_get(h + 12) + be16_get(h + 14), 8);
	}
	refer(c, q->snapshots_offset, at - q->snapshots_offset);
	return 0;
}

/* Persistent bitmaps: their directory, and each one's table and clusters. */
static int refer_bitmaps(struct check *c)
{
	struct qcow2 *q = c->q;
	if (!q->nb_bitmaps || q->bitmaps_size > 1 << 20)
		return q->nb_bitmaps ? -EIO : 0;
	auto_free uint8_t *dir = xcalloc(1, q->bitmaps_size + 32);
	int r = file_read(q->file, dir, q->bitmaps_size, q->bitmaps_offset);
	refer(c, q->bitmaps_offset, q->bitmaps_size);
	for (uint64_t at = 0; at + 24 <= q->bitmaps_size && !r; ) {
		uint64_t table = be64_get(dir + at);
		uint32_t size = be32_get(dir + at + 8);
		if (size > L1_MAX_BYTES / 8)
			return -EIO;
		auto_free uint8_t *t = xcalloc(size + 1ull, 8);
		r = file_read(q->file, t, 8ull * size, table);
		refer(c, table, 8ull * size);
		for (uint32_t i = 0; i < size; i++)
			if (be64_get(t + 8ull * i) & OFFSET_MASK)
				refer(c, be64_get(t + 8ull * i) & OFFSET_MASK, q->cluster_size);
		at = ALIGN_UP(at + 24 + be16_get(dir + at + 18) + be32_get(dir + at + 20), 8);
	}
	return r;
}

static int refer_all(struct check *c)
{
	struct qcow2 *q = c->q;
	refer(c, 0, q->cluster_size);
	refer(c, q->reftable_offset, 8 * q->reftable_entries);
	for (uint64_t i = 0; i < q->reftable_entries; i++)
		if (q->reftable[i])
			refer(c, q->reftable[i], q->cluster_size);
	int r = refer_l1(c, q->l1_offset, q->l1, q->l1_size);
	if (!r)
		r = refer_snapshots(c);
	return r ? r : refer_bitmaps(c);
}

static int compare(struct check *c, bool repair)
{
	uint64_t covered = MIN(c->clusters, c->q->reftable_entries * c->q->refs_per_block), i;
	int r = 0;
	for (i = 0; i < c->clusters && !r; i++) {
		uint64_t count = 0;
		r = i < covered ? refcount_get(c->q, i, &count) : 0;
		if (r || count == c->refs[i])
			continue;
		if (count > c->refs[i])
			c->found->leaks++;
		else
			c->found->corruptions++;
		/* a missing block is not made here: its place may be in use */
		if (!repair || i >= covered || !c->q->reftable[i / c->q->refs_per_block])
			continue;
		if (!c->refs[i])      /* whatever it was, it is free */
			table_forget(c->q, i << c->q->cluster_bits);
		r = refcount_set(c->q, i, c->refs[i]);
		c->found->fixed++;
	}
	return r;
}

/* COPIED says that the count is 1.  Wrongly there, a shared cluster would be written
 * in place; wrongly absent, it is copied for nothing. */
static bool copied_wrong(const struct check *c, uint64_t e)
{
	uint64_t host = (e & OFFSET_MASK) >> c->q->cluster_bits;
	return host && host < c->clusters && (c->refs[host] == 1) != !!(e & L2_COPIED);
}

static void note(struct check *c, uint64_t e, bool repair)
{
	if (e & L2_COPIED)
		c->found->corruptions++;
	else
		c->found->unmarked++;
	c->found->fixed += repair;
}

static int fix_copied(struct check *c, bool repair)
{
	struct qcow2 *q = c->q;
	int r = 0;
	for (uint32_t i = 0; i < q->l1_size && !r; i++) {
		uint64_t at = q->l1[i] & OFFSET_MASK;
		struct table *t;
		if (!at || at >> q->cluster_bits >= c->clusters || (r = table_get(q, at, TABLE_L2, false, &t)))
			continue;
		if (copied_wrong(c, q->l1[i])) {
			note(c, q->l1[i], repair);
			q->l1[i] ^= repair ? L2_COPIED : 0;
			q->l1_dirty[i / 64] |= repair;
			q->any_l1_dirty |= repair;
		}
		for (uint64_t k = 0; k < q->l2_entries; k++) {
			uint64_t e = be64_get(t->data + 8 * k);
			if (e & L2_COMPRESSED || (q->external && entry_kind(q, e) == CLUSTER_DATA) || !copied_wrong(c, e))
				continue;
			note(c, e, repair);
			if (repair)
				be64_put(t->data + 8 * k, e ^ L2_COPIED);
			t->dirty |= repair;
		}
	}
	return r;
}

bool qcow2_check(struct image *i, bool repair, struct image_check *found, struct error *err)
{
	struct qcow2 *q = i->format;
	struct check c = { .q = q, .found = found };
	memset(found, 0, sizeof(*found));
	pthread_mutex_lock(&q->lock);
	int r = i->readonly ? 0 : metadata_sync(q);
	c.clusters = ALIGN_UP(q->file->ops->size(q->file), q->cluster_size) >> q->cluster_bits;
	found->clusters = (i->size + q->cluster_size - 1) >> q->cluster_bits;
	c.refs = calloc(c.clusters + 1, sizeof(*c.refs));       /* not xcalloc: the file decides */
	if (!c.refs)
		r = -ENOMEM;
	if (!r)
		r = refer_all(&c);
	if (!r && repair)
		r = mark_dirty(q);
	if (!r)
		r = fix_copied(&c, repair);
	if (!r)
		r = compare(&c, repair);
	if (!r && repair) {
		q->next_free = 0;
		r = metadata_sync(q);
	}
	free(c.refs);
	pthread_mutex_unlock(&q->lock);
	if (r == -ENOMEM)
		return error_set(err, 0, "there is not enough memory to check disk '%s'", i->path);
	return !r || error_set(err, -r, "disk '%s' is damaged too badly to be checked", i->path);
}
