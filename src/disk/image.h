/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images as plain blocking calls: what the tools use, and what the threads
 * behind a struct disk run.  read, write, zero and flush may be called from
 * several threads at once; results are 0 or -errno.
 *
 * An image lies on a struct image_file, whose calls a test can replace to drop
 * or reorder what was not synced.
 */
#ifndef DISK_IMAGE_H
#define DISK_IMAGE_H

#include <sys/uio.h>
#include "base/error.h"
#include "base/util.h"

struct pace;
struct image_file;
struct image_file_ops {
	int (*read)(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset);
	int (*write)(struct image_file *f, const struct iovec *iov, unsigned n, uint64_t offset);
	int (*sync)(struct image_file *f);
	int (*punch)(struct image_file *f, uint64_t offset, uint64_t len);
	int (*truncate)(struct image_file *f, uint64_t size);
	uint64_t (*size)(struct image_file *f);
	void (*close)(struct image_file *f);
};
struct image_file { const struct image_file_ops *ops; };
/* Over a descriptor, which it owns from then on. Reads beyond the end give zeros. */
struct image_file *image_file_fd(int fd);
int image_file_descriptor(struct image_file *f);     /* of image_file_fd's; stays its own */
/* Is there a hole at `offset`, and for how many bytes does that go on (at most *len)? False also where the
 * file system cannot tell. */
bool file_hole(struct image_file *f, uint64_t offset, uint64_t *len);
int file_read(struct image_file *f, void *buf, size_t n, uint64_t offset);
int file_write(struct image_file *f, const void *buf, size_t n, uint64_t offset);

/* Where a transfer may go without waiting: this file, zeros, the backing image, or unknown. */
enum image_direct { DIRECT_NO, DIRECT_HERE, DIRECT_ZERO, DIRECT_BELOW };

enum image_kind { IMAGE_DATA, IMAGE_ZERO, IMAGE_ABSENT };   /* ABSENT: the backing image's */

struct image;
struct image_ops {
	const char *format;
	bool (*open)(struct image *i, struct error *err);
	int (*read)(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len);
	int (*write)(struct image *i, const struct iovec *iov, unsigned n, uint64_t offset, uint64_t len);
	/* Zeros; unmap: give the space back where that is possible. */
	int (*zero)(struct image *i, uint64_t offset, uint64_t len, bool unmap);
	int (*flush)(struct image *i);
	/* What this layer alone has at `offset`: kind, and for how many bytes (at most *len). */
	int (*map)(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind);
	/* HERE: all of it lies at *host of the file, which stays so until landed(token).
	 * Never blocks.  Both may be NULL. */
	enum image_direct (*direct)(struct image *i, uint64_t offset, uint64_t len, bool writes, uint64_t *host,
				    unsigned *token);
	void (*landed)(struct image *i, unsigned token);
	bool (*resize)(struct image *i, uint64_t size, struct error *err);
	bool (*tidy)(struct image *i);    /* or NULL; true: something is left for a quieter moment */
	void (*close)(struct image *i);
};

enum { IMAGE_CHAIN_MAX = 64 };

struct image {
	const struct image_ops *ops;
	struct image_file *file;
	char *path;
	uint64_t size;                    /* bytes the guest sees */
	bool readonly;
	struct image *backing;
	char *backing_name, *backing_format;   /* as written in the image, or NULL */
	char *data_name;                  /* qcow2: where its data is, if not in the file itself */
	struct image_file *data;
	/* Beside a guest: clusters that could be made free, and the like, are asked for by this (from any thread, with
	 * locks held), and then done by a thread that nobody waits for (ops->tidy). NULL: by those who write. */
	void (*tidy_wanted)(struct image *i);
	void *owner;                      /* of whoever set that */
	struct pace *pace;                /* how fast that may go, and a merge; NULL: as fast as it can */
	void *format;
};

extern const struct image_ops image_raw, image_qcow2;
/* Other vendors': only read. */
extern const struct image_ops image_vmdk, image_vdi, image_vhd, image_parallels;

struct image_open {
	const char *path;                 /* for messages, and to open if fd < 0 */
	int fd;                           /* >= 0: use this one; owned, also on failure */
	const char *format;               /* NULL: look at its first bytes */
	bool readonly, no_backing, no_lock;
	bool any_format;                  /* look for other vendors' too */
	const int *backing_fds;           /* the chain below, if already open: borrowed */
	unsigned nbacking_fds;
	int data_fd;                      /* the same of its data file, > 0 */
};
struct image *image_open(const struct image_open *o, struct error *err);
/* The same on a file that is open already (owned on success), without backing. */
struct image *image_on(struct image_file *f, const char *format, const char *path, bool readonly,
		       struct error *err);
