/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: internal snapshots.  A snapshot is an L1 table of its own over shared
 * clusters; what is shared has a count above 1 and no COPIED mark, so that the next
 * write to it goes elsewhere.
 *
 * Each change has one moment at which it happens: a write within the header's first
 * sector (where the snapshot table lies; for a restore: where the active L1 table
 * lies).  Counts go up and marks go away before it, counts go down after it, each
 * side durable: a power cut leaks clusters at worst (invariant 1).
 *
 * One is made beside the guest (qcow2_take.c).  A deletion goes on beside it: it gives way
 * often, and flushes often, without the lock.  While one is restored the image is frozen:
 * transfers end, no new ones begin.
 */
#include "disk/pace.h"
#include "disk/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { ENTRY = 40, EXTRA_MAX = 1024, TABLE_MAX = 64 << 20, SNAPSHOTS_MAX = 65536 };

struct snap { uint8_t *raw; uint32_t len; };           /* an entry as it stands in the table */
struct snaps { struct snap *s; uint32_t n; };

static uint32_t name_at(const uint8_t *e) { return ENTRY + be32_get(e + 36) + be16_get(e + 12); }

static bool word_is(const uint8_t *p, uint32_t n, const char *word)
{
	return strlen(word) == n && !memcmp(p, word, n);
}

/* By name; if none has it, by id. */
static struct snap *find(const struct snaps *all, const char *name)
{
	for (uint32_t i = 0; i < all->n; i++)
		if (word_is(all->s[i].raw + name_at(all->s[i].raw), be16_get(all->s[i].raw + 14), name))
			return &all->s[i];
	for (uint32_t i = 0; i < all->n; i++)
		if (word_is(all->s[i].raw + ENTRY + be32_get(all->s[i].raw + 36), be16_get(all->s[i].raw + 12), name))
			return &all->s[i];
	return NULL;
}

static void snaps_free(struct snaps *all)
{
	for (uint32_t i = 0; i < all->n; i++)
		free(all->s[i].raw);
	free(all->s);
}

/* One entry at `at`: its length, padding included, or 0 if it is damaged. */
static uint64_t load_one(struct qcow2 *q, uint64_t at, struct snap *s)
{
	uint8_t h[ENTRY];
	uint64_t file = q->file->ops->size(q->file);
	if (at > file || file_read(q->file, h, ENTRY, at) || be32_get(h + 36) > EXTRA_MAX)
		return 0;
	uint64_t len = name_at(h) + be16_get(h + 14), l1_bytes = 8ull * be32_get(h + 8), l1 = be64_get(h);
	if (l1_bytes > L1_MAX_BYTES || l1 & (q->cluster_size - 1) || l1 > file || l1_bytes > file - l1 ||
	    (l1_bytes && l1 < q->cluster_size))
		return 0;
	s->raw = xcalloc(1, ALIGN_UP(len, 8));
	s->len = (uint32_t)len;
	return file_read(q->file, s->raw, len, at) ? 0 : ALIGN_UP(len, 8);
}

static int load_all(struct qcow2 *q, struct snaps *all)
{
	uint64_t at = q->snapshots_offset;
	*all = (struct snaps){ 0 };
	if (q->nb_snapshots > SNAPSHOTS_MAX)
		return -EIO;
	for (uint32_t i = 0; i < q->nb_snapshots; i++) {
		all->s = xrealloc(all->s, (i + 1) * sizeof(*all->s));
		all->s[i] = (struct snap){ 0 };
		all->n = i + 1;
		uint64_t len = load_one(q, at, &all->s[i]);
		if (!len || (at += len) - q->snapshots_offset > TABLE_MAX) {
			snaps_free(all);
			*all = (struct snaps){ 0 };
			return -EIO;
		}
	}
	return 0;
}

static uint64_t table_bytes(const struct snaps *all)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < all->n; i++)
		n += ALIGN_UP((uint64_t)all->s[i].len, 8);
	return n;
}

static void free_range_later(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += q->cluster_size)
		cluster_free_later(q, offset + i);
}

