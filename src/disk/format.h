/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of disk/: what a format provides.  disk.c has checked a request
 * (range, alignment, readonly) before a format sees it.
 */
#ifndef DISK_FORMAT_H
#define DISK_FORMAT_H

#include "disk/disk.h"

struct disk_ops {
	const char *format;
	/* Takes the descriptor on success; fills d->info. */
	bool (*open)(struct disk *d, int fd, const struct disk_options *o, struct error *err);
	void (*submit)(struct disk *d, struct disk_request *r);
	void (*plug)(struct disk *d, bool on);
	void (*wait)(struct disk *d);       /* block for at least one completion */
	bool (*snapshot)(struct disk *d, enum disk_snapshot what, const char *name, struct error *err);   /* or NULL */
	void (*close)(struct disk *d);
};

struct disk {
	const struct disk_ops *ops;
	struct loop *loop;
	struct disk_info info;
	unsigned in_flight;
	struct hold *hold;
	void *format;                       /* the format's own */
};

extern const struct disk_ops disk_raw, disk_qcow2, disk_nbd;

/* Finish a request; the format no longer knows it. */
void disk_done(struct disk *d, struct disk_request *r, int result);

/* Requests in the order in which they came; all zero: none. */
struct request_queue { struct disk_request *first, *last; unsigned n; };

static inline void request_put(struct request_queue *q, struct disk_request *r)
{
	r->next = NULL;
	if (q->first)
		q->last->next = r;
	else
		q->first = r;
	q->last = r;
	q->n++;
}

/* NULL: there is none. */
static inline struct disk_request *request_take(struct request_queue *q)
{
	struct disk_request *r = q->first;
	if (r) {
		q->first = r->next;
		q->n--;
	}
	return r;
}

/* hold.c: requests that wait. */
struct hold *hold_new(struct disk *d);
void hold_free(struct hold *h);
/* It is over the limits: submitted later. */
bool hold_delays(struct hold *h, struct disk_request *r);
/* Not to be reported (now); may change the result. */
bool hold_keeps(struct hold *h, struct disk_request *r, int *result);
/* Nothing may wait any more, and nothing new will (until `on` is false). */
void hold_nothing(struct hold *h, bool on);

/* Size in bytes of a regular file or block device. */
bool disk_file_size(int fd, const char *path, uint64_t *size, struct error *err);
/* Take QEMU's byte-range locks, which live as long as the open file
 * (an io_uring keeps that open a little longer: unlock before closing). */
bool disk_lock(int fd, const char *path, bool readonly, struct error *err);
void disk_unlock(int fd);

#endif