void image_close(struct image *i);
/* "raw" or "qcow2", by the first bytes; `any`: other vendors' formats too, for tools
 * (VHD of fixed size ends with its mark: to be named). */
const char *image_probe(struct image_file *f, bool any);

int image_read(struct image *i, void *buf, size_t len, uint64_t offset);
int image_write(struct image *i, const void *buf, size_t len, uint64_t offset);
/* The same through the whole chain: DATA or ZERO; `depth` (may be NULL): how many layers down. */
int image_map(struct image *i, uint64_t offset, uint64_t *len, enum image_kind *kind, unsigned *depth);

/* Bytes [skip, skip + len) of an array of iovecs, into out[] (room for n); how many. */
unsigned iov_window(const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len, struct iovec *out);
void iov_zero(const struct iovec *iov, unsigned n);

/* qcow2.c */
struct qcow2_create { uint64_t size; unsigned cluster_bits, version; const char *backing, *backing_format; bool zstd,
	data_raw; /* what is in the data file is the disk */
	const char *data_file; bool lazy_refcounts; /* a word for QEMU: Abyme keeps counts in order anyway */ };
bool qcow2_create(struct image_file *f, const struct qcow2_create *c, struct error *err);
/* One whole cluster (padded with zeros at the end of the disk), compressed. One thread only. */
int qcow2_write_compressed(struct image *i, const uint8_t *data, uint64_t offset);
uint64_t qcow2_cluster_size(const struct image *i);
/* Has this layer no contents of its own? */
bool qcow2_is_empty(const struct image *i);
/* Two states of one image, read-only: do the next *len bytes (shortened to a run) differ? */
int qcow2_changed(struct image *old, struct image *now, uint64_t offset, uint64_t *len, bool *changed);

/* qcow2_snapshot.c: internal snapshots. Names; where none fits, ids. All may run
 * beside transfers; apply holds new ones up. */
struct image_snapshot { char *id, *name; uint64_t size; uint32_t seconds, vm_state; };
bool qcow2_snapshot_create(struct image *i, const char *name, struct error *err);
/* The same in three steps, which follow one another (qcow2_take.c): what can be done before is done, beside
 * transfers; the moment whose contents it has, a matter of memory alone; it comes to the disk, beside transfers again.
 * A step that fails cancels all; cancel does so before the last. No other change of snapshots in between: it would wait. */
bool qcow2_snapshot_prepare(struct image *i, const char *name, struct error *err);
bool qcow2_snapshot_take(struct image *i, const char *name, struct error *err);
bool qcow2_snapshot_keep(struct image *i, const char *name, struct error *err);
void qcow2_snapshot_cancel(struct image *i);
bool qcow2_snapshot_delete(struct image *i, const char *name, struct error *err);
bool qcow2_snapshot_apply(struct image *i, const char *name, struct error *err);
/* None for other formats. */
bool qcow2_snapshot_list(struct image *i, struct image_snapshot **list, unsigned *n, struct error *err);
void image_snapshots_free(struct image_snapshot *list, unsigned n);
/* A read-only image that shows the snapshot from now on. */
bool qcow2_snapshot_show(struct image *i, const char *name, struct error *err);

/* qcow2_bitmap.c: persistent dirty bitmaps. A new one records from then on; what is changed
 * is in the file when the image has been closed. */
struct image_bitmap { char *name; uint64_t granularity, dirty; bool sound /* else not to be trusted */, recording; };
bool qcow2_bitmap_add(struct image *i, const char *name, unsigned granularity_bits, struct error *err);
bool qcow2_bitmap_remove(struct image *i, const char *name, struct error *err);
bool qcow2_bitmap_clear(struct image *i, const char *name, struct error *err);
unsigned qcow2_bitmap_list(struct image *i, struct image_bitmap **list);
void image_bitmaps_free(struct image_bitmap *list, unsigned n);
/* Is it dirty at `offset`, and for how many bytes (at most *len)? False: there is no such sound bitmap. */
bool qcow2_bitmap_run(struct image *i, const char *name, uint64_t offset, uint64_t *len, bool *dirty);

/* What a check found; repaired ones are counted too. */
struct image_check { uint64_t corruptions, leaks, unmarked /* sole owners not marked as such */, fixed, clusters, allocated; };
bool qcow2_check(struct image *i, bool repair, struct image_check *result, struct error *err);

#endif
