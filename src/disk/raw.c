/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw disks: the file is the disk.  Reads beyond its end give zeros (someone
 * has cut it), short transfers are finished, discard and write-zeroes punch
 * holes and fall back step by step where the file system cannot.
 */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>

#include "base/log.h"
#include "disk/aio.h"

enum { ZERO_CHUNK = 64 * 1024, ZERO_IOVS = 16, THREADS = 4 };

struct raw {
	struct aio *aio;
	struct workers *workers;
	int fd;
	bool plugged;
	bool no_punch, no_zero_range;     /* the file system has refused it */
};

struct raw_request {
	struct aio_op op;
	struct disk *disk;
	struct disk_request *r;
	uint64_t zeroed;                  /* WRITE_ZEROES by writing: done so far */
	struct iovec iov[ZERO_IOVS];
};

static uint8_t zeros[ZERO_CHUNK];         /* never written */

static void start(struct raw_request *q)
{
	struct raw *raw = q->disk->format;
	raw->aio->ops->submit(raw->aio, &q->op);
	if (!raw->plugged)
		raw->aio->ops->flush(raw->aio);
}

static void finish(struct raw_request *q, int result)
{
	struct disk *d = q->disk;
	struct disk_request *r = q->r;
	free(q);
	disk_done(d, r, result);
}

/* Bytes [done, length) of a transfer the kernel cut short, one piece at a time. */
static int complete_short(struct raw_request *q, uint64_t done)
{
	struct raw *raw = q->disk->format;
	uint64_t at = 0;
	for (unsigned i = 0; i < q->op.niov; i++) {
		struct iovec v = q->op.iov[i];
		uint64_t skip = done > at ? MIN(done - at, (uint64_t)v.iov_len) : 0;
		at += v.iov_len;
		v.iov_base = (uint8_t *)v.iov_base + skip;
		v.iov_len -= skip;
		uint64_t offset = q->op.offset + at - v.iov_len;
		if (q->op.kind == AIO_WRITE && !fd_pwrite_full(raw->fd, v.iov_base, v.iov_len, offset))
			return errno ? -errno : -EIO;
		if (q->op.kind != AIO_READ || fd_pread_full(raw->fd, v.iov_base, v.iov_len, offset))
			continue;
		if (errno)
			return -errno;
		memset(v.iov_base, 0, v.iov_len);
		ssize_t got = pread(raw->fd, v.iov_base, v.iov_len, (off_t)offset);
		if (got < 0)
			return -errno;
	}
	return 0;
}

static void transfer_done(struct aio_op *op, int64_t result)
{
	struct raw_request *q = container_of(op, struct raw_request, op);
	if (result == -EINTR || result == -EAGAIN)
		result = 0;
	if (result >= 0 && (uint64_t)result < op->length)
		result = complete_short(q, (uint64_t)result);
	finish(q, result < 0 ? (int)result : 0);
}

/* A thread of io_uring's may be interrupted in anything; nothing has failed then. */
static bool again(struct raw_request *q, int64_t result)
{
	if (result != -EINTR && result != -EAGAIN)
		return false;
	start(q);
	return true;
}

static void sync_done(struct aio_op *op, int64_t result)
{
	struct raw_request *q = container_of(op, struct raw_request, op);
	if (!again(q, result))
		finish(q, (int)result);
}

/* Zeros by plain writes, a megabyte at a time. */
static void write_zeros(struct aio_op *op, int64_t result)
{
	struct raw_request *q = container_of(op, struct raw_request, op);
	if (again(q, result))
		return;
	if (result < 0) {
		finish(q, (int)result);
		return;
	}
	q->zeroed += (uint64_t)result;
	uint64_t left = q->r->length - q->zeroed;
	if (!left) {
		finish(q, 0);
		return;
	}
	op->kind = AIO_WRITE;
	op->done = write_zeros;
	op->offset = q->r->offset + q->zeroed;
	op->iov = q->iov;
	for (op->niov = 0; op->niov < ZERO_IOVS && left; op->niov++) {
		uint64_t n = MIN(left, (uint64_t)ZERO_CHUNK);
		q->iov[op->niov] = (struct iovec){ zeros, n };
		left -= n;
	}
	start(q);
}

