/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of qcow2 (QEMU's docs/interop/qcow2.txt, versions 2 and 3).  The
 * numbered invariants stand in qcow2.c.
 */
#ifndef DISK_QCOW2_H
#define DISK_QCOW2_H

#include <pthread.h>
#include <time.h>
#include "disk/image.h"

#define L2_COPIED (1ull << 63)
#define L2_COMPRESSED (1ull << 62)
#define L2_ZERO 1ull
#define OFFSET_MASK 0x00fffffffffffe00ull      /* bits 9..55 */
#define L1_MAX_BYTES (32ull << 20)
#define REFTABLE_MAX_BYTES (64ull << 20)
enum { INCOMPAT_DIRTY = 1, INCOMPAT_CORRUPT = 2, INCOMPAT_EXTERNAL = 4, INCOMPAT_COMPRESSION = 8,
       INCOMPAT_EXTENDED_L2 = 16 };

#define EXT_BITMAPS 0x23852875u
#define EXT_DATA_FILE 0x44415441u

enum table_kind { TABLE_REFCOUNT, TABLE_L2 };

/* One cluster of metadata in memory. */
struct table {
	uint64_t offset;
	enum table_kind kind;
	bool dirty;
	bool busy;                        /* a flush has its contents, not yet the disk: stays */
	bool lent;                        /* L2, of a lent entry: its COPIED marks do not go to the disk */
	uint64_t used;                    /* age */
	struct table *next;               /* of its bucket */
	uint8_t data[];
};

enum { TABLE_BUCKET_BITS = 8, TABLE_BUCKETS = 1 << TABLE_BUCKET_BITS };

struct pending { uint64_t first, last; struct pending *next; };       /* guest clusters */
struct cluster_list { uint64_t *at; size_t n, max; };
struct snapshot_new;

struct qcow2 {
	struct image *image;
	struct image_file *file;
	/* the header; offsets in bytes */
	uint32_t version, cluster_bits, refcount_bits_log, header_length, l1_size, nb_snapshots;
	uint64_t l1_offset, reftable_offset, snapshots_offset, incompatible, autoclear;
	uint64_t bitmaps_offset, bitmaps_size; uint32_t nb_bitmaps;
	uint64_t bitmaps_at, extensions_end;   /* in the header: the body of their extension (0: none), the end mark */
	struct bitmaps *bitmaps;          /* qcow2_bitmap.c; NULL: none */
	uint64_t cluster_size, l2_entries, refs_per_block;
	uint64_t reftable_entries;
	bool external;                    /* guest data lies in image->data, at the guest's own offsets, uncounted */
	bool zstd;                        /* what compressed clusters are */
	bool marked_dirty;                /* something may have changed; version 3: the bit is on disk */

	pthread_mutex_t lock;             /* all below */
	pthread_cond_t changed;           /* of pending, of syncing */
	uint64_t *l1, *reftable;          /* host byte order */
	bool *l1_dirty;                   /* a flag for each 512 bytes of the L1 table */
	bool any_l1_dirty;
	struct table *bucket[TABLE_BUCKETS];
	unsigned ntables, tables_max, tables_usual;
	uint64_t age;
	uint64_t next_free;               /* where the search for free clusters goes on */
	uint64_t virgin;                  /* from here on the file has never been written */
	uint64_t packed_to;               /* the end of the last compressed cluster written */
	int broken;                       /* metadata could not be written: no more writes (-errno) */
	bool syncing;                     /* a flush waits for the disk, without the lock */
	bool frozen;                      /* no transfer may begin: a snapshot is restored */
	unsigned in_place;                /* writes in progress to clusters that were marked COPIED */
	bool drains;                      /* a snapshot has just taken those clusters: no write begins before they end */
	bool altering;                    /* somebody changes the snapshots: the only one */
	uint32_t lent;                    /* so many L1 entries have been counted for the snapshot to come (qcow2_take.c) */
	struct snapshot_new *taken;       /* it shows this; NULL: its moment has not come */
	bool making;                      /* one is made: after prepare */
	bool leaks;                       /* counts are known to be too high: the dirty bit stays */
	struct pending *pending;          /* guest ranges that get new clusters just now */

	/* invariant 4: freed in memory -> gone from the disk -> no transfer left that knew them */
	struct cluster_list freed, gone;
	struct cluster_list holes;        /* without reference, but counted until they are punched */
	bool punching;                    /* somebody does that: the only one */
	struct cluster_list later;        /* were free when they might have been punched, but the guest was not quiet */
	unsigned generation, active[2];   /* transfers in progress, by the generation they began in */
};

static inline uint16_t be16_get(const void *p) { uint16_t v; memcpy(&v, p, 2); return be16toh(v); }
static inline uint32_t be32_get(const void *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }
static inline uint64_t be64_get(const void *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }
static inline void be16_put(void *p, uint16_t v) { v = htobe16(v); memcpy(p, &v, 2); }
static inline void be32_put(void *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static inline void be64_put(void *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }

/* qcow2_table.c: metadata in memory; requires: q->lock */
/* The table at `offset`; `fresh`: do not read it, it is new (zeroed, dirty), and none is there. The
 * pointer is good until the next call, or until the lock is let go. */
int table_get(struct qcow2 *q, uint64_t offset, enum table_kind kind, bool fresh, struct table **t);
void table_forget(struct qcow2 *q, uint64_t offset);
/* More stay in memory for a while: nothing is evicted, which would be a sync; then as many as usual, as far as
 * they are clean. */
void tables_keep(struct qcow2 *q);
void tables_shrink(struct qcow2 *q);
void tables_trim(struct qcow2 *q);          /* the last part of that */
/* So many are dirty that a flush would do good. */
bool tables_are_dirty(const struct qcow2 *q);
/* Make all metadata durable, in the order that the invariants ask for. */
int metadata_sync(struct qcow2 *q);
/* The same, letting go of the lock while the disk works; then what may be reused is. */
int metadata_flush(struct qcow2 *q);
/* The table if it is in memory; is there one of any kind? */
struct table *table_peek(struct qcow2 *q, uint64_t offset, enum table_kind kind);
bool table_is_at(struct qcow2 *q, uint64_t offset);
int mark_dirty(struct qcow2 *q);
/* The i-th entry of the active L1 table: it is to be written; as it is written. */
static inline void l1_changed(struct qcow2 *q, uint32_t i)
{
	q->l1_dirty[i / 64] = q->any_l1_dirty = true;
}
static inline uint64_t l1_on_disk(const struct qcow2 *q, uint32_t i)
{
	return i < q->lent ? q->l1[i] & ~L2_COPIED : q->l1[i];
}
/* Metadata cannot be trusted to be on disk: what is there stays as it is from now on. */
int metadata_failed(struct qcow2 *q, int r);
/* A write of metadata failed. Without space nothing is lost: it is still in memory, and
 * may be tried again. */
int metadata_unwritten(struct qcow2 *q, int r);
void tables_free(struct qcow2 *q);

/* True: a thread beside the guest will call qcow2_tidy. */
static inline bool tidy_later(const struct qcow2 *q)
{
	if (q->image->tidy_wanted)
		q->image->tidy_wanted(q->image);
	return q->image->tidy_wanted != NULL;
}

/* qcow2_refcount.c; requires: q->lock */
int refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count);
int refcount_add(struct qcow2 *q, uint64_t cluster, int delta);
int refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count);
/* Up to `want` neighbouring free clusters, refcount 1 each: offset, *got. */
int clusters_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got);
/* As many neighbours as hold so many bytes. */
int clusters_alloc_run(struct qcow2 *q, uint64_t bytes, uint64_t *offset);
/* The counts of `n` clusters by one: all, or none goes up; those that would come to 0 become holes. */
int refcount_run(struct qcow2 *q, uint64_t first, uint64_t n, int delta);
uint64_t refcount_max(const struct qcow2 *q);
uint64_t ref_load(const struct qcow2 *q, const uint8_t *block, uint64_t i);
void ref_store(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t v);

