/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file operations on a few threads: where io_uring is refused
 * (containers, hardened kernels).  Two lists under one lock, an eventfd for the
 * loop, a condition for whoever has to wait.
 */
#include "disk/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

enum { THREADS = 4, STACK = 128 * 1024 };

struct pool {
	struct aio aio;
	int fd, event;
	struct loop_fd *watch;
	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct aio_op *todo, **todo_last, *done;
	bool stop;
	unsigned nthreads;
	pthread_t thread[THREADS];
};

int64_t aio_run(int fd, const struct aio_op *op)
{
	int64_t r;
	do {
		switch (op->kind) {
		case AIO_READ: r = preadv(fd, op->iov, (int)op->niov, (off_t)op->offset); break;
		case AIO_WRITE: r = pwritev(fd, op->iov, (int)op->niov, (off_t)op->offset); break;
		case AIO_SYNC: r = fdatasync(fd); break;
		default: r = fallocate(fd, op->mode, (off_t)op->offset, (off_t)op->length); break;
		}
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* The next op, or NULL when the pool ends. */
static struct aio_op *take(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (!p->todo && !p->stop)
		pthread_cond_wait(&p->work, &p->lock);
	struct aio_op *op = p->todo;
	if (op) {
		p->todo = op->next;
		if (!p->todo)
			p->todo_last = &p->todo;
	}
	pthread_mutex_unlock(&p->lock);
	return op;
}

static void give(struct pool *p, struct aio_op *op)
{
	pthread_mutex_lock(&p->lock);
	bool first = !p->done;
	op->next = p->done;
	p->done = op;
	pthread_cond_signal(&p->finished);
	pthread_mutex_unlock(&p->lock);
	if (first)
		eventfd_write(p->event, 1);
}

static void *worker(void *opaque)
{
	struct pool *p = opaque;
	for (struct aio_op *op; (op = take(p)); give(p, op))
		op->result = aio_run(p->fd, op);
	return NULL;
}

static void pool_submit(struct aio *a, struct aio_op *op)
{
	struct pool *p = container_of(a, struct pool, aio);
	pthread_mutex_lock(&p->lock);
	op->next = NULL;
	*p->todo_last = op;
	p->todo_last = &op->next;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

static void pool_flush(struct aio *a) { }

static void complete(struct pool *p, bool wait)
{
	pthread_mutex_lock(&p->lock);
	while (wait && !p->done)
		pthread_cond_wait(&p->finished, &p->lock);
	struct aio_op *op = p->done;
	p->done = NULL;
	pthread_mutex_unlock(&p->lock);
	for (struct aio_op *next; op; op = next) {
		next = op->next;
		op->done(op, op->result);
	}
}

static void pool_wait(struct aio *a)
{
	complete(container_of(a, struct pool, aio), true);
}

static void event_ready(void *opaque, int events)
{
	struct pool *p = opaque;
	eventfd_t n;
	eventfd_read(p->event, &n);
	complete(p, false);
}

static void pool_free(struct aio *a)
{
	struct pool *p = container_of(a, struct pool, aio);
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->thread[i], NULL);
	loop_fd_del(p->watch);
	close(p->event);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->finished);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* Threads take no signals: those belong to the vCPUs and the main thread. */
static void start_threads(struct pool *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	while (p->nthreads < THREADS &&
	       !pthread_create(&p->thread[p->nthreads], &attr, worker, p))
		p->nthreads++;
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static const struct aio_ops pool_ops = { pool_submit, pool_flush, pool_wait, pool_free };

struct aio *aio_pool_new(struct loop *l, int fd, struct error *err)
{
	struct pool *p = xnew(struct pool);
	p->aio.ops = &pool_ops;
	p->fd = fd;
	p->todo_last = &p->todo;
	p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->finished, NULL);
	if (p->event >= 0)
		p->watch = loop_fd_add(l, p->event, LOOP_READ, event_ready, p);
	if (p->watch)
		start_threads(p);
	if (!p->nthreads) {
		int e = errno;
		pool_free(&p->aio);
		return error_null(err, e, "cannot start the threads for disk I/O");
	}
	return &p->aio;
}
