/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous operations on a few files: io_uring, or threads where the kernel
 * refuses it.  Buffered writes always go to the threads: file systems such as ext4
 * make a ring hand them to threads of the kernel's, one at a time and slower.
 * The ring exists once aio_new has returned, before the jail closes.  On the loop's
 * thread only; a completion may come within flush().
 */
#ifndef DISK_AIO_H
#define DISK_AIO_H

#include <sys/uio.h>
#include "disk/workers.h"

enum aio_kind { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_FALLOCATE };
enum { AIO_FILES_MAX = 8 };

struct aio_op {
	enum aio_kind kind;
	unsigned file;                    /* which of aio's files */
	int mode;                         /* FALLOCATE: FALLOC_FL_* */
	const struct iovec *iov;
	unsigned niov;
	uint64_t offset, length;
	void (*done)(struct aio_op *op, int64_t result);   /* bytes, or -errno */
	/* private */
	int64_t result;
	struct aio *aio;
	struct aio_op *next;
	struct work work;
};

struct aio;
struct aio_ops {
	void (*submit)(struct aio *a, struct aio_op *op);
	void (*flush)(struct aio *a);     /* hand a batch to the kernel */
	void (*wait)(struct aio *a);      /* block for at least one completion */
	void (*free)(struct aio *a);
};
struct aio { const struct aio_ops *ops; };

/* Descriptors and workers stay the caller's, until aio is freed. */
struct aio *aio_uring_new(struct loop *l, const int *fds, unsigned nfds, struct workers *ws, struct error *err);
struct aio *aio_pool_new(const int *fds, unsigned nfds, struct workers *ws);
/* The ring if the host grants one (and it is wanted), else the threads. */
struct aio *aio_new(struct loop *l, const int *fds, unsigned nfds, struct workers *ws, bool no_uring);

#endif