/* qcow2_holes.c; requires: q->lock */
/* Once the reference has gone from the disk too. */
void cluster_free_later(struct qcow2 *q, uint64_t offset);
void clusters_put(struct cluster_list *l, uint64_t cluster);
void becomes_hole(struct qcow2 *q, uint64_t cluster);
/* Give back what has gone from the disk and is known to no transfer. */
int apply_gone(struct qcow2 *q);
/* Punch holes, letting go of the lock; then they are free. */
int punch_holes(struct qcow2 *q);
/* That, now or by the thread that tidies. */
int punch_holes_some_time(struct qcow2 *q);
/* What that thread does. True: some are left for a quieter moment. */
bool holes_tidy(struct qcow2 *q);
/* At the end, as many as a moment allows: the others stay in the file, free. */
int holes_close(struct qcow2 *q);

/* qcow2_tree.c; requires: q->lock */
/* The clusters that an entry counts for. */
uint64_t entry_clusters(const struct qcow2 *q, uint64_t e, uint64_t *first);
bool l2_is_marked(const struct qcow2 *q, const uint8_t *table);
void l2_unmark(const struct qcow2 *q, uint8_t *table);
/* One more, or one less, reference to an L2 table, or those of an L1 table, and all that they lead to. Up: all or
 * none. */
