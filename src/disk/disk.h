/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual disks: asynchronous requests; formats stack over files.  A request
 * is submitted and completes by its callback on the loop's thread, in any
 * order, possibly before disk_submit returns.  After a flush completes, all
 * writes completed before it was submitted survive a power cut.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include <sys/uio.h>
#include "base/error.h"
#include "base/loop.h"

struct disk;

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES };

struct disk_request {
	enum disk_op op;
	uint64_t offset, length;          /* bytes, multiples of 512 */
	const struct iovec *iov;          /* READ, WRITE: borrowed until done */
	unsigned niov;
	bool unmap;                       /* WRITE_ZEROES: may punch a hole */
	void (*done)(struct disk_request *r, int result);   /* 0 or -errno */
	void *opaque;
};

struct disk_info { uint64_t size; bool readonly; bool discard; char format[16]; };

struct disk_options {
	const char *path;
	int fd;                           /* >= 0: use this descriptor (passed by the keeper), owned on success */
	const char *format;               /* "raw"; NULL = raw */
	bool readonly;
	const int *backing_fds;           /* qcow2: the chain below, opened by the keeper; owned */
	unsigned nbacking_fds;
	bool no_uring;                    /* use the thread pool even where io_uring works */
};
/* Opens and locks (OFD locks at QEMU's byte ranges: 100 + permission bits). */
struct disk *disk_open(const struct disk_options *o, struct loop *l, struct error *err);
void disk_close(struct disk *d);
void disk_get_info(const struct disk *d, struct disk_info *info);
void disk_submit(struct disk *d, struct disk_request *r);
/* Requests between plug and unplug go down in one batch. Does not nest. */
void disk_plug(struct disk *d);
void disk_unplug(struct disk *d);
/* Wait, on the loop's thread, until nothing is in flight. */
void disk_drain(struct disk *d);
/*
 * For the keeper: open the files below a qcow2 image, top first, at most `max`;
 * fds[*n].  Names come from hostile images: each file must lie in the directory
 * of the one that names it, or below.
 */
bool disk_open_chain(const char *path, int fd, int *fds, unsigned max, unsigned *n, struct error *err);
/* Internal snapshots of a format that has them; from any thread but the loop's. CREATE
 * holds requests up while it works; FLUSH before it makes that short. */
enum disk_snapshot { DISK_SNAPSHOT_FLUSH, DISK_SNAPSHOT_CREATE, DISK_SNAPSHOT_DELETE };
bool disk_snapshot(struct disk *d, enum disk_snapshot what, const char *name, struct error *err);
unsigned disk_in_flight(const struct disk *d);

#endif
