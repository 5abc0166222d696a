/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: persistent dirty bitmaps (qcow2: bitmaps; version 3).  They are in memory
 * while the image is open.  Before the first change of a session each is marked in
 * use, and after the last one it is written to a new place, the header told of the
 * new directory, and the old place freed: a session that does not come to its end
 * leaves bitmaps that say of themselves that they cannot be trusted.
 *
 * The header's extension is only changed while its autoclear bit is off, which
 * declares it void: so a torn write of it is never believed.
 */
#include "disk/qcow2.h"

#include <errno.h>

enum { ENTRY = 24, EXTENSION = 24, NAME_MAX_BYTES = 1023, DIRECTORY_MAX = 1 << 20, BITS_MAX_BYTES = 64 << 20 };
enum { IN_USE = 1, AUTO = 2, EXTRA_COMPATIBLE = 4, TYPE_DIRTY = 1, ALL_ONES = 1 };
enum { GRANULARITY_MIN = 9, GRANULARITY_MAX = 31, AUTOCLEAR_AT = 88 };

struct bitmap {
	char *name;
	uint8_t *entry;                   /* as it stands in the directory */
	uint32_t entry_len, flags, granularity_bits, table_size;
	uint64_t entry_at, table;         /* bytes in the file; 0: not there yet */
	bool sound;                       /* its bits are known, and kept up to date */
	bool changed;
	uint64_t nbits, *bits;            /* host order of little-endian words */
};

struct bitmaps { struct bitmap *b; uint32_t n; bool changed; };

static uint64_t bits_for(const struct qcow2 *q, uint32_t granularity_bits)
{
	return (q->image->size + (1ull << granularity_bits) - 1) >> granularity_bits;
}

static uint64_t table_entries(const struct qcow2 *q, uint64_t nbits)
{
	return ((nbits + 7) / 8 + q->cluster_size - 1) >> q->cluster_bits;
}

/* Room for whole clusters, so that they are read and written as they are. */
static uint64_t *bits_new(const struct qcow2 *q, uint64_t nbits)
{
	return xcalloc(table_entries(q, nbits) + 1, q->cluster_size);
}

static void bitmap_free(struct bitmap *b)
{
	free(b->name);
	free(b->entry);
	free(b->bits);
}

void bitmaps_free(struct qcow2 *q)
{
	for (uint32_t i = 0; q->bitmaps && i < q->bitmaps->n; i++)
		bitmap_free(&q->bitmaps->b[i]);
	if (q->bitmaps)
		free(q->bitmaps->b);
	free(q->bitmaps);
	q->bitmaps = NULL;
}

/* --- reading ---------------------------------------------------------------- */

/* Its table: bits of clusters, or one word for a whole cluster of zeros or ones. */
static int read_bits(struct qcow2 *q, struct bitmap *b)
{
	auto_free uint8_t *table = xcalloc(b->table_size + 1ull, 8);
	int r = file_read(q->file, table, 8ull * b->table_size, b->table);
	for (uint32_t i = 0; i < b->table_size && !r; i++) {
		uint64_t e = be64_get(table + 8ull * i);
		uint8_t *to = (uint8_t *)b->bits + ((uint64_t)i << q->cluster_bits);
		if (e & OFFSET_MASK)
			r = e & ALL_ONES || !place_sound(q, e & OFFSET_MASK) ? -EIO :
			    file_read(q->file, to, q->cluster_size, e & OFFSET_MASK);
		else if (e & ALL_ONES)
			memset(to, 0xff, q->cluster_size);
	}
	return r;
}

