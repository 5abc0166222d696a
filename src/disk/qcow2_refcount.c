/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: reference counts and the allocation of clusters.  requires: q->lock.
 * A refcount block that is missing covers only free clusters; a new one goes to
 * the first cluster that it covers, and so describes itself.
 */
#include "disk/qcow2.h"

#include <errno.h>

#define CLUSTERS_MAX (1ull << 46)

uint64_t ref_load(const struct qcow2 *q, const uint8_t *b, uint64_t i)
{
	switch (q->refcount_bits_log) {
	case 3: return b[i];
	case 4: return be16_get(b + 2 * i);
	case 5: return be32_get(b + 4 * i);
	case 6: return be64_get(b + 8 * i);
	default: {
		unsigned bits = 1u << q->refcount_bits_log, per = 8 / bits;
		return b[i / per] >> (i % per * bits) & ((1u << bits) - 1);
	}
	}
}

void ref_store(const struct qcow2 *q, uint8_t *b, uint64_t i, uint64_t v)
{
	switch (q->refcount_bits_log) {
	case 3: b[i] = (uint8_t)v; return;
	case 4: be16_put(b + 2 * i, (uint16_t)v); return;
	case 5: be32_put(b + 4 * i, (uint32_t)v); return;
	case 6: be64_put(b + 8 * i, v); return;
	default: {
		unsigned bits = 1u << q->refcount_bits_log, per = 8 / bits, shift = i % per * bits;
		unsigned mask = ((1u << bits) - 1) << shift;
		b[i / per] = (uint8_t)((b[i / per] & ~mask) | (v << shift & mask));
	}
	}
}

uint64_t refcount_max(const struct qcow2 *q)
{
	return q->refcount_bits_log == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_bits_log)) - 1;
}

static int write_reftable_entry(struct qcow2 *q, uint64_t k)
{
	uint8_t entry[8];
	be64_put(entry, q->reftable[k]);
	return file_write(q->file, entry, 8, q->reftable_offset + 8 * k);
}

/* Invariant 5. */
static void used_up_to(struct qcow2 *q, uint64_t cluster)
{
	q->virgin = MAX(q->virgin, cluster << q->cluster_bits);
}

/* A larger refcount table, with blocks for itself, behind all that is covered. */
static int grow_reftable(struct qcow2 *q, uint64_t k)
{
	uint64_t per = q->refs_per_block, per_cluster = q->cluster_size / 8;
	uint64_t entries = ALIGN_UP(MAX(k + 4, 2 * q->reftable_entries), per_cluster);
	uint64_t clusters = entries / per_cluster, blocks = 1;
	while (blocks * per < clusters + blocks)
		blocks++;
	uint64_t start = k * per, old_offset = q->reftable_offset, old_clusters = q->reftable_entries / per_cluster;
	if (entries * 8 > REFTABLE_MAX_BYTES || start > CLUSTERS_MAX)
		return -EFBIG;
	if (place_is_fixed(q, start << q->cluster_bits, (blocks + clusters) << q->cluster_bits))
		return -EIO;          /* a damaged image */
	auto_free uint8_t *block = xmalloc(q->cluster_size);
	auto_free uint8_t *raw = calloc(entries, 8);            /* up to 64 MiB: it may fail */
	uint64_t *table = raw ? calloc(entries, sizeof(*table)) : NULL;
	if (!table)
		return -ENOMEM;
	memcpy(table, q->reftable, q->reftable_entries * sizeof(*table));
	int r = 0;
	for (uint64_t b = 0; b < blocks && !r; b++) {
		memset(block, 0, q->cluster_size);
		for (uint64_t i = 0; i < per && b * per + i < clusters + blocks; i++)
			ref_store(q, block, i, 1);
		table[k + b] = (start + b) << q->cluster_bits;
		r = file_write(q->file, block, q->cluster_size, table[k + b]);
	}
	for (uint64_t i = 0; i < entries; i++)
		be64_put(raw + 8 * i, table[i]);
	uint64_t offset = (start + blocks) << q->cluster_bits;
	uint8_t header[12];
	be64_put(header, offset);
	be32_put(header + 8, (uint32_t)clusters);
	r = r ? r : file_write(q->file, raw, entries * 8, offset);
	if (r) {
		free(table);
		return metadata_unwritten(q, r);      /* nothing refers to it */
	}
	if ((r = q->file->ops->sync(q->file))) {
		free(table);
		return metadata_failed(q, r);
	}
	if ((r = file_write(q->file, header, sizeof(header), 48))) {
		free(table);
		return metadata_unwritten(q, r);
	}
	if ((r = q->file->ops->sync(q->file))) {
		free(table);
		return metadata_failed(q, r);
	}
	used_up_to(q, start + blocks + clusters);
	free(q->reftable);
	q->reftable = table;
	q->reftable_entries = entries;
	q->reftable_offset = offset;
	for (uint64_t i = 0; i < old_clusters && !r; i++)
		r = refcount_add(q, (old_offset >> q->cluster_bits) + i, -1);
	return r;
}

