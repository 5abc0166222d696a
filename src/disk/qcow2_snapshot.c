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
 * While a snapshot is made or restored the image is frozen: transfers end, no new
 * ones begin, so that none can write into what the snapshot keeps.  Tables stay in memory
 * for so long, as each eviction would be a sync.  A deletion goes on beside the guest: it
 * gives way after each HELD_NS, and flushes often, without the lock.
 */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { HELD_NS = 2000000, FLUSH_TABLES = 16, FROZEN_BYTES = 64 << 20 };
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

/* The new table in a place of its own, then the header: the moment of create and delete. */
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
	if (r || (bytes && (r = file_write(q->file, raw, bytes, offset)))) {
		free_range_later(q, offset, offset ? bytes : 0);
		return r;
	}
	r = metadata_sync(q);
	be32_put(header, all->n);
	be64_put(header + 4, offset);
	if (r || (r = file_write(q->file, header, sizeof(header), 60)) || (r = q->file->ops->sync(q->file)))
		return metadata_failed(q, r);
	q->nb_snapshots = all->n;
	q->snapshots_offset = offset;
	free_range_later(q, old, old_bytes);
	return 0;
}

/* --- trees of clusters ------------------------------------------------------ */

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

/* The clusters that an entry counts for. */
static uint64_t entry_clusters(const struct qcow2 *q, uint64_t e, uint64_t *first)
{
	uint64_t offset = e & OFFSET_MASK, bytes = 1;
	if (e & L2_COMPRESSED)
		compressed_place(q, e, &offset, &bytes);
	*first = offset >> q->cluster_bits;
	return offset ? ((offset + bytes - 1) >> q->cluster_bits) - *first + 1 : 0;
}

/* One more, or one less, reference to an L2 table and all that it leads to. */
static int count_l2(struct qcow2 *q, uint64_t at, int delta)
{
	auto_free uint8_t *buf = xmalloc(q->cluster_size);
	uint64_t run = 0, n = 0, first;
	int r = l2_copy(q, at, buf);
	for (uint64_t i = 0; i < q->l2_entries && !r; i++) {
		uint64_t k = entry_clusters(q, be64_get(buf + 8 * i), &first);
		if (k && n && first == run + n) {
			n += k;
		} else if (k) {
			r = n ? refcount_run(q, run, n, delta) : 0;
			run = first;
			n = k;
		}
	}
	if (!r && n)
		r = refcount_run(q, run, n, delta);
	return r ? r : refcount_run(q, at >> q->cluster_bits, 1, delta);
}

static int count_tree(struct qcow2 *q, const uint64_t *l1, uint32_t size, int delta)
{
	int r = 0;
	for (uint32_t i = 0; i < size && !r; i++)
		if (l1[i] & OFFSET_MASK)
			r = count_l2(q, l1[i] & OFFSET_MASK, delta);
	return r;
}

/* The active table's i-th entry and all below it lose their COPIED marks. */
static int unmark(struct qcow2 *q, uint32_t i)
{
	struct table *t;
	int r = table_get(q, q->l1[i] & OFFSET_MASK, TABLE_L2, false, &t);
	if (r)
		return r;
	for (uint64_t k = 0; k < q->l2_entries; k++) {
		uint64_t e = be64_get(t->data + 8 * k);
		if (e & L2_COMPRESSED || !(e & L2_COPIED))
			continue;
		be64_put(t->data + 8 * k, e & ~L2_COPIED);
		t->dirty = true;
	}
	q->l1[i] &= ~L2_COPIED;
	q->l1_dirty[i / 64] = q->any_l1_dirty = true;
	return 0;
}

/* They get them back where the count is 1 again. */
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
		q->l1_dirty[i / 64] = q->any_l1_dirty = true;
	}
	return r;
}

/* --- the L1 table of a snapshot --------------------------------------------- */

