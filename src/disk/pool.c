/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file operations on a few threads.  A file system lets one buffered
 * write at a time into a regular file, and the next one's thread spins until then:
 * they queue up here instead, for one thread.
 */
#include "disk/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct pool {
	struct aio aio;
	struct workers *workers;
	int fd[AIO_FILES_MAX];
	bool regular[AIO_FILES_MAX];
	struct lane writes[AIO_FILES_MAX];
};

static void op_run(struct work *w)
{
	struct aio_op *op = container_of(w, struct aio_op, work);
	int fd = container_of(op->aio, struct pool, aio)->fd[op->file];
	int64_t r;
	do {
		switch (op->kind) {
		case AIO_READ: r = preadv(fd, op->iov, (int)op->niov, (off_t)op->offset); break;
		case AIO_WRITE: r = pwritev(fd, op->iov, (int)op->niov, (off_t)op->offset); break;
		case AIO_SYNC: r = fdatasync(fd); break;
		default: r = fallocate(fd, op->mode, (off_t)op->offset, (off_t)op->length); break;
		}
	} while (r < 0 && errno == EINTR);
	op->result = r < 0 ? -errno : r;
}

static void op_done(struct work *w)
{
	struct aio_op *op = container_of(w, struct aio_op, work);
	op->done(op, op->result);
}

static void pool_submit(struct aio *a, struct aio_op *op)
{
	struct pool *p = container_of(a, struct pool, aio);
	bool queue = op->kind == AIO_WRITE && p->regular[op->file];
	op->aio = a;
	op->work = (struct work){ .run = op_run, .done = op_done, .lane = queue ? &p->writes[op->file] : NULL };
	workers_submit(p->workers, &op->work);
}

static void pool_flush(struct aio *a) { }
static void pool_wait(struct aio *a) { workers_wait(container_of(a, struct pool, aio)->workers); }

static void pool_free(struct aio *a) { free(container_of(a, struct pool, aio)); }

static const struct aio_ops pool_ops = { pool_submit, pool_flush, pool_wait, pool_free };

struct aio *aio_pool_new(const int *fds, unsigned nfds, struct workers *ws)
{
	struct pool *p = xnew(struct pool);
	p->aio.ops = &pool_ops;
	p->workers = ws;
	for (unsigned i = 0; i < MIN(nfds, (unsigned)AIO_FILES_MAX); i++) {
		struct stat st;
		p->fd[i] = fds[i];
		p->regular[i] = !fstat(fds[i], &st) && S_ISREG(st.st_mode);
	}
	return &p->aio;
}

struct aio *aio_new(struct loop *l, const int *fds, unsigned nfds, struct workers *ws, bool no_uring)
{
	struct aio *a = no_uring ? NULL : aio_uring_new(l, fds, nfds, ws, NULL);
	return a ? a : aio_pool_new(fds, nfds, ws);
}