static void fallocate_next(struct raw_request *q);

static void fallocate_done(struct aio_op *op, int64_t result)
{
	struct raw_request *q = container_of(op, struct raw_request, op);
	struct raw *raw = q->disk->format;
	if (again(q, result))
		return;
	if (result != -EOPNOTSUPP && result != -ENOTTY && result != -EINVAL) {
		finish(q, (int)result);
		return;
	}
	if (op->mode & FALLOC_FL_PUNCH_HOLE)
		raw->no_punch = true;
	else
		raw->no_zero_range = true;
	fallocate_next(q);
}

/* Hole, else range of zeros, else written zeros; a discard may also do nothing. */
static void fallocate_next(struct raw_request *q)
{
	struct raw *raw = q->disk->format;
	bool hole = q->r->op == DISK_DISCARD || q->r->unmap || raw->no_zero_range;
	q->op.kind = AIO_FALLOCATE;
	q->op.done = fallocate_done;
	if (hole && !raw->no_punch)
		q->op.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	else if (q->r->op == DISK_DISCARD)
		return finish(q, 0);
	else if (!raw->no_zero_range)
		q->op.mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	else
		return write_zeros(&q->op, 0);
	start(q);
}

static void raw_submit(struct disk *d, struct disk_request *r)
{
	struct raw_request *q = xnew(struct raw_request);
	q->disk = d;
	q->r = r;
	q->op = (struct aio_op){ .iov = r->iov, .niov = r->niov, .offset = r->offset,
				 .length = r->length, .done = transfer_done };
	switch (r->op) {
	case DISK_READ: q->op.kind = AIO_READ; break;
	case DISK_WRITE: q->op.kind = AIO_WRITE; break;
	case DISK_FLUSH:
		q->op.kind = AIO_SYNC;
		q->op.done = sync_done;
		break;
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		fallocate_next(q);
		return;
	}
	start(q);
}

static void raw_plug(struct disk *d, bool on)
{
	struct raw *raw = d->format;
	raw->plugged = on;
	if (!on)
		raw->aio->ops->flush(raw->aio);
}

static void raw_wait(struct disk *d)
{
	struct raw *raw = d->format;
	raw->aio->ops->wait(raw->aio);
}

static void raw_close(struct disk *d)
{
	struct raw *raw = d->format;
	disk_unlock(raw->fd);
	raw->aio->ops->free(raw->aio);
	workers_free(raw->workers);
	close(raw->fd);
	free(raw);
}

static bool raw_open(struct disk *d, int fd, const struct disk_options *o, struct error *err)
{
	if (!disk_file_size(fd, o->path, &d->info.size, err))
		return false;
	if (d->info.size < 512)
		return error_set(err, 0, "disk '%s' is shorter than one sector of 512 bytes", o->path);
	if (d->info.size % 512)
		log_warn("the last %u bytes of disk '%s' are no whole sector and stay unseen",
			 (unsigned)(d->info.size % 512), o->path);
	d->info.size = ALIGN_DOWN(d->info.size, 512);
	d->info.discard = !o->readonly;
	struct workers *ws = workers_new(d->loop, THREADS, err);
	if (!ws) {
		error_prefix(err, "disk '%s'", o->path);
		return false;
	}
	struct raw *raw = xnew(struct raw);
	raw->workers = ws;
	raw->aio = aio_new(d->loop, &fd, 1, ws, o->no_uring);
	raw->fd = fd;
	d->format = raw;
	return true;
}

const struct disk_ops disk_raw = {
	.format = "raw", .open = raw_open, .submit = raw_submit, .plug = raw_plug,
	.wait = raw_wait, .close = raw_close,
};