static void load_bits(struct qcow2 *q, struct bitmap *b, bool extra)
{
	uint64_t file = q->file->ops->size(q->file);
	if (b->flags & ~(uint32_t)(AUTO | EXTRA_COMPATIBLE) || b->entry[16] != TYPE_DIRTY || extra ||
	    b->granularity_bits < GRANULARITY_MIN || b->granularity_bits > GRANULARITY_MAX)
		return;
	b->nbits = bits_for(q, b->granularity_bits);
	if (b->nbits / 8 > BITS_MAX_BYTES || b->table_size != table_entries(q, b->nbits) || b->table > file ||
	    8ull * b->table_size > file - b->table || b->table & (q->cluster_size - 1))
		return;
	b->bits = bits_new(q, b->nbits);
	b->sound = !read_bits(q, b);
}

/* One entry of the directory; how long it is, 0: damaged. */
static uint64_t load_one(struct qcow2 *q, const uint8_t *e, uint64_t room, uint64_t at, struct bitmap *b)
{
	uint64_t extra = room < ENTRY ? 0 : be32_get(e + 20), name = room < ENTRY ? 0 : be16_get(e + 18);
	uint64_t len = ALIGN_UP(ENTRY + extra + name, 8);
	if (room < ENTRY || !name || name > NAME_MAX_BYTES || extra > room || len > room)
		return 0;
	*b = (struct bitmap){ .entry_len = (uint32_t)len, .entry_at = at, .table = be64_get(e),
			      .table_size = be32_get(e + 8), .flags = be32_get(e + 12), .granularity_bits = e[17] };
	b->name = xasprintf("%.*s", (int)name, (const char *)e + ENTRY + extra);
	b->entry = memcpy(xmalloc(len), e, len);
	load_bits(q, b, extra != 0);
	return len;
}

/* A directory that cannot be read is not believed: its bitmaps are gone with the first write. */
void bitmaps_load(struct qcow2 *q)
{
	uint64_t size = q->bitmaps_size, at = 0;
	if (!q->nb_bitmaps || size > DIRECTORY_MAX || q->nb_bitmaps > size / ENTRY || !place_sound(q, q->bitmaps_offset))
		return;
	auto_free uint8_t *dir = xmalloc(size);
	if (file_read(q->file, dir, size, q->bitmaps_offset))
		return;
	q->bitmaps = xnew(struct bitmaps);
	q->bitmaps->b = xcalloc(q->nb_bitmaps, sizeof(struct bitmap));
	for (uint32_t i = 0; i < q->nb_bitmaps; i++) {
		uint64_t n = load_one(q, dir + at, size - at, q->bitmaps_offset + at, &q->bitmaps->b[i]);
		if (!n) {
			bitmaps_free(q);
			return;
		}
		q->bitmaps->n++;
		at += n;
	}
}

/* --- while the image is written ---------------------------------------------- */

int bitmaps_begin(struct qcow2 *q)
{
	struct bitmaps *all = q->bitmaps;
	uint8_t word[8];
	int r = 0;
	if (!all || !q->nb_bitmaps)
		return 0;
	for (uint32_t i = 0; i < all->n && !r; i++) {
		be32_put(word, all->b[i].flags | IN_USE);
		r = all->b[i].entry_at ? file_write(q->file, word, 4, all->b[i].entry_at + 12) : 0;
	}
	if (r || (r = q->file->ops->sync(q->file)))
		return r;
	be64_put(word, q->autoclear & 3);
	r = file_write(q->file, word, 8, AUTOCLEAR_AT);
	return r ? r : q->file->ops->sync(q->file);
}

static void set_bits(struct bitmap *b, uint64_t first, uint64_t last)
{
	uint8_t *p = (uint8_t *)b->bits;
	for (; first <= last && first & 7; first++)
		p[first / 8] |= (uint8_t)(1u << (first & 7));
	for (; first + 7 <= last; first += 8)
		p[first / 8] = 0xff;
	for (; first <= last; first++)
		p[first / 8] |= (uint8_t)(1u << (first & 7));
	b->changed = true;
}

void bitmaps_mark_slow(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	for (uint32_t i = 0; i < q->bitmaps->n && len; i++) {
		struct bitmap *b = &q->bitmaps->b[i];
		if (!b->sound || !(b->flags & AUTO) || !b->nbits)
			continue;
		uint64_t last = (offset + len - 1) >> b->granularity_bits;
		set_bits(b, offset >> b->granularity_bits, MIN(last, b->nbits - 1));
	}
}