/* The block that counts `cluster`; *t is NULL if there is none and none is wanted. */
static int block_get(struct qcow2 *q, uint64_t cluster, bool make, struct table **t)
{
	uint64_t k = cluster / q->refs_per_block;
	*t = NULL;
	if (cluster > CLUSTERS_MAX)
		return -EFBIG;
	if (k >= q->reftable_entries) {
		int r = make ? grow_reftable(q, k) : 0;
		if (!make || r)
			return r;
	}
	if (q->reftable[k])
		return table_get(q, q->reftable[k], TABLE_REFCOUNT, false, t);
	if (!make)
		return 0;
	uint64_t offset = (k * q->refs_per_block) << q->cluster_bits;
	int r = place_is_fixed(q, offset, q->cluster_size) ? -EIO : table_get(q, offset, TABLE_REFCOUNT, true, t);
	if (r)
		return r;
	ref_store(q, (*t)->data, 0, 1);
	used_up_to(q, k * q->refs_per_block + 1);
	/* invariant 2: the block, then the table's entry */
	if ((r = file_write(q->file, (*t)->data, q->cluster_size, offset))) {
		table_forget(q, offset);
		return metadata_unwritten(q, r);
	}
	if ((r = q->file->ops->sync(q->file)))
		return metadata_failed(q, r);
	q->reftable[k] = offset;
	if ((r = write_reftable_entry(q, k))) {
		q->reftable[k] = 0;
		table_forget(q, offset);
		return metadata_unwritten(q, r);
	}
	return 0;
}

int refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
	struct table *t;
	int r = block_get(q, cluster, false, &t);
	*count = !r && t ? ref_load(q, t->data, cluster % q->refs_per_block) : 0;
	return r;
}

int refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	struct table *t;
	int r = block_get(q, cluster, true, &t);
	if (r)
		return r;
	ref_store(q, t->data, cluster % q->refs_per_block, count);
	t->dirty = true;
	return 0;
}

int refcount_add(struct qcow2 *q, uint64_t cluster, int delta)
{
	uint64_t count;
	int r = refcount_get(q, cluster, &count);
	if (r)
		return r;
	if ((delta < 0 && !count) || (delta > 0 && count == refcount_max(q)))
		return -EIO;          /* a damaged image */
	if (delta < 0 && count == 1)
		q->next_free = MIN(q->next_free, cluster);
	return refcount_set(q, cluster, count + (uint64_t)(int64_t)delta);
}

/* The first count from the i-th on that is 0; n: there is none. Disks have millions of clusters in use: those
 * of the usual width are looked at in fours. */
static uint64_t ref_find_free(const struct qcow2 *q, const uint8_t *b, uint64_t i, uint64_t n)
{
	for (uint64_t v; q->refcount_bits_log == 4 && i + 4 <= n; i += 4) {
		memcpy(&v, b + 2 * i, sizeof(v));
		if ((v - 0x0001000100010001u) & ~v & 0x8000800080008000u)
			break;
	}
	while (i < n && ref_load(q, b, i))
		i++;
	return i;
}

/* The first free cluster from next_free on, and its block: made where it is missing, which may take the very cluster. */
static int find_free(struct qcow2 *q, uint64_t *cluster, struct table **t)
{
	uint64_t per = q->refs_per_block, block = q->next_free / per, in = q->next_free % per;
	for (;; block++, in = 0) {
		int r = block_get(q, block * per + in, true, t);
		if (r)
			return r;
		in = ref_find_free(q, (*t)->data, in, per);
		if (in == per)
			continue;
		*cluster = block * per + in;
		return 0;
	}
}

/* A count of 0 is not believed where something is known to be: a guest's data would go there. */
static bool may_be_free(struct qcow2 *q, uint64_t cluster)
{
	uint64_t offset = cluster << q->cluster_bits;
	return !place_is_fixed(q, offset, q->cluster_size) && !table_is_at(q, offset);
}

