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
	/* private */
	struct disk_request *next;
	int error;
	bool again;
};

struct disk_info { uint64_t size; bool readonly; bool discard; char format[16]; };

struct disk_options {
	const char *path;
	int fd;                           /* >= 0: use this descriptor (passed by the keeper), owned on success */
	const char *format;               /* "raw"; NULL = raw */
	bool readonly;
	const int *backing_fds;           /* qcow2: the chain below, opened by the keeper; owned */
	unsigned nbacking_fds;
	int data_fd;                      /* qcow2: the top image's data file, if it has one (> 0); owned */
	uint64_t nbd_size; uint16_t nbd_flags;   /* format nbd: fd is a connection (disk/nbd.h) */
	int nbd_line;                     /* where to ask for another when it is lost, -1 or 0: nowhere; owned */
	unsigned nbd_patience;            /* seconds that requests wait for it */
	bool no_uring;                    /* use the thread pool even where io_uring works */
};
/* Opens and locks (OFD locks at QEMU's byte ranges: 100 + permission bits). */
struct disk *disk_open(const struct disk_options *o, struct loop *l, struct error *err);
void disk_close(struct disk *d);
/* Does somebody else's lock stand against such a use of the file, just now? */
bool disk_is_locked(int fd, bool readonly);
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
/* For the keeper: the file that has the data of a qcow2 image, under the same rule; *data -1: itself. As it is
 * written to, the image alone does not decide: the name must have been declared by the user, too. */
bool disk_open_data(const char *path, int fd, const char *declared, bool readonly, int *data, struct error *err);
/* Internal snapshots of a format that has them; from any thread but the loop's. One is made by PREPARE, TAKE and
 * KEEP; TAKE is its moment, and waits for no disk. A step that fails cancels what was before it. */
enum disk_snapshot { DISK_SNAPSHOT_PREPARE, DISK_SNAPSHOT_TAKE, DISK_SNAPSHOT_KEEP, DISK_SNAPSHOT_CANCEL, DISK_SNAPSHOT_DELETE };
bool disk_snapshot(struct disk *d, enum disk_snapshot what, const char *name, struct error *err);
unsigned disk_in_flight(const struct disk *d);

/* hold.c: what happens to a request that the host could not do. ENOSPC: one that found
 * no space waits, others are reported to the guest. */
#define DISK_ON_ERROR(X) X(REPORT, "report") X(PAUSE, "pause") X(ENOSPC, "enospc") X(IGNORE, "ignore")
enum disk_on_error {
#define X(name, word) DISK_ON_ERROR_##name,
	DISK_ON_ERROR(X)
#undef X
};
bool disk_on_error_parse(const char *word, enum disk_on_error *out, struct error *err);
/* stuck(opaque, errno): requests wait, as the host cannot do them; (opaque, 0): all of
 * them have been done since. They are tried again twice a second. Loop's thread, any locks. */
void disk_set_on_error(struct disk *d, enum disk_on_error what, void (*stuck)(void *opaque, int error), void *opaque);
/* Try what waits for the host again, now. */
void disk_retry(struct disk *d);
/* Like drain, but what waits for the host goes on waiting: its error, or 0. Drain reports it. */
int disk_settle(struct disk *d);

/* A second's worth; 0: no limit. Bursts are how much may come at once, 0: a tenth of a second's. */
struct disk_limits { uint64_t iops, iops_burst, bps, bps_burst; };
void disk_set_limits(struct disk *d, const struct disk_limits *limits);

#endif