/* The size has changed; `all`: and so have the contents. */
void bitmaps_resize(struct qcow2 *q, bool all)
{
	for (uint32_t i = 0; q->bitmaps && i < q->bitmaps->n; i++) {
		struct bitmap *b = &q->bitmaps->b[i];
		if (!b->sound)
			continue;
		uint64_t n = bits_for(q, b->granularity_bits), *bits = bits_new(q, n);
		memcpy(bits, b->bits, (MIN(n, b->nbits) + 7) / 8);
		free(b->bits);
		b->bits = bits;
		b->nbits = n;
		b->changed = true;
	}
	if (q->bitmaps && all)
		bitmaps_mark_slow(q, 0, q->image->size);
}

/* --- storing ---------------------------------------------------------------- */

static void free_run_later(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	for (uint64_t i = 0; offset && i < bytes; i += q->cluster_size)
		cluster_free_later(q, offset + i);
}

/* The old table and what it leads to. */
static int free_table(struct qcow2 *q, uint64_t table, uint32_t size)
{
	auto_free uint8_t *raw = xcalloc(size + 1ull, 8);
	int r = table ? file_read(q->file, raw, 8ull * size, table) : 0;
	for (uint32_t i = 0; table && !r && i < size; i++)
		if (be64_get(raw + 8ull * i) & OFFSET_MASK)
			cluster_free_later(q, be64_get(raw + 8ull * i) & OFFSET_MASK);
	free_run_later(q, r ? 0 : table, 8ull * size);
	return r;
}

static bool uniform(const uint8_t *p, uint64_t n, uint8_t byte)
{
	return p[0] == byte && !memcmp(p, p + 1, n - 1);
}

/* Its bits in new clusters; *old and *old_size: the table that is no longer needed. */
static int write_bits(struct qcow2 *q, struct bitmap *b)
{
	uint32_t size = (uint32_t)table_entries(q, b->nbits);
	auto_free uint8_t *raw = xcalloc(size + 1ull, 8);
	uint64_t at, got, table;
	int r = 0;
	for (uint32_t i = 0; i < size && !r; i++) {
		uint8_t *p = (uint8_t *)b->bits + ((uint64_t)i << q->cluster_bits);
		bool whole = (i + 1ull) << (q->cluster_bits + 3) <= b->nbits;
		if (uniform(p, q->cluster_size, 0))
			continue;
		if (whole && uniform(p, q->cluster_size, 0xff)) {
			be64_put(raw + 8ull * i, ALL_ONES);
			continue;
		}
		if (!(r = clusters_alloc(q, 1, &at, &got)))
			r = file_write(q->file, p, q->cluster_size, at);
		be64_put(raw + 8ull * i, r ? 0 : at);
	}
	if (r || (r = clusters_alloc_run(q, MAX(8ull * size, 8ull), &table)) ||
	    (r = file_write(q->file, raw, MAX(8ull * size, 8ull), table)))
		return r;
	b->table = table;
	b->table_size = size;
	return 0;
}

static void update_entry(struct bitmap *b)
{
	be64_put(b->entry, b->table);
	be32_put(b->entry + 8, b->table_size);
	be32_put(b->entry + 12, b->sound ? b->flags & ~(uint32_t)IN_USE : b->flags | IN_USE);
}

static int write_directory(struct qcow2 *q, uint64_t *offset, uint64_t *size)
{
	struct bitmaps *all = q->bitmaps;
	*size = *offset = 0;
	for (uint32_t i = 0; i < all->n; i++)
		*size += all->b[i].entry_len;
	if (!*size)
		return 0;
	auto_free uint8_t *raw = xmalloc(*size), *p = raw;
	for (uint32_t i = 0; i < all->n; p += all->b[i++].entry_len) {
		update_entry(&all->b[i]);
		memcpy(p, all->b[i].entry, all->b[i].entry_len);
	}
	p = NULL;                         /* it is raw's */
	int r = clusters_alloc_run(q, *size, offset);
	return r ? r : file_write(q->file, raw, *size, *offset);
}