static int l1_write(struct qcow2 *q, const uint64_t *l1, uint32_t size, uint64_t *offset)
{
	auto_free uint8_t *raw = xcalloc(size + 1ull, 8);
	for (uint32_t i = 0; i < size; i++)
		be64_put(raw + 8ull * i, l1[i] & ~L2_COPIED);
	int r = clusters_alloc_run(q, MAX(8ull * size, 8ull), offset);
	return r ? r : file_write(q->file, raw, MAX(8ull * size, 8ull), *offset);
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

/* --- freezing --------------------------------------------------------------- */

/* requires: q->lock */
static void freeze(struct qcow2 *q)
{
	while (q->frozen)
		pthread_cond_wait(&q->changed, &q->lock);
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

static bool explain(const struct image *i, int r, const char *what, const char *name, struct error *err)
{
	if (r == -ENOENT)
		return error_set(err, 0, "disk '%s' has no snapshot '%s'", i->path, name);
	if (r == -EEXIST)
		return error_set(err, 0, "disk '%s' has a snapshot '%s' already", i->path, name);
	return !r || error_set(err, -r, "cannot %s snapshot '%s' of disk '%s'", what, name, i->path);
}

static struct qcow2 *writable(struct image *i, struct error *err)
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

static struct snap new_entry(const struct qcow2 *q, const struct snaps *all, const char *name, uint64_t l1)
{
	unsigned long id = 0;
	char id_text[16];
	struct timespec now;
	for (uint32_t i = 0; i < all->n; i++) {
		char text[16] = "";
		const uint8_t *e = all->s[i].raw;
		memcpy(text, e + ENTRY + be32_get(e + 36), MIN(be16_get(e + 12), (uint16_t)9));
		id = MAX(id, strtoul(text, NULL, 10));
	}
	uint16_t idn = (uint16_t)snprintf(id_text, sizeof(id_text), "%lu", id + 1), namen = (uint16_t)strlen(name);
	struct snap s = { .len = (uint32_t)ENTRY + 16 + idn + namen };
	uint8_t *e = s.raw = xcalloc(1, ALIGN_UP(s.len, 8u));
	clock_gettime(CLOCK_REALTIME, &now);
	be64_put(e, l1);
	be32_put(e + 8, q->l1_size);
	be16_put(e + 12, idn);
	be16_put(e + 14, namen);
	be32_put(e + 16, (uint32_t)now.tv_sec);
	be32_put(e + 20, (uint32_t)now.tv_nsec);
	be32_put(e + 36, 16);
	be64_put(e + ENTRY + 8, q->image->size);
	memcpy(e + ENTRY + 16, id_text, idn);
	memcpy(e + ENTRY + 16 + idn, name, namen);
	return s;
}

/* No space for it: as if nothing had been. */
static int undo_create(struct qcow2 *q, int r)
{
	int e = count_tree(q, q->l1, q->l1_size, -1);
	for (uint32_t i = 0; i < q->l1_size && !e; i++)
		e = mark_again(q, i);
	return e ? metadata_failed(q, e) : r;
}

/* requires: q->lock, frozen */
static int create(struct qcow2 *q, struct snaps *all, const char *name)
{
	uint64_t offset, old = table_bytes(all);
	int r = find(all, name) ? -EEXIST : all->n + 2 > refcount_max(q) || all->n == SNAPSHOTS_MAX ? -EMFILE : 0;
	if (r || (r = mark_dirty(q)) || (r = count_tree(q, q->l1, q->l1_size, 1)))
		return r;
	for (uint32_t i = 0; i < q->l1_size && !r; i++)
		if (q->l1[i] & OFFSET_MASK)
			r = unmark(q, i);
	if (!r)
		r = l1_write(q, q->l1, q->l1_size, &offset);
	if (!r) {
		all->s = xrealloc(all->s, (all->n + 1) * sizeof(*all->s));
		all->s[all->n] = new_entry(q, all, name, offset);
		all->n++;
		r = store_all(q, all, old);
	}
	return r && !q->broken ? undo_create(q, r) : r;
}

bool qcow2_snapshot_create(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = writable(i, err);
	struct snaps all;
	if (!q)
		return false;
	if (!*name || strlen(name) > 255)
		return error_set(err, 0, "a snapshot's name has 1 to 255 bytes");
	pthread_mutex_lock(&q->lock);
	freeze(q);
	unsigned room = q->tables_max;
	q->tables_max = MAX(room, (unsigned)(FROZEN_BYTES / q->cluster_size));
	int r = load_all(q, &all);
	if (!r) {
		r = create(q, &all, name);
		snaps_free(&all);
	}
	q->tables_max = room;
	tables_shrink(q);
	thaw(q);
	pthread_mutex_unlock(&q->lock);
	return explain(i, r, "make", name, err);
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

/* Whoever waits for the lock gets it, for as long as it has been held since *since. */
static void give_way(struct qcow2 *q, uint64_t *since)
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

/* The k-th table of a snapshot that the disk has forgotten. */
static int drop_table(struct qcow2 *q, uint32_t k, uint64_t l1_entry)
{
	int r = l1_entry & OFFSET_MASK ? count_l2(q, l1_entry & OFFSET_MASK, -1) : 0;
	return !r && k < q->l1_size ? mark_again(q, k) : r;
}

bool qcow2_snapshot_delete(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = writable(i, err);
	struct snap s = { 0 };
	uint64_t *l1 = NULL;
	if (!q)
		return false;
	pthread_mutex_lock(&q->lock);
	int r = metadata_flush(q);             /* then what take_out() syncs is little */
	r = r ? r : take_out(q, name, &l1, &s);
	/* the disk has forgotten it: now its clusters, table by table, the guest in between */
	uint64_t since = monotonic_ns(), dropped = 0;
	for (uint32_t k = 0; !r && k < be32_get(s.raw + 8); k++) {
		if (l1[k] & OFFSET_MASK && ++dropped % FLUSH_TABLES == 0) {
			r = metadata_flush(q);
			since = monotonic_ns();
		}
		r = r ? r : drop_table(q, k, l1[k]);
		give_way(q, &since);
	}
	if (!r)
		free_range_later(q, be64_get(s.raw), 8ull * be32_get(s.raw + 8));
	if (!r)
		r = metadata_flush(q);
	pthread_mutex_unlock(&q->lock);
	free(l1);
	free(s.raw);
	return explain(i, r, "delete", name, err);
}

/* requires: q->lock, frozen. The header's fields from the size to the L1 table are the moment. */
static int apply(struct qcow2 *q, const uint8_t *entry)
{
	uint32_t size = be32_get(entry + 8), old_size = q->l1_size;
	uint64_t *l1 = NULL, *old = q->l1, offset, old_offset = q->l1_offset, bytes = entry_size(q, entry);
	uint8_t h[24];
	int r = size_fits(q, bytes, size) ? l1_read(q, entry, &l1) : -EIO;
	if (r || (r = mark_dirty(q)) || (r = count_tree(q, l1, size, 1)) || (r = l1_write(q, l1, size, &offset)) ||
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
	r = count_tree(q, old, old_size, -1);
	free_range_later(q, old_offset, MAX(8ull * old_size, 8ull));
	free(old);
	return r;
}

bool qcow2_snapshot_apply(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = writable(i, err);
	struct snaps all = { 0 };
	if (!q)
		return false;
	pthread_mutex_lock(&q->lock);
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
	pthread_mutex_unlock(&q->lock);
	return explain(i, r, "restore", name, err);
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
	return explain(i, r, "read", name, err);
}
