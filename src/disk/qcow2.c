/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 (QEMU's docs/interop/qcow2.txt), versions 2 and 3: opening, making,
 * resizing, closing.  Images are hostile.
 *
 * Invariants, at every moment of a power cut that drops or reorders any writes
 * since the last fdatasync of the file:
 *   1 the refcount of a cluster on disk is at least the number of references to
 *     it on disk: counts go up before references are written, and go down after
 *     they are gone
 *   2 what a reference on disk leads to (data, an L2 table, a refcount block) was
 *     complete on disk before the reference was
 *   3 the dirty bit (version 3) is on disk before the first other change of a
 *     session, and goes only with everything else in place: a crash leaks
 *     clusters at worst, and the next opening for writing takes them back
 *   4 a cluster is used again only when no reference on disk and no transfer in
 *     progress can reach it any more
 *   5 beyond `virgin` the file has never been written: new clusters there are zero
 * Metadata changes stay in memory until a flush, an eviction or the end: then
 * qcow2_table.c writes counts, syncs, writes L2 tables, syncs, writes L1: from copies, and a
 * flush lets go of the lock while the disk works.
 */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdio.h>

enum { HEADER_V2 = 72, HEADER_V3 = 104, BACKING_MAX = 1023, TABLES_BYTES = 4 << 20 };
enum { EXT_END = 0 };
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_FEATURE_NAMES 0x6803f857u

struct opening { struct qcow2 *q; uint8_t *head; uint64_t head_len; struct error *err; };

static bool refuse(const struct opening *o, const char *why)
{
	return error_set(o->err, 0, "disk '%s' is a damaged qcow2 image: %s", o->q->image->path, why);
}

/* A name for an incompatible feature, out of the image's own table if it has one. */
static bool refuse_feature(const struct opening *o, unsigned bit, uint64_t names, uint64_t names_len)
{
	static const char *const known[] = { "dirty", "corrupt: repair it with qemu-img check", "external data file",
					     "zstd compression", "extended L2 entries" };
	char name[47] = "";
	for (uint64_t at = 0; at + 48 <= names_len; at += 48)
		if (!o->head[names + at] && o->head[names + at + 1] == bit)
			snprintf(name, sizeof(name), "%.46s", (const char *)o->head + names + at + 2);
	for (char *p = name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return error_set(o->err, 0, "disk '%s' uses a qcow2 feature that this version does not have: %s (bit %u)",
			 o->q->image->path, bit < ARRAY_SIZE(known) ? known[bit] : name[0] ? name : "unnamed", bit);
}

static bool check_features(const struct opening *o, uint64_t names, uint64_t names_len)
{
	struct qcow2 *q = o->q;
	uint64_t unknown = q->incompatible & ~(uint64_t)(INCOMPAT_DIRTY | INCOMPAT_COMPRESSION | INCOMPAT_EXTERNAL);
	unsigned compression = q->version == 3 && q->header_length > HEADER_V3 ? o->head[HEADER_V3] : 0;
	if (!(q->incompatible & INCOMPAT_COMPRESSION) != !compression)
		return refuse(o, "its compression type contradicts its feature bits");
	if (compression > 1)
		return refuse(o, "its compression type is neither zlib nor zstd");
	q->zstd = compression == 1;
	q->external = q->incompatible & INCOMPAT_EXTERNAL;
	if (q->external && (!q->image->data_name || q->nb_snapshots))
		return refuse(o, "it has no name of its external data file, or snapshots beside one");
	return !unknown || refuse_feature(o, (unsigned)__builtin_ctzll(unknown), names, names_len);
}

static void take_bitmaps(struct qcow2 *q, const uint8_t *p, uint32_t len, uint64_t at)
{
	if (len == 24)
		q->bitmaps_at = at;
	if (len < 24 || !(q->autoclear & 1))
		return;
	q->nb_bitmaps = be32_get(p);
	q->bitmaps_size = be64_get(p + 8);
	q->bitmaps_offset = be64_get(p + 16);
}

static bool read_extensions(struct opening *o)
{
	uint64_t at = o->q->header_length, names = 0, names_len = 0;
	while (at + 8 <= o->head_len) {
		o->q->extensions_end = at;
		uint32_t type = be32_get(o->head + at), len = be32_get(o->head + at + 4);
		at += 8;
		if (type == EXT_END)
			break;
		if (len > o->head_len - at)
			return refuse(o, "a header extension is longer than the header");
		if (type == EXT_BACKING_FORMAT && len < 32)
			o->q->image->backing_format = xasprintf("%.*s", (int)len, (const char *)o->head + at);
		if (type == EXT_DATA_FILE && !o->q->image->data_name && len && len <= BACKING_MAX && !memchr(o->head + at, 0, len))
			o->q->image->data_name = xasprintf("%.*s", (int)len, (const char *)o->head + at);
		if (type == EXT_FEATURE_NAMES) {
			names = at;
			names_len = len;
		}
		if (type == EXT_BITMAPS)
			take_bitmaps(o->q, o->head + at, len, at);
		at += ALIGN_UP((uint64_t)len, 8);
	}
	return check_features(o, names, names_len);
}

static bool read_backing_name(struct opening *o)
{
	uint64_t at = be64_get(o->head + 8);
	uint32_t len = be32_get(o->head + 16);
	if (!at)
		return true;
	if (len > BACKING_MAX || at > o->head_len || len > o->head_len - at || memchr(o->head + at, 0, len))
		return refuse(o, "the name of its backing file is not inside the header");
	o->q->image->backing_name = xasprintf("%.*s", (int)len, (const char *)o->head + at);
	return true;
}

static bool parse_numbers(struct opening *o)
{
	struct qcow2 *q = o->q;
	const uint8_t *h = o->head;
	q->version = be32_get(h + 4);
	q->cluster_bits = be32_get(h + 20);
	q->image->size = be64_get(h + 24);
	q->l1_size = be32_get(h + 36);
	q->l1_offset = be64_get(h + 40);
	q->reftable_offset = be64_get(h + 48);
	q->nb_snapshots = be32_get(h + 60);
	q->snapshots_offset = be64_get(h + 64);
	q->header_length = HEADER_V2;
	q->refcount_bits_log = 4;
	if (q->version != 2 && q->version != 3)
		return error_set(o->err, 0, "disk '%s' is qcow2 of version %u; versions 2 and 3 are known",
				 q->image->path, q->version);
	if (q->version == 3) {
		q->incompatible = be64_get(h + 72);
		q->autoclear = be64_get(h + 88);
		q->refcount_bits_log = be32_get(h + 96);
		q->header_length = be32_get(h + 100);
	}
	if (be32_get(h + 32))
		return error_set(o->err, 0, "disk '%s' is encrypted: that is not supported", q->image->path);
	if (q->cluster_bits < 9 || q->cluster_bits > 21 || q->refcount_bits_log > 6)
		return refuse(o, "its cluster or refcount size is impossible");
	q->cluster_size = 1ull << q->cluster_bits;
	q->l2_entries = q->cluster_size / 8;
	q->refs_per_block = q->cluster_size * 8 >> q->refcount_bits_log;
	q->reftable_entries = ((uint64_t)be32_get(h + 56) << q->cluster_bits) / 8;
	return true;
}

static bool check_numbers(const struct opening *o)
{
	const struct qcow2 *q = o->q;
	uint64_t file = q->file->ops->size(q->file), mask = q->cluster_size - 1;
	uint64_t l1_bytes = 8ull * q->l1_size, ref_bytes = 8 * q->reftable_entries;
	if (q->header_length < (q->version == 3 ? HEADER_V3 : HEADER_V2) || q->header_length > q->cluster_size)
		return refuse(o, "its header has an impossible length");
	if (q->image->size > INT64_MAX || l1_bytes > L1_MAX_BYTES || !q->reftable_entries ||
	    ref_bytes > REFTABLE_MAX_BYTES)
		return refuse(o, "its tables have impossible sizes");
	if (q->l1_size < (q->image->size + (q->l2_entries << q->cluster_bits) - 1) / (q->l2_entries << q->cluster_bits))
		return refuse(o, "its L1 table is too small for its size");
	if (q->l1_offset & mask || q->reftable_offset & mask || q->reftable_offset < q->cluster_size ||
	    (q->l1_size && q->l1_offset < q->cluster_size))
		return refuse(o, "its tables lie at impossible places");
	if (q->l1_offset > file || l1_bytes > file - q->l1_offset || q->reftable_offset > file ||
	    ref_bytes > ALIGN_UP(file, q->cluster_size) - q->reftable_offset)
		return refuse(o, "its tables lie beyond the end of the file");
	return true;
}

static uint64_t *read_table(struct opening *o, uint64_t offset, uint64_t entries)
{
	uint64_t *t = calloc(entries + 1, sizeof(*t));          /* not xcalloc: the file decides */
	int r = t ? file_read(o->q->file, t, entries * 8, offset) : -ENOMEM;
	if (r) {
		free(t);
		return error_null(o->err, -r, "cannot read the tables of disk '%s'", o->q->image->path);
	}
	for (uint64_t i = 0; i < entries; i++)
		t[i] = be64toh(t[i]);
	return t;
}

static bool load(struct opening *o)
{
	struct qcow2 *q = o->q;
	uint8_t first[HEADER_V3];
	int r = file_read(q->file, first, sizeof(first), 0);
	o->head = first;
	if (r || memcmp(first, "QFI\xfb", 4))
		return error_set(o->err, -r, "disk '%s' is not a qcow2 image", q->image->path);
	if (!parse_numbers(o) || !check_numbers(o))
		return false;
	auto_free uint8_t *cluster = xmalloc(q->cluster_size);
	o->head = cluster;
	o->head_len = q->cluster_size;
	if ((r = file_read(q->file, cluster, q->cluster_size, 0)))
		return error_set(o->err, -r, "cannot read the header of disk '%s'", q->image->path);
	if (!read_extensions(o) || !read_backing_name(o))
		return false;
	q->l1 = read_table(o, q->l1_offset, q->l1_size);
	q->reftable = q->l1 ? read_table(o, q->reftable_offset, q->reftable_entries) : NULL;
	q->l1_dirty = xcalloc(q->l1_size / 64 + 1, sizeof(bool));
	for (uint64_t i = 0; q->reftable && i < q->reftable_entries; i++)
		q->reftable[i] &= ~511ull;
	return q->reftable != NULL;
}

static void release(struct qcow2 *q)
{
	tables_free(q);
	bitmaps_free(q);
	free(q->l1);
	free(q->l1_dirty);
	free(q->reftable);
	free(q->freed.at);
	free(q->gone.at);
	free(q->holes.at);
	free(q->later.at);
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->changed);
	free(q);
}

/* Left dirty by a crash: take back what leaked before anything is written. */
static bool recover(struct image *i, struct error *err)
{
	struct image_check found;
	struct qcow2 *q = i->format;
	if (i->readonly || !(q->incompatible & INCOMPAT_DIRTY))
		return true;
	q->marked_dirty = true;
	return qcow2_check(i, true, &found, err);
}

static bool qcow2_open(struct image *i, struct error *err)
{
	struct qcow2 *q = i->format = xnew(struct qcow2);
	struct opening o = { .q = q, .err = err };
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	q->image = i;
	q->file = i->file;
	bool ok = load(&o);
	q->virgin = q->file->ops->size(q->file);
	if (ok)
		q->tables_max = q->tables_usual = (unsigned)MIN(TABLES_BYTES / q->cluster_size + 8, 512ull);
	if (ok)
		bitmaps_load(q);
	if (ok && recover(i, err))
		return true;
	release(q);
	return false;
}

/* Invariant 3: the dirty bit goes last. */
static void qcow2_close(struct image *i)
{
	struct qcow2 *q = i->format;
	uint8_t features[8];
	qcow2_snapshot_cancel(i);
	int r = i->readonly || !q->marked_dirty ? -EROFS : qcow2_flush(i);
	pthread_mutex_lock(&q->lock);
	if (!r)
		r = holes_close(q);
	if (!r)
		r = bitmaps_store(q);
	if (!r)
		r = metadata_flush(q);
	if (!r)
		r = metadata_sync(q);
	if (!r && !q->leaks && q->incompatible & INCOMPAT_DIRTY) {
		be64_put(features, q->incompatible & ~(uint64_t)INCOMPAT_DIRTY);
		if (!file_write(q->file, features, 8, 72))
			q->file->ops->sync(q->file);
	}
	pthread_mutex_unlock(&q->lock);
	release(q);
}

/* --- making and growing --------------------------------------------------- */

struct layout { uint64_t cluster, ref_clusters, blocks, l1_clusters, total, l1_size; };

static bool plan(const struct qcow2_create *c, struct layout *l, struct error *err)
{
	uint64_t cs = l->cluster = 1ull << c->cluster_bits, per_l1 = cs / 8 * cs, per_block = cs / 2;
	if (c->cluster_bits < 9 || c->cluster_bits > 21)
		return error_set(err, 0, "the cluster size is a power of two from 512 to 2M");
	l->l1_size = MAX((c->size + per_l1 - 1) / per_l1, 1ull);
	l->l1_clusters = (l->l1_size * 8 + cs - 1) / cs;
	if (l->l1_size * 8 > L1_MAX_BYTES)
		return error_set(err, 0, "a disk this large needs a larger cluster size");
	/* a refcount table for all that the image can ever hold, data and tables */
	uint64_t clusters = c->size / cs + c->size / cs / (cs / 8) + l->l1_clusters + 64;
	uint64_t entries = clusters / per_block + 2;
	l->ref_clusters = MIN((entries * 8 + cs - 1) / cs, 64ull);
	l->blocks = 1;
	do
		l->total = 1 + l->ref_clusters + l->blocks + l->l1_clusters;
	while (l->blocks * per_block < l->total && l->blocks++);
	return true;
}

static uint8_t *make_header(const struct qcow2_create *c, const struct layout *l)
{
	uint8_t *h = xcalloc(1, l->cluster);
	uint64_t end = c->version == 3 ? HEADER_V3 + 8 * c->zstd : HEADER_V2;
	memcpy(h, "QFI\xfb", 4);
	be32_put(h + 4, c->version);
	be32_put(h + 20, c->cluster_bits);
	be64_put(h + 24, c->size);
	be32_put(h + 36, (uint32_t)l->l1_size);
	be64_put(h + 40, (1 + l->ref_clusters + l->blocks) << c->cluster_bits);
	be64_put(h + 48, l->cluster);
	be32_put(h + 56, (uint32_t)l->ref_clusters);
	be32_put(h + 96, c->version == 3 ? 4 : 0);
	be32_put(h + 100, c->version == 3 ? (uint32_t)end : 0);
	if (c->lazy_refcounts && c->version == 3)
		be64_put(h + 80, 1);
	if (c->zstd) {
		be64_put(h + 72, INCOMPAT_COMPRESSION);
		h[HEADER_V3] = 1;
	}
	if (c->backing && c->backing_format) {
		be32_put(h + end, EXT_BACKING_FORMAT);
		be32_put(h + end + 4, (uint32_t)strlen(c->backing_format));
		memcpy(h + end + 8, c->backing_format, strlen(c->backing_format));
		end += 8 + ALIGN_UP(strlen(c->backing_format), 8);
	}
	if (c->data_file) {
		be64_put(h + 72, be64_get(h + 72) | INCOMPAT_EXTERNAL);
		be64_put(h + 88, c->data_raw ? 2 : 0);
		be32_put(h + end, EXT_DATA_FILE);
		be32_put(h + end + 4, (uint32_t)strlen(c->data_file));
		memcpy(h + end + 8, c->data_file, strlen(c->data_file));
		end += 8 + ALIGN_UP(strlen(c->data_file), 8);
	}
	end += 8;                     /* the end of the extensions */
	if (c->backing) {
		be64_put(h + 8, end);
		be32_put(h + 16, (uint32_t)strlen(c->backing));
		memcpy(h + end, c->backing, strlen(c->backing));
	}
	return h;
}

static int write_counts(struct image_file *f, const struct layout *l, const struct qcow2_create *c)
{
	auto_free uint8_t *table = xcalloc(1, l->cluster), *block = xmalloc(l->cluster);
	int r = 0;
	for (uint64_t b = 0; b < l->blocks && !r; b++) {
		uint64_t at = (1 + l->ref_clusters + b) << c->cluster_bits;
		be64_put(table + 8 * b, at);
		memset(block, 0, l->cluster);
		for (uint64_t i = 0; i < l->cluster / 2 && b * l->cluster / 2 + i < l->total; i++)
			be16_put(block + 2 * i, 1);
		r = file_write(f, block, l->cluster, at);
	}
	return r ? r : file_write(f, table, l->cluster, l->cluster);
}

bool qcow2_create(struct image_file *f, const struct qcow2_create *c, struct error *err)
{
	struct layout l = { 0 };
	if (!plan(c, &l, err))
		return false;
	if (c->zstd && c->version < 3)
		return error_set(err, 0, "zstd compression needs version 3");
	if (c->data_file && (c->version < 3 || c->backing || c->zstd || strlen(c->data_file) + 200 > l.cluster))
		return error_set(err, 0, "a data file goes with version 3, without backing file and zstd, and its name must fit");
	if (c->backing && (strlen(c->backing) > BACKING_MAX || strlen(c->backing) + 200 > l.cluster))
		return error_set(err, 0, "the name of the backing file is too long");
	auto_free uint8_t *header = make_header(c, &l);
	int r = f->ops->truncate(f, 0);
	if (!r)
		r = f->ops->truncate(f, l.total << c->cluster_bits);
	if (!r)
		r = write_counts(f, &l, c);
	if (!r)
		r = f->ops->sync(f);
	if (!r)
		r = file_write(f, header, l.cluster, 0);
	if (!r)
		r = f->ops->sync(f);
	return !r || error_set(err, -r, "cannot write the new image");
}

/* A larger L1 table, at a new place; then one write of the header's fields. */
static int grow_l1(struct qcow2 *q, uint64_t size, uint32_t entries)
{
	uint64_t offset, bytes = entries * 8ull;
	auto_free uint8_t *raw = xcalloc(1, bytes);
	int r = clusters_alloc_run(q, bytes, &offset);
	if (r)
		return r;
	for (uint32_t i = 0; i < q->l1_size; i++)
		be64_put(raw + 8ull * i, l1_on_disk(q, i));
	uint8_t h[24];
	if ((r = file_write(q->file, raw, bytes, offset)) || (r = metadata_sync(q)) ||
	    (r = file_read(q->file, h, sizeof(h), 24)))
		return r;
	be64_put(h, size);
	be32_put(h + 12, entries);
	be64_put(h + 16, offset);
	if ((r = file_write(q->file, h, sizeof(h), 24)) || (r = q->file->ops->sync(q->file)))
		return r;
	for (uint64_t i = 0; i < q->l1_size * 8ull; i += q->cluster_size)
		cluster_free_later(q, q->l1_offset + i);
	q->l1 = xrealloc(q->l1, (entries + 1ull) * 8);
	memset(q->l1 + q->l1_size, 0, (entries - q->l1_size) * 8ull);
	free(q->l1_dirty);
	q->l1_dirty = xcalloc(entries / 64 + 1, sizeof(bool));
	q->l1_size = entries;
	q->l1_offset = offset;
	return 0;
}

uint64_t qcow2_cluster_size(const struct image *i)
{
	const struct qcow2 *q = i->format;
	return q->cluster_size;
}

bool qcow2_is_empty(const struct image *i)
{
	const struct qcow2 *q = i->format;
	for (uint32_t k = 0; k < q->l1_size; k++)
		if (q->l1[k])
			return false;
	return true;
}

static bool qcow2_resize(struct image *i, uint64_t size, struct error *err)
{
	struct qcow2 *q = i->format;
	uint64_t per_l1 = q->l2_entries << q->cluster_bits, entries = (size + per_l1 - 1) / per_l1;
	if (size < i->size)
		return error_set(err, 0, "disk '%s' cannot be made smaller: convert it to a new one", i->path);
	if (entries * 8 > L1_MAX_BYTES)
		return error_set(err, 0, "a disk this large needs a larger cluster size");
	if (q->nb_snapshots && q->version == 2)
		return error_set(err, 0, "disk '%s' has snapshots that would lose their size: convert it first", i->path);
	pthread_mutex_lock(&q->lock);
	int r = mark_dirty(q);
	if (!r)
		r = metadata_sync(q);
	if (!r && entries > q->l1_size) {
		r = grow_l1(q, size, (uint32_t)entries);
	} else if (!r) {
		uint8_t field[8];
		be64_put(field, size);
		r = file_write(q->file, field, 8, 24);
	}
	if (!r && q->external)
		r = i->data ? i->data->ops->truncate(i->data, size) : -EIO;
	if (!r) {
		i->size = size;
		bitmaps_resize(q, false);
	}
	pthread_mutex_unlock(&q->lock);
	if (!r) {
		r = qcow2_flush(i);
	}
	return !r || error_set(err, -r, "cannot resize disk '%s'", i->path);
}

const struct image_ops image_qcow2 = {
	.format = "qcow2", .open = qcow2_open, .read = qcow2_read, .write = qcow2_write, .zero = qcow2_zero,
	.flush = qcow2_flush, .map = qcow2_map, .direct = qcow2_direct, .landed = qcow2_landed, .resize = qcow2_resize,
	.tidy = qcow2_tidy, .close = qcow2_close,
};