static int put_synced(struct qcow2 *q, const void *p, size_t n, uint64_t at)
{
	int r = file_write(q->file, p, n, at);
	return r ? r : q->file->ops->sync(q->file);
}

/* Our bit of them. */
static int set_autoclear(struct qcow2 *q, bool on)
{
	uint8_t word[8];
	uint64_t value = (q->autoclear & ~1ull) | on;
	be64_put(word, value);
	int r = put_synced(q, word, 8, AUTOCLEAR_AT);
	if (!r)
		q->autoclear = value;
	return r;
}

/* The name of the backing file makes room for what grows at the extensions' end. */
static int move_backing_name(struct qcow2 *q, uint64_t end)
{
	uint8_t h[12], word[8];
	int r = file_read(q->file, h, sizeof(h), 8);
	uint64_t at = be64_get(h), len = be32_get(h + 8), to = ALIGN_UP(MAX(end, at + len), 8);
	if (r || !at || at >= end || at + len <= q->extensions_end)
		return r;
	if (to + len > q->cluster_size)
		return -ENOSPC;
	auto_free uint8_t *name = xmalloc(len + 1);
	be64_put(word, to);
	if ((r = file_read(q->file, name, len, at)) || (r = put_synced(q, name, len, to)))
		return r;
	return put_synced(q, word, 8, 8);
}

/* A new extension behind the others: its end mark first, its head last. */
static int add_extension(struct qcow2 *q, const uint8_t body[EXTENSION])
{
	uint8_t rest[EXTENSION + 8] = { 0 }, head[8];
	uint64_t at = q->extensions_end, end = at + 8 + sizeof(rest);
	int r = end > q->cluster_size || at & 7 ? -ENOSPC : move_backing_name(q, end);
	memcpy(rest, body, EXTENSION);
	be32_put(head, EXT_BITMAPS);
	be32_put(head + 4, EXTENSION);
	if (r || (r = put_synced(q, rest, sizeof(rest), at + 8)) || (r = put_synced(q, head, 8, at)))
		return r;
	q->bitmaps_at = at + 8;
	q->extensions_end = at + 8 + EXTENSION;
	return 0;
}

/* Without bitmaps there must not be one (qcow2: bitmaps extension). */
static int drop_extension(struct qcow2 *q)
{
	static const uint8_t end[8];
	uint64_t at = q->bitmaps_at - 8;
	int r = q->bitmaps_at + EXTENSION == q->extensions_end ? put_synced(q, end, 8, at) : -ENOTSUP;
	if (!r) {
		q->extensions_end = at;
		q->bitmaps_at = 0;
	}
	return r;
}

/* The moment at which the new directory is the one. */
static int tell_header(struct qcow2 *q, uint64_t offset, uint64_t size)
{
	uint8_t body[EXTENSION] = { 0 };
	be32_put(body, q->bitmaps->n);
	be64_put(body + 8, size);
	be64_put(body + 16, offset);
	int r = set_autoclear(q, false);
	if (!r && !q->bitmaps->n)
		r = q->bitmaps_at ? drop_extension(q) : 0;
	else if (!r)
		r = q->bitmaps_at ? put_synced(q, body, EXTENSION, q->bitmaps_at) : add_extension(q, body);
	if (!r && q->bitmaps->n)
		r = set_autoclear(q, true);
	q->nb_bitmaps = r ? 0 : q->bitmaps->n;
	q->bitmaps_offset = offset;
	q->bitmaps_size = size;
	return r;
}

