/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file operations over io_uring.  A ring escapes seccomp, so it is
 * born disabled and restricted to the three operations used here, on its
 * registered files, before it is enabled.
 *
 * What is in the page cache is complete when the submission returns: it is
 * reaped there, without a turn of the loop.
 */
#include "disk/aio.h"

#include <liburing.h>

enum { ENTRIES = 128, REAP_MAX = 1024, LONG_COPY = 256 * 1024 };

struct uring {
	struct aio aio;
	struct io_uring ring;
	struct loop_fd *watch;
	struct workers *workers;
	struct aio *writes;
	struct aio_op *first, **last;     /* waiting for room in the ring */
	unsigned queued, in_ring;
	bool reaping;                     /* callbacks that submit more: the outer reap goes on */
};

static void prepare(struct io_uring_sqe *sqe, struct aio_op *op)
{
	switch (op->kind) {
	case AIO_READ: io_uring_prep_readv(sqe, (int)op->file, op->iov, op->niov, op->offset); break;
	case AIO_WRITE: break;            /* never comes here */
	case AIO_SYNC: io_uring_prep_fsync(sqe, (int)op->file, IORING_FSYNC_DATASYNC); break;
	case AIO_FALLOCATE:
		io_uring_prep_fallocate(sqe, (int)op->file, op->mode, (off_t)op->offset, (off_t)op->length);
		break;
	}
	/* long copies on the kernel's own threads: several at once, and the loop goes on */
	sqe->flags |= IOSQE_FIXED_FILE | (op->length >= LONG_COPY && op->kind == AIO_READ ? IOSQE_ASYNC : 0);
	io_uring_sqe_set_data(sqe, op);
}

static void fill(struct uring *u)
{
	while (u->first && u->in_ring < ENTRIES) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			return;
		struct aio_op *op = u->first;
		u->first = op->next;
		if (!u->first)
			u->last = &u->first;
		prepare(sqe, op);
		u->in_ring++;
		u->queued++;
	}
}

static void push(struct uring *u)
{
	fill(u);
	while (u->queued) {
		int n = io_uring_submit(&u->ring);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return;           /* busy: tried again at the next completion */
		u->queued -= MIN((unsigned)n, u->queued);
	}
}

/* What is left after so many is met on the loop's next turn: others want theirs. */
static void reap(struct uring *u)
{
	struct io_uring_cqe *cqe;
	bool outer = u->reaping;
	unsigned budget = REAP_MAX;
	u->reaping = true;
	do {
		for (; budget && !io_uring_peek_cqe(&u->ring, &cqe); budget--) {
			struct aio_op *op = io_uring_cqe_get_data(cqe);
			int64_t result = cqe->res;
			io_uring_cqe_seen(&u->ring, cqe);
			u->in_ring--;
			op->done(op, result);
		}
		push(u);
	} while (budget && io_uring_cq_ready(&u->ring));
	u->reaping = outer;
}

static void uring_flush(struct aio *a)
{
	struct uring *u = container_of(a, struct uring, aio);
	if (u->reaping)
		return;                   /* pushed as one batch when the completions are through */
	push(u);
	reap(u);
}

static void uring_submit(struct aio *a, struct aio_op *op)
{
	struct uring *u = container_of(a, struct uring, aio);
	if (op->kind == AIO_WRITE) {
		u->writes->ops->submit(u->writes, op);
		return;
	}
	op->next = NULL;
	*u->last = op;
	u->last = &op->next;
}

static void ring_ready(void *opaque, int events)
{
	reap(opaque);
}

static void uring_wait(struct aio *a)
{
	struct uring *u = container_of(a, struct uring, aio);
	struct io_uring_cqe *cqe;
	push(u);
	if (u->in_ring > u->queued)
		io_uring_wait_cqe(&u->ring, &cqe);
	else if (!u->in_ring)
		workers_wait(u->workers);
	reap(u);
}

static void uring_free(struct aio *a)
{
	struct uring *u = container_of(a, struct uring, aio);
	loop_fd_del(u->watch);
	io_uring_queue_exit(&u->ring);
	u->writes->ops->free(u->writes);
	free(u);
}

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t allowed[] = { IORING_OP_READV, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_restriction r[ARRAY_SIZE(allowed) + 2] = { 0 };
	for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++) {
		r[i].opcode = IORING_RESTRICTION_SQE_OP;
		r[i].sqe_op = allowed[i];
	}
	r[ARRAY_SIZE(allowed)].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	r[ARRAY_SIZE(allowed)].sqe_flags = IOSQE_FIXED_FILE;
	r[ARRAY_SIZE(allowed) + 1].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[ARRAY_SIZE(allowed) + 1].sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
	/* by number: liburing 2.3 does not export the function for it */
	return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, r, ARRAY_SIZE(r));
}

static int start_ring(struct io_uring *ring, const int *fds, unsigned nfds)
{
	int r = io_uring_register_files(ring, fds, nfds);
	if (!r)
		r = restrict_ring(ring);
	return r ? r : io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static const struct aio_ops uring_ops = { uring_submit, uring_flush, uring_wait, uring_free };

struct aio *aio_uring_new(struct loop *l, const int *fds, unsigned nfds, struct workers *ws, struct error *err)
{
	struct uring *u = xnew(struct uring);
	u->aio.ops = &uring_ops;
	u->last = &u->first;
	int r = io_uring_queue_init(ENTRIES, &u->ring, IORING_SETUP_R_DISABLED);
	if (r < 0) {
		free(u);
		return error_null(err, -r, "cannot create an io_uring");
	}
	r = start_ring(&u->ring, fds, nfds);
	if (r < 0) {
		io_uring_queue_exit(&u->ring);
		free(u);
		return error_null(err, -r, "cannot restrict an io_uring");
	}
	u->workers = ws;
	u->writes = aio_pool_new(fds, nfds, ws);
	u->watch = loop_fd_add(l, u->ring.ring_fd, LOOP_READ, ring_ready, u);
	return &u->aio;
}
