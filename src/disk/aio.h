/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous operations on one file: io_uring, or a pool of threads where
 * the kernel refuses it.  Rings and threads exist once aio_new has returned,
 * before the jail closes.  On the loop's thread only.
 */
#ifndef DISK_AIO_H
#define DISK_AIO_H

#include <sys/uio.h>
#include "base/error.h"
#include "base/loop.h"

enum aio_kind { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_FALLOCATE };

struct aio_op {
	enum aio_kind kind;
	int mode;                         /* FALLOCATE: FALLOC_FL_* */
	const struct iovec *iov;
	unsigned niov;
	uint64_t offset, length;
	void (*done)(struct aio_op *op, int64_t result);   /* bytes, or -errno */
	int64_t result;                   /* private, as next */
	struct aio_op *next;
};

struct aio;
struct aio_ops {
	void (*submit)(struct aio *a, struct aio_op *op);
	void (*flush)(struct aio *a);     /* hand a batch to the kernel */
	void (*wait)(struct aio *a);      /* block for at least one completion */
	void (*free)(struct aio *a);
};
struct aio { const struct aio_ops *ops; };

struct aio *aio_uring_new(struct loop *l, int fd, struct error *err);
struct aio *aio_pool_new(struct loop *l, int fd, struct error *err);

/* What the kernel does for one op, blocking: result as for done. */
int64_t aio_run(int fd, const struct aio_op *op);

#endif