/* requires: q->lock, nothing but closing follows */
int bitmaps_store(struct qcow2 *q)
{
	struct bitmaps *all = q->bitmaps;
	uint64_t old = q->nb_bitmaps ? q->bitmaps_offset : 0, old_size = q->bitmaps_size, offset, size;
	int r = 0;
	if (!all || q->broken || !q->marked_dirty)
		return 0;
	for (uint32_t i = 0; i < all->n && !r; i++) {
		struct bitmap *b = &all->b[i];
		if (!b->sound || !b->changed)
			continue;
		uint64_t table = b->table;
		uint32_t table_size = b->table_size;
		r = write_bits(q, b);
		r = r ? r : free_table(q, table, table_size);
	}
	if (r || (r = write_directory(q, &offset, &size)) || (r = metadata_sync(q)) ||
	    (r = tell_header(q, offset, size)))
		return r;
	free_run_later(q, old, old_size);
	return 0;
}

/* --- what callers see ------------------------------------------------------- */

static struct bitmap *find(const struct image *i, const char *name)
{
	const struct qcow2 *q = i->ops == &image_qcow2 ? i->format : NULL;
	for (uint32_t k = 0; q && q->bitmaps && k < q->bitmaps->n; k++)
		if (!strcmp(q->bitmaps->b[k].name, name))
			return &q->bitmaps->b[k];
	return NULL;
}

static struct bitmap *find_or_say(const struct image *i, const char *name, struct error *err)
{
	struct bitmap *b = find(i, name);
	return b ? b : error_null(err, 0, "disk '%s' has no bitmap '%s'", i->path, name);
}

static bool writable(struct image *i, struct error *err)
{
	struct qcow2 *q = i->format;
	if (i->ops != &image_qcow2 || q->version < 3)
		return error_set(err, 0, "disk '%s' is no qcow2 of version 3, which alone has bitmaps: convert it", i->path);
	if (i->readonly)
		return error_set(err, 0, "disk '%s' is read-only: its bitmaps cannot be changed", i->path);
	pthread_mutex_lock(&q->lock);
	int r = mark_dirty(q);
	pthread_mutex_unlock(&q->lock);
	return !r || error_set(err, -r, "cannot write disk '%s'", i->path);
}

static uint8_t *new_entry(const char *name, unsigned granularity_bits, uint32_t *len)
{
	uint16_t n = (uint16_t)strlen(name);
	*len = ALIGN_UP(ENTRY + n, 8u);
	uint8_t *e = xcalloc(1, *len);
	e[16] = TYPE_DIRTY;
	e[17] = (uint8_t)granularity_bits;
	be16_put(e + 18, n);
	memcpy(e + ENTRY, name, n);
	return e;
}

bool qcow2_bitmap_add(struct image *i, const char *name, unsigned granularity_bits, struct error *err)
{
	struct qcow2 *q = i->format;
	if (!*name || strlen(name) > NAME_MAX_BYTES)
		return error_set(err, 0, "a bitmap's name has 1 to %d bytes", NAME_MAX_BYTES);
	if (granularity_bits < GRANULARITY_MIN || granularity_bits > GRANULARITY_MAX ||
	    i->size >> granularity_bits >> 3 > BITS_MAX_BYTES)
		return error_set(err, 0, "the granularity of a bitmap is a power of two from 512 to 2G, large enough for the disk");
	if (find(i, name))
		return error_set(err, 0, "disk '%s' has a bitmap '%s' already", i->path, name);
	if (!writable(i, err))
		return false;
	pthread_mutex_lock(&q->lock);
	if (!q->bitmaps)
		q->bitmaps = xnew(struct bitmaps);
	struct bitmaps *all = q->bitmaps;
	all->b = xrealloc(all->b, (all->n + 1) * sizeof(*all->b));
	struct bitmap *b = &all->b[all->n++];
	*b = (struct bitmap){ .name = xstrdup(name), .flags = AUTO, .granularity_bits = granularity_bits,
			      .sound = true, .changed = true, .nbits = bits_for(q, granularity_bits) };
	b->entry = new_entry(name, granularity_bits, &b->entry_len);
	b->bits = bits_new(q, b->nbits);
	pthread_mutex_unlock(&q->lock);
	return true;
}