/* The new table in a place of its own, then the header: the moment of create and delete. Lets go of the lock. */
static int store_all(struct qcow2 *q, const struct snaps *all, uint64_t old_bytes)
{
	uint64_t bytes = table_bytes(all), offset = 0, old = q->snapshots_offset, at = 0;
	uint8_t header[12];
	auto_free uint8_t *raw = xcalloc(1, bytes + 1);
	for (uint32_t i = 0; i < all->n; i++) {
		memcpy(raw + at, all->s[i].raw, all->s[i].len);
		at += ALIGN_UP((uint64_t)all->s[i].len, 8);
	}
	int r = bytes ? clusters_alloc_run(q, bytes, &offset) : 0;
	if (r || (bytes && (r = file_write(q->file, raw, bytes, offset))) || (r = metadata_flush(q))) {
		free_range_later(q, offset, offset ? bytes : 0);
		return r;
	}
	be32_put(header, all->n);
	be64_put(header + 4, offset);
	if ((r = file_write(q->file, header, sizeof(header), 60))) {
		free_range_later(q, offset, offset ? bytes : 0);
		return metadata_unwritten(q, r);
	}
	pthread_mutex_unlock(&q->lock);
	r = q->file->ops->sync(q->file);
	pthread_mutex_lock(&q->lock);
	if (r)
		return metadata_failed(q, r);
	q->nb_snapshots = all->n;
	q->snapshots_offset = offset;
	free_range_later(q, old, old_bytes);
	return 0;
}

/* --- the L1 table of a snapshot --------------------------------------------- */

static uint64_t l1_bytes(uint32_t size) { return 8 * MAX((uint64_t)size, 1ull); }

static int l1_write(struct qcow2 *q, const uint64_t *l1, uint32_t size, uint64_t *offset)
{
	auto_free uint8_t *raw = xcalloc(size + 1ull, 8);
	for (uint32_t i = 0; i < size; i++)
		be64_put(raw + 8ull * i, l1[i] & ~L2_COPIED);
	int r = clusters_alloc_run(q, l1_bytes(size), offset);
	if (!r && (r = file_write(q->file, raw, l1_bytes(size), *offset)))
		free_range_later(q, *offset, l1_bytes(size));
	return r;
}

static int l1_read(struct qcow2 *q, const uint8_t *entry, uint64_t **l1)
{
	uint32_t size = be32_get(entry + 8);
	*l1 = xcalloc(size + 1ull, 8);
	int r = file_read(q->file, *l1, 8ull * size, be64_get(entry));
	for (uint32_t i = 0; i < size; i++)
		(*l1)[i] = be64toh((*l1)[i]);
	return r;
}

/* The size of the disk when it was taken: in the extra data, else today's. */
static uint64_t entry_size(const struct qcow2 *q, const uint8_t *e)
{
	return be32_get(e + 36) >= 16 ? be64_get(e + ENTRY + 8) : q->image->size;
}

static bool size_fits(const struct qcow2 *q, uint64_t size, uint32_t l1_size)
{
	uint64_t per = q->l2_entries << q->cluster_bits;
	return size <= INT64_MAX && (size + per - 1) / per <= l1_size;
}

/* --- one at a time --------------------------------------------------------------- */

void alter_begin(struct qcow2 *q)
{
	while (q->altering)
		pthread_cond_wait(&q->changed, &q->lock);
	q->altering = true;
}

void alter_end(struct qcow2 *q)
{
	q->altering = false;
	pthread_cond_broadcast(&q->changed);
}

/* requires: q->lock, q->altering */
static void freeze(struct qcow2 *q)
{
	q->frozen = true;
	while (q->active[0] || q->active[1])
		pthread_cond_wait(&q->changed, &q->lock);
}

static void thaw(struct qcow2 *q)
{
	q->frozen = false;
	pthread_cond_broadcast(&q->changed);
}

/* --- what callers see ------------------------------------------------------- */

bool snapshot_explain(const struct image *i, int r, const char *what, const char *name, struct error *err)
{
	if (r == -ENOENT)
		return error_set(err, 0, "disk '%s' has no snapshot '%s'", i->path, name);
	if (r == -EEXIST)
		return error_set(err, 0, "disk '%s' has a snapshot '%s' already", i->path, name);
	return !r || error_set(err, -r, "cannot %s snapshot '%s' of disk '%s'", what, name, i->path);
}

struct qcow2 *snapshot_writable(struct image *i, struct error *err)
{
	if (i->ops != &image_qcow2)
		return error_null(err, 0, "disk '%s' is %s, which has no snapshots: convert it to qcow2", i->path,
				  i->ops->format);
	if (((struct qcow2 *)i->format)->external)
		return error_null(err, 0, "disk '%s' keeps its data in another file, and so has no snapshots: convert it", i->path);
	if (i->readonly)
		return error_null(err, 0, "disk '%s' is read-only: its snapshots cannot be changed", i->path);
	return i->format;
}