int l2_count(struct qcow2 *q, uint64_t at, int delta);
int tree_count(struct qcow2 *q, const uint64_t *l1, uint32_t size, int delta);
/* The i-th entry of a snapshot's L1 table goes; what only the active one has then is marked so. */
int l2_drop(struct qcow2 *q, uint32_t i, uint64_t l1_entry);
/* Whoever waits for the lock gets it, for as long as it has been held since *since, if that was long. */
void qcow2_give_way(struct qcow2 *q, uint64_t *since);

/* qcow2_snapshot.c; requires: q->lock, q->altering */
/* Is there room for one more of that name? */
int snapshot_may_be(struct qcow2 *q, const char *name);
/* The moment at which there is one more: an L1 table, as it was then. */
struct snapshot_new { const char *name; uint64_t *l1, size; uint32_t l1_size; struct timespec when; };
int snapshot_store(struct qcow2 *q, const struct snapshot_new *n);
/* One at a time changes snapshots. */
void alter_begin(struct qcow2 *q);
void alter_end(struct qcow2 *q);
/* So many tables have been changed: time for a flush. */
unsigned tables_enough(const struct qcow2 *q);
/* Without the lock: the image if it may have them; what 0 or -errno comes to. */
struct qcow2 *snapshot_writable(struct image *i, struct error *err);
bool snapshot_explain(const struct image *i, int r, const char *what, const char *name, struct error *err);

/* qcow2_bitmap.c; requires: q->lock */
void bitmaps_load(struct qcow2 *q);
void bitmaps_free(struct qcow2 *q);
/* Before the first change of a session, the extension being void: they are in use. */
int bitmaps_begin(struct qcow2 *q);
/* Something in that range changes. */
void bitmaps_mark_slow(struct qcow2 *q, uint64_t offset, uint64_t len);
static inline void bitmaps_mark(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	if (unlikely(q->bitmaps))
		bitmaps_mark_slow(q, offset, len);
}
void bitmaps_resize(struct qcow2 *q, bool all);
int bitmaps_store(struct qcow2 *q);

/* Where guest data is. */
static inline struct image_file *qcow2_data(const struct qcow2 *q)
{
	return q->external ? q->image->data : q->file;
}

/* qcow2_map.c */
enum cluster_kind { CLUSTER_ABSENT, CLUSTER_ZERO, CLUSTER_DATA, CLUSTER_COMPRESSED };
enum cluster_kind entry_kind(const struct qcow2 *q, uint64_t entry);
/* The L2 entry of a guest offset, 0 if its table is absent; requires: q->lock */
int entry_get(struct qcow2 *q, uint64_t offset, uint64_t *entry);
/* Offset and bytes (in whole sectors) of a compressed cluster. */
void compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *bytes);
/* The entry of a guest cluster becomes this one; the old one's clusters are freed. */
int entry_set(struct qcow2 *q, uint64_t offset, uint64_t entry);
/* The contents of a compressed cluster. */
int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint8_t *out);
int qcow2_read(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len);
int qcow2_write(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len);
int qcow2_zero(struct image *i, uint64_t offset, uint64_t len, bool unmap);
int qcow2_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind);
int qcow2_flush(struct image *i);
bool qcow2_tidy(struct image *i);
enum image_direct qcow2_direct(struct image *i, uint64_t offset, uint64_t len, bool writes, uint64_t *host,
			       unsigned *token);
void qcow2_landed(struct image *i, unsigned token);
/* Does the header, the L1 or the refcount table lie in there? Nothing else ever does, whatever the counts of a
 * damaged image say. */
bool place_is_fixed(const struct qcow2 *q, uint64_t offset, uint64_t len);
/* An aligned host offset within the file, outside those. */
bool place_sound(const struct qcow2 *q, uint64_t offset);

#endif