bool qcow2_bitmap_remove(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = i->format;
	struct bitmap *b = find_or_say(i, name, err);
	if (!b || !writable(i, err))
		return false;
	if (q->bitmaps->n == 1 && q->bitmaps_at && q->bitmaps_at + EXTENSION != q->extensions_end)
		return error_set(err, 0, "the last bitmap of disk '%s' cannot be removed, as its header goes on behind it: use "
				 "qemu-img bitmap --remove", i->path);
	pthread_mutex_lock(&q->lock);
	int r = b->table_size < BITS_MAX_BYTES ? free_table(q, b->table, b->table_size) : -EIO;
	bitmap_free(b);
	memmove(b, b + 1, (size_t)(q->bitmaps->b + q->bitmaps->n - b - 1) * sizeof(*b));
	q->bitmaps->n--;
	pthread_mutex_unlock(&q->lock);
	return !r || error_set(err, -r, "bitmap '%s' of disk '%s' was damaged: abyme disk check --repair takes its space back",
			       name, i->path);
}

bool qcow2_bitmap_clear(struct image *i, const char *name, struct error *err)
{
	struct qcow2 *q = i->format;
	struct bitmap *b = find_or_say(i, name, err);
	if (!b || !writable(i, err))
		return false;
	if (!b->sound)
		return error_set(err, 0, "bitmap '%s' of disk '%s' cannot be trusted any more: remove it and add a new one", name,
				 i->path);
	pthread_mutex_lock(&q->lock);
	memset(b->bits, 0, (b->nbits + 7) / 8);
	b->changed = true;
	pthread_mutex_unlock(&q->lock);
	return true;
}

static uint64_t dirty_bytes(const struct image *i, const struct bitmap *b)
{
	uint64_t n = 0;
	for (uint64_t k = 0; b->sound && k < b->nbits; k++)
		if (((uint8_t *)b->bits)[k / 8] >> (k & 7) & 1)
			n += MIN(1ull << b->granularity_bits, i->size - (k << b->granularity_bits));
	return n;
}

unsigned qcow2_bitmap_list(struct image *i, struct image_bitmap **list)
{
	struct qcow2 *q = i->ops == &image_qcow2 ? i->format : NULL;
	*list = NULL;
	if (!q || !q->bitmaps)
		return 0;
	pthread_mutex_lock(&q->lock);
	*list = xcalloc(q->bitmaps->n + 1ull, sizeof(**list));
	for (uint32_t k = 0; k < q->bitmaps->n; k++) {
		const struct bitmap *b = &q->bitmaps->b[k];
		(*list)[k] = (struct image_bitmap){ .name = xstrdup(b->name), .granularity = 1ull << MIN(b->granularity_bits, 63u),
						    .sound = b->sound, .recording = b->flags & AUTO, .dirty = dirty_bytes(i, b) };
	}
	unsigned n = q->bitmaps->n;
	pthread_mutex_unlock(&q->lock);
	return n;
}

void image_bitmaps_free(struct image_bitmap *list, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		free(list[k].name);
	free(list);
}

bool qcow2_bitmap_run(struct image *i, const char *name, uint64_t offset, uint64_t *len, bool *dirty)
{
	struct qcow2 *q = i->format;
	struct bitmap *b = find(i, name);
	if (!b || !b->sound || offset >= i->size)
		return false;
	pthread_mutex_lock(&q->lock);
	const uint8_t *p = (const uint8_t *)b->bits;
	uint64_t k = offset >> b->granularity_bits, end = MIN(offset + *len, i->size);
	*dirty = p[k / 8] >> (k & 7) & 1;
	while (++k < b->nbits && k << b->granularity_bits < end && (p[k / 8] >> (k & 7) & 1) == *dirty) { }
	*len = MIN(k << b->granularity_bits, end) - offset;
	pthread_mutex_unlock(&q->lock);
	return true;
}