static struct snap new_entry(const struct snapshot_new *new, const struct snaps *all, uint64_t l1)
{
	unsigned long id = 0;
	char id_text[16];
	for (uint32_t i = 0; i < all->n; i++) {
		char text[16] = "";
		const uint8_t *e = all->s[i].raw;
		memcpy(text, e + ENTRY + be32_get(e + 36), MIN(be16_get(e + 12), (uint16_t)9));
		id = MAX(id, strtoul(text, NULL, 10));
	}
	uint16_t idn = (uint16_t)snprintf(id_text, sizeof(id_text), "%lu", id + 1), namen = (uint16_t)strlen(new->name);
	struct snap s = { .len = (uint32_t)ENTRY + 16 + idn + namen };
	uint8_t *e = s.raw = xcalloc(1, ALIGN_UP(s.len, 8u));
	be64_put(e, l1);
	be32_put(e + 8, new->l1_size);
	be16_put(e + 12, idn);
	be16_put(e + 14, namen);
	be32_put(e + 16, (uint32_t)new->when.tv_sec);
	be32_put(e + 20, (uint32_t)new->when.tv_nsec);
	be32_put(e + 36, 16);
	be64_put(e + ENTRY + 8, new->size);
	memcpy(e + ENTRY + 16, id_text, idn);
	memcpy(e + ENTRY + 16 + idn, new->name, namen);
	return s;
}

int snapshot_may_be(struct qcow2 *q, const char *name)
{
	struct snaps all;
	int r = load_all(q, &all);
	if (r)
		return r;
	r = find(&all, name) ? -EEXIST : all.n + 2 > refcount_max(q) || all.n == SNAPSHOTS_MAX ? -EMFILE : 0;
	snaps_free(&all);
	return r;
}

int snapshot_store(struct qcow2 *q, const struct snapshot_new *new)
{
	struct snaps all;
	uint64_t offset;
	int r = load_all(q, &all);
	if (r)
		return r;
	uint64_t old = table_bytes(&all);
	if (!(r = l1_write(q, new->l1, new->l1_size, &offset))) {
		all.s = xrealloc(all.s, (all.n + 1) * sizeof(*all.s));
		all.s[all.n] = new_entry(new, &all, offset);
		all.n++;
		if ((r = store_all(q, &all, old)))
			free_range_later(q, offset, l1_bytes(new->l1_size));
	}
	snaps_free(&all);
	return r;
}

/* requires: q->lock. Takes the entry out of the table; *victim is its copy. */
static int take_out(struct qcow2 *q, const char *name, uint64_t **l1, struct snap *victim)
{
	struct snaps all;
	int r = load_all(q, &all);
	struct snap *s = r ? NULL : find(&all, name);
	if (!s)
		return r ? r : (snaps_free(&all), -ENOENT);
	uint64_t old = table_bytes(&all);
	r = l1_read(q, s->raw, l1);
	if (!r)
		r = mark_dirty(q);
	*victim = *s;
	memmove(s, s + 1, (size_t)(all.s + all.n - s - 1) * sizeof(*s));
	all.n--;
	if (!r)
		r = store_all(q, &all, old);
	snaps_free(&all);
	return r;
}

/* Its contents are asked for now, so that nobody waits for the disk with the lock. */
static void load_ahead(struct qcow2 *q, uint64_t at, uint8_t *buf)
{
	if (!table_peek(q, at, TABLE_L2) && place_sound(q, at)) {
		pthread_mutex_unlock(&q->lock);
		file_read(q->file, buf, q->cluster_size, at);
		pthread_mutex_lock(&q->lock);
	}
}

/* The disk has forgotten it: now its clusters, table by table, the guest in between. Lets go of the lock. */
static int drop_all(struct qcow2 *q, const uint64_t *l1, uint32_t size)
{
	auto_free uint8_t *buf = xmalloc(q->cluster_size);
	struct pace_work work;
	uint64_t dropped = 0;
	int r = 0;
	pthread_mutex_unlock(&q->lock);
	pace_begin(q->image->pace, &work);
	pthread_mutex_lock(&q->lock);
	for (uint32_t k = 0; !r && k < size; k++) {
		if (!(l1[k] & OFFSET_MASK))
			continue;
		if (++dropped % tables_enough(q) == 0)
			r = metadata_flush(q);
		load_ahead(q, l1[k] & OFFSET_MASK, buf);
		r = r ? r : l2_drop(q, k, l1[k]);
		r = r ? r : punch_holes(q);
		pthread_mutex_unlock(&q->lock);
		pace_step(q->image->pace, &work, 0);
		pthread_mutex_lock(&q->lock);
	}
	pace_end(q->image->pace, &work);
	return r;
}

bool qcow2_snapshot_delete(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = snapshot_writable(i, err);
	struct snap s = { 0 };
	uint64_t *l1 = NULL;
	if (!q)
		return false;
	pthread_mutex_lock(&q->lock);
	alter_begin(q);
	tables_keep(q);
	int r = take_out(q, name, &l1, &s);
	if (!r)
		r = drop_all(q, l1, be32_get(s.raw + 8));
	if (!r)
		free_range_later(q, be64_get(s.raw), 8ull * be32_get(s.raw + 8));
	if (!r)
		r = metadata_flush(q);
	tables_shrink(q);
	alter_end(q);
	pthread_mutex_unlock(&q->lock);
	free(l1);
	free(s.raw);
	return snapshot_explain(i, r, "delete", name, err);
}