/* Within one block: the next one may have to be made. */
int clusters_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got)
{
	struct table *t;
	uint64_t c, n = 0;
	int r = find_free(q, &c, &t);
	if (r)
		return r;
	uint64_t in = c % q->refs_per_block, most = MIN(want, q->refs_per_block - in);
	for (; n < most && !ref_load(q, t->data, in + n) && may_be_free(q, c + n); n++)
		ref_store(q, t->data, in + n, 1);
	if (!n)
		return -EIO;          /* a damaged image */
	t->dirty = true;
	q->next_free = c + n;
	used_up_to(q, c + n);
	*offset = c << q->cluster_bits;
	*got = n;
	return 0;
}

/* More than one block counts: behind all that is covered, blocks of their own first. */
static int alloc_far(struct qcow2 *q, uint64_t want, uint64_t *offset)
{
	uint64_t per = q->refs_per_block, blocks = 1, k;
	int r = 0;
	while (blocks * per < want + blocks)
		blocks++;
	for (;;) {
		for (k = q->reftable_entries; k && !q->reftable[k - 1]; k--) { }
		if (k + blocks <= q->reftable_entries)
			break;
		if ((r = grow_reftable(q, MAX(k + blocks, q->reftable_entries))))
			return r;
	}
	if (place_is_fixed(q, (k * per) << q->cluster_bits, (blocks + want) << q->cluster_bits))
		return -EIO;          /* a damaged image */
	auto_free uint8_t *block = xmalloc(q->cluster_size);
	for (uint64_t b = 0; b < blocks && !r; b++) {
		memset(block, 0, q->cluster_size);
		for (uint64_t i = 0; i < per && b * per + i < want + blocks; i++)
			ref_store(q, block, i, 1);
		r = file_write(q->file, block, q->cluster_size, (k * per + b) << q->cluster_bits);
	}
	if (r)
		return r;             /* nothing refers to them */
	r = q->file->ops->sync(q->file);
	for (uint64_t b = 0; b < blocks && !r; b++) {
		q->reftable[k + b] = (k * per + b) << q->cluster_bits;
		r = write_reftable_entry(q, k + b);
	}
	used_up_to(q, k * per + blocks + want);
	*offset = (k * per + blocks) << q->cluster_bits;
	return metadata_failed(q, r);
}

int clusters_alloc_run(struct qcow2 *q, uint64_t bytes, uint64_t *offset)
{
	uint64_t want = (bytes + q->cluster_size - 1) >> q->cluster_bits, got = 0;
	if (want >= q->refs_per_block / 2)
		return alloc_far(q, want, offset);
	while (got < want) {          /* shorter runs go back */
		int r = clusters_alloc(q, want, offset, &got);
		if (r)
			return r;
		for (uint64_t i = 0; got < want && i < got; i++)
			cluster_free_later(q, *offset + (i << q->cluster_bits));
	}
	return 0;
}

/* Nor is a last reference where something else is known to be: it would become a hole. */
static bool may_become_free(struct qcow2 *q, uint64_t cluster)
{
	uint64_t offset = cluster << q->cluster_bits;
	return !place_is_fixed(q, offset, q->cluster_size) && !table_peek(q, offset, TABLE_REFCOUNT);
}

/* Those of one block at a time. */
int refcount_run(struct qcow2 *q, uint64_t first, uint64_t n, int delta)
{
	uint64_t end = first + n, c = first;
	int r = 0;
	while (c < end && !r) {
		struct table *t;
		uint64_t stop = MIN(end, ALIGN_DOWN(c, q->refs_per_block) + q->refs_per_block);
		r = block_get(q, c, false, &t);
		r = r || t ? r : -EIO;
		for (; c < stop && !r; c++) {
			uint64_t count = ref_load(q, t->data, c % q->refs_per_block);
			bool last = delta < 0 && count == 1;
			if (!count || (delta > 0 && count == refcount_max(q)) || (last && !may_become_free(q, c))) {
				r = -EIO;             /* a damaged image */
				break;
			}
			if (last) {
				table_forget(q, c << q->cluster_bits);
				becomes_hole(q, c);
				continue;
			}
			ref_store(q, t->data, c % q->refs_per_block, count + (uint64_t)(int64_t)delta);
			t->dirty = true;
		}
	}
	if (r && delta > 0 && c > first)
		refcount_run(q, first, c - first, -delta);
	return r;
}
