/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A struct disk over a blocking image: a few threads take requests from a list
 * and give them back through an eventfd.  For formats whose requests are more
 * than one transfer (qcow2).
 */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "disk/image.h"

enum { THREADS = 4, STACK = 256 * 1024 };

struct job { struct disk_request *r; int result; struct job *next; };

struct threaded {
	struct image *image;
	struct disk *disk;
	int event;
	struct loop_fd *watch;
	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct job *todo, **todo_last, *done;
	bool stop;
	unsigned nthreads;
	pthread_t thread[THREADS];
};

static int run(struct image *i, const struct disk_request *r)
{
	switch (r->op) {
	case DISK_READ: return i->ops->read(i, r->iov, r->niov, r->offset, r->length);
	case DISK_WRITE: return i->ops->write(i, r->iov, r->niov, r->offset, r->length);
	case DISK_FLUSH: return i->readonly ? 0 : i->ops->flush(i);
	case DISK_DISCARD: return i->ops->zero(i, r->offset, r->length, true);
	default: return i->ops->zero(i, r->offset, r->length, r->unmap);
	}
}

static struct job *take(struct threaded *t)
{
	pthread_mutex_lock(&t->lock);
	while (!t->todo && !t->stop)
		pthread_cond_wait(&t->work, &t->lock);
	struct job *j = t->todo;
	if (j) {
		t->todo = j->next;
		if (!t->todo)
			t->todo_last = &t->todo;
	}
	pthread_mutex_unlock(&t->lock);
	return j;
}

static void *worker(void *opaque)
{
	struct threaded *t = opaque;
	for (struct job *j; (j = take(t)); ) {
		j->result = run(t->image, j->r);
		pthread_mutex_lock(&t->lock);
		bool first = !t->done;
		j->next = t->done;
		t->done = j;
		pthread_cond_signal(&t->finished);
		pthread_mutex_unlock(&t->lock);
		if (first)
			eventfd_write(t->event, 1);
	}
	return NULL;
}

static void complete(struct threaded *t, bool wait)
{
	pthread_mutex_lock(&t->lock);
	while (wait && !t->done)
		pthread_cond_wait(&t->finished, &t->lock);
	struct job *j = t->done;
	t->done = NULL;
	pthread_mutex_unlock(&t->lock);
	for (struct job *next; j; j = next) {
		struct disk_request *r = j->r;
		int result = j->result;
		next = j->next;
		free(j);
		disk_done(t->disk, r, result);
	}
}

static void event_ready(void *opaque, int events)
{
	struct threaded *t = opaque;
	eventfd_t n;
	eventfd_read(t->event, &n);
	complete(t, false);
}

static void threaded_submit(struct disk *d, struct disk_request *r)
{
	struct threaded *t = d->format;
	struct job *j = xnew(struct job);
	j->r = r;
	pthread_mutex_lock(&t->lock);
	*t->todo_last = j;
	t->todo_last = &j->next;
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

static void threaded_plug(struct disk *d, bool on) { }
static void threaded_wait(struct disk *d) { complete(d->format, true); }

static void threaded_close(struct disk *d)
{
	struct threaded *t = d->format;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->nthreads; i++)
		pthread_join(t->thread[i], NULL);
	loop_fd_del(t->watch);
	close(t->event);
	image_close(t->image);
	pthread_cond_destroy(&t->work);
	pthread_cond_destroy(&t->finished);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Threads take no signals: those belong to the vCPUs and the main thread. */
static void start_threads(struct threaded *t)
{
	pthread_attr_t attr;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	while (t->nthreads < THREADS && !pthread_create(&t->thread[t->nthreads], &attr, worker, t))
		t->nthreads++;
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* On a descriptor of its own: `fd` stays the caller's until all has gone well. */
static struct image *open_chain(int fd, const struct disk_options *o, struct error *err)
{
	struct image_open io = { .path = o->path, .format = o->format, .readonly = o->readonly,
				 .backing_fds = o->backing_fds, .nbacking_fds = o->nbacking_fds };
	io.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (io.fd < 0)
		return error_null(err, errno, "cannot use disk '%s'", o->path);
	return image_open(&io, err);
}

static bool threaded_open(struct disk *d, int fd, const struct disk_options *o, struct error *err)
{
	struct image *i = open_chain(fd, o, err);
	if (!i)
		return false;
	struct threaded *t = xnew(struct threaded);
	t->image = i;
	t->disk = d;
	t->todo_last = &t->todo;
	t->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->finished, NULL);
	d->format = t;
	d->info.size = ALIGN_DOWN(i->size, 512);
	d->info.discard = !o->readonly;
	if (t->event >= 0)
		t->watch = loop_fd_add(d->loop, t->event, LOOP_READ, event_ready, t);
	if (t->watch)
		start_threads(t);
	if (t->nthreads && d->info.size) {
		close(fd);
		for (unsigned k = 0; k < o->nbacking_fds; k++)
			close(o->backing_fds[k]);
		return true;
	}
	threaded_close(d);
	return error_set(err, 0, "disk '%s' is empty, or its threads cannot be started", o->path);
}

const struct disk_ops disk_qcow2 = {
	.format = "qcow2", .open = threaded_open, .submit = threaded_submit, .plug = threaded_plug,
	.wait = threaded_wait, .close = threaded_close,
};