/* requires: q->lock, frozen. The header's fields from the size to the L1 table are the moment. */
static int apply(struct qcow2 *q, const uint8_t *entry)
{
	uint32_t size = be32_get(entry + 8), old_size = q->l1_size;
	uint64_t *l1 = NULL, *old = q->l1, offset, old_offset = q->l1_offset, bytes = entry_size(q, entry);
	uint8_t h[24];
	int r = size_fits(q, bytes, size) ? l1_read(q, entry, &l1) : -EIO;
	if (r || (r = mark_dirty(q)) || (r = tree_count(q, l1, size, 1)) || (r = l1_write(q, l1, size, &offset)) ||
	    (r = metadata_sync(q)) || (r = file_read(q->file, h, sizeof(h), 24))) {
		free(l1);
		return r;
	}
	be64_put(h, bytes);
	be32_put(h + 12, size);
	be64_put(h + 16, offset);
	if ((r = file_write(q->file, h, sizeof(h), 24)) || (r = q->file->ops->sync(q->file))) {
		free(l1);
		return metadata_failed(q, r);
	}
	for (uint32_t i = 0; i < size; i++)
		l1[i] &= ~L2_COPIED;
	q->l1 = l1;
	q->l1_size = size;
	q->l1_offset = offset;
	q->image->size = bytes;
	bitmaps_resize(q, true);
	free(q->l1_dirty);
	q->l1_dirty = xcalloc(size / 64 + 1, sizeof(bool));
	q->any_l1_dirty = false;
	r = tree_count(q, old, old_size, -1);
	free_range_later(q, old_offset, l1_bytes(old_size));
	free(old);
	return r;
}

bool qcow2_snapshot_apply(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = snapshot_writable(i, err);
	struct snaps all = { 0 };
	if (!q)
		return false;
	pthread_mutex_lock(&q->lock);
	alter_begin(q);
	freeze(q);
	int r = metadata_sync(q);
	if (!r)
		r = load_all(q, &all);
	struct snap *s = r ? NULL : find(&all, name);
	if (!r)
		r = s ? apply(q, s->raw) : -ENOENT;
	if (!r)
		r = metadata_flush(q);
	snaps_free(&all);
	thaw(q);
	alter_end(q);
	pthread_mutex_unlock(&q->lock);
	return snapshot_explain(i, r, "restore", name, err);
}

bool qcow2_snapshot_list(struct image *i, struct image_snapshot **list, unsigned *n, struct error *err)
{
	struct qcow2 *q = i->format;
	struct snaps all;
	*list = NULL;
	*n = 0;
	if (i->ops != &image_qcow2)
		return true;
	pthread_mutex_lock(&q->lock);
	int r = load_all(q, &all);
	pthread_mutex_unlock(&q->lock);
	if (r)
		return error_set(err, -r, "cannot read the snapshots of disk '%s'", i->path);
	*list = xcalloc(all.n + 1ull, sizeof(**list));
	for (uint32_t k = 0; k < all.n; k++) {
		const uint8_t *e = all.s[k].raw;
		(*list)[k] = (struct image_snapshot){
			.id = xasprintf("%.*s", be16_get(e + 12), (const char *)e + ENTRY + be32_get(e + 36)),
			.name = xasprintf("%.*s", be16_get(e + 14), (const char *)e + name_at(e)),
			.size = entry_size(q, e), .seconds = be32_get(e + 16), .vm_state = be32_get(e + 32) };
	}
	*n = all.n;
	snaps_free(&all);
	return true;
}

void image_snapshots_free(struct image_snapshot *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		free(list[i].id);
		free(list[i].name);
	}
	free(list);
}

/* A read-only image that shows the snapshot from now on. */
bool qcow2_snapshot_show(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = i->format;
	struct snaps all = { 0 };
	if (i->ops != &image_qcow2 || !i->readonly)
		return error_set(err, 0, "disk '%s' has no snapshots that could be read", i->path);
	int r = load_all(q, &all);
	struct snap *s = r ? NULL : find(&all, name);
	uint64_t *l1 = NULL;
	if (!r)
		r = s ? size_fits(q, entry_size(q, s->raw), be32_get(s->raw + 8)) ? l1_read(q, s->raw, &l1) : -EIO : -ENOENT;
	if (r) {
		free(l1);
	} else {
		free(q->l1);
		q->l1 = l1;
		q->l1_size = be32_get(s->raw + 8);
		q->l1_offset = be64_get(s->raw);
		i->size = entry_size(q, s->raw);
	}
	snaps_free(&all);
	return snapshot_explain(i, r, "read", name, err);
}
