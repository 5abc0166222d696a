/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A struct disk over a chain of blocking images (qcow2).  Data whose place in one
 * of the files is known without waiting goes straight to io_uring from the loop's
 * thread; all else (tables to load, clusters to make, zeros, flushes) is done by a
 * few threads.
 */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>

#include "disk/aio.h"
#include "disk/image.h"
#include "disk/pace.h"

enum { THREADS = 4, ZERO_AT_ONCE = 64 * 1024 };

enum { TIDY_IDLE, TIDY_RUNS, TIDY_WANTED };

struct layered {
	struct image *image;
	struct workers *workers;
	struct workers *straight;             /* of the aio: they wait for the disk alone. Workers may wait for these
						 (a write that copies a cluster, for one into it), so they are others */
	struct aio *aio;
	struct image *layer[AIO_FILES_MAX];   /* whose file the aio has under that number */
	unsigned nlayers;
	struct workers *tidier;               /* the one thread that tidies */
	struct work tidy;
	int tidying;                          /* enum; atomic */
	struct pace pace;
	unsigned direct;                      /* requests in aio; the others are with the workers */
	bool plugged;
	struct job *spare;
};

struct job {
	struct work work;
	struct aio_op op;
	struct disk *disk;
	struct disk_request *r;
	int result;
	unsigned token;
	uint64_t began;                       /* 0: not timed */
	struct job *next;
};

static void finish(struct job *j, int result)
{
	struct disk *d = j->disk;
	struct layered *l = d->format;
	struct disk_request *r = j->r;
	if (unlikely(j->began))
		pace_answer(&l->pace, j->began, monotonic_ns());
	j->next = l->spare;
	l->spare = j;
	disk_done(d, r, result);
}

static void slow_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	struct image *i = ((struct layered *)j->disk->format)->image;
	const struct disk_request *r = j->r;
	switch (r->op) {
	case DISK_READ: j->result = i->ops->read(i, r->iov, r->niov, r->offset, r->length); break;
	case DISK_WRITE: j->result = i->ops->write(i, r->iov, r->niov, r->offset, r->length); break;
	case DISK_FLUSH: j->result = i->readonly ? 0 : i->ops->flush(i); break;
	case DISK_DISCARD: j->result = i->ops->zero(i, r->offset, r->length, true); break;
	case DISK_WRITE_ZEROES: j->result = i->ops->zero(i, r->offset, r->length, r->unmap); break;
	}
}

static void slow_done(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	finish(j, j->result);
}

static void slow(struct job *j)
{
	struct layered *l = j->disk->format;
	j->work = (struct work){ .run = slow_run, .done = slow_done };
	workers_submit(l->workers, &j->work);
}

/* Whatever is unusual (the end of the file, EINTR) is done again the slow way. */
static void direct_done(struct aio_op *op, int64_t result)
{
	struct job *j = container_of(op, struct job, op);
	struct layered *l = j->disk->format;
	struct image *i = l->layer[op->file];
	if (i->ops->landed)
		i->ops->landed(i, j->token);
	l->direct--;
	if (result >= 0 && (uint64_t)result == op->length)
		finish(j, 0);
	else
		slow(j);
}

/* Down the chain, to the file that has it. */
static bool direct(struct layered *l, struct job *j)
{
	struct disk_request *r = j->r;
	bool writes = r->op == DISK_WRITE;
	uint64_t host;
	if (r->op > DISK_WRITE)
		return false;
	for (unsigned n = 0; n < l->nlayers; n++) {
		struct image *i = l->layer[n];
		if (r->offset > i->size || r->length > i->size - r->offset || !i->ops->direct)
			return false;
		switch (i->ops->direct(i, r->offset, r->length, writes, &host, &j->token)) {
		case DIRECT_NO: return false;
		case DIRECT_BELOW: continue;
		case DIRECT_ZERO:
			if (r->length > ZERO_AT_ONCE)
				return false;
			iov_zero(r->iov, r->niov);
			finish(j, 0);
			return true;
		case DIRECT_HERE:
			j->op = (struct aio_op){ .kind = writes ? AIO_WRITE : AIO_READ, .file = n, .iov = r->iov,
						 .niov = r->niov, .offset = host, .length = r->length,
						 .done = direct_done };
			l->direct++;
			l->aio->ops->submit(l->aio, &j->op);
			if (!l->plugged)
				l->aio->ops->flush(l->aio);
			return true;
		}
	}
	return false;
}

static void layered_submit(struct disk *d, struct disk_request *r)
{
	struct layered *l = d->format;
	struct job *j = l->spare;
	if (j)
		l->spare = j->next;
	else
		j = xnew(struct job);
	j->disk = d;
	j->r = r;
	j->began = pace_request(&l->pace);
	if (!direct(l, j))
		slow(j);
}

static void layered_plug(struct disk *d, bool on)
{
	struct layered *l = d->format;
	l->plugged = on;
	if (!on && l->direct)
		l->aio->ops->flush(l->aio);
}

static void layered_wait(struct disk *d)
{
	struct layered *l = d->format;
	if (l->direct)
		l->aio->ops->wait(l->aio);
	else
		workers_wait(l->workers);
}

/* --- tidying ---------------------------------------------------------------- */

/* Until nothing is left. */
static void tidy_run(struct work *w)
{
	struct layered *l = container_of(w, struct layered, tidy);
	for (;;) {
		__atomic_store_n(&l->tidying, TIDY_RUNS, __ATOMIC_SEQ_CST);
		if (!l->image->ops->tidy(l->image) || pace_hurries(&l->pace))
			return;
		pace_nap(&l->pace);
	}
}

static void tidy_done(struct work *w)
{
	struct layered *l = container_of(w, struct layered, tidy);
	int runs = TIDY_RUNS;
	if (!__atomic_compare_exchange_n(&l->tidying, &runs, TIDY_IDLE, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		workers_submit(l->tidier, w);
}

static void tidy_wanted(struct image *i)
{
	struct layered *l = i->owner;
	if (__atomic_exchange_n(&l->tidying, TIDY_WANTED, __ATOMIC_SEQ_CST) == TIDY_IDLE)
		workers_submit(l->tidier, &l->tidy);
}

static bool tidy_start(struct layered *l, struct loop *loop, struct error *err)
{
	if (l->image->readonly || !l->image->ops->tidy)
		return true;
	l->tidier = workers_new(loop, 1, err);
	l->tidy = (struct work){ .run = tidy_run, .done = tidy_done };
	l->image->owner = l;
	l->image->pace = &l->pace;
	l->image->tidy_wanted = l->tidier ? tidy_wanted : NULL;
	return l->tidier != NULL;
}

static bool layered_snapshot(struct disk *d, enum disk_snapshot what, const char *name, struct error *err)
{
	struct image *i = ((struct layered *)d->format)->image;
	switch (what) {
	case DISK_SNAPSHOT_PREPARE: return qcow2_snapshot_prepare(i, name, err);
	case DISK_SNAPSHOT_TAKE: return qcow2_snapshot_take(i, name, err);
	case DISK_SNAPSHOT_KEEP: return qcow2_snapshot_keep(i, name, err);
	case DISK_SNAPSHOT_DELETE: return qcow2_snapshot_delete(i, name, err);
	case DISK_SNAPSHOT_CANCEL: break;
	}
	qcow2_snapshot_cancel(i);
	return true;
}

static void layered_close(struct disk *d)
{
	struct layered *l = d->format;
	if (l->aio)
		l->aio->ops->free(l->aio);
	if (l->workers)
		workers_free(l->workers);
	pace_hurry(&l->pace);
	if (l->straight)
		workers_free(l->straight);
	if (l->tidier)
		workers_free(l->tidier);
	l->image->tidy_wanted = NULL;
	l->image->pace = NULL;
	image_close(l->image);
	pace_free(&l->pace);
	for (struct job *j = l->spare, *next; j; j = next) {
		next = j->next;
		free(j);
	}
	free(l);
}

/* On a descriptor of its own: `fd` stays the caller's until all has gone well. */
static struct image *open_chain(int fd, const struct disk_options *o, struct error *err)
{
	struct image_open io = { .path = o->path, .format = o->format, .readonly = o->readonly,
				 .backing_fds = o->backing_fds, .nbacking_fds = o->nbacking_fds, .data_fd = o->data_fd };
	io.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (io.fd < 0)
		return error_null(err, errno, "cannot use disk '%s'", o->path);
	return image_open(&io, err);
}

static bool start(struct layered *l, struct disk *d, const struct disk_options *o, struct error *err)
{
	int fds[AIO_FILES_MAX];
	for (struct image *i = l->image; i && l->nlayers < AIO_FILES_MAX; i = i->backing) {
		l->layer[l->nlayers] = i;
		fds[l->nlayers++] = image_file_descriptor(i->file);
	}
	l->workers = workers_new(d->loop, THREADS, err);
	l->straight = l->workers ? workers_new(d->loop, THREADS, err) : NULL;
	l->aio = l->straight ? aio_new(d->loop, fds, l->nlayers, l->straight, o->no_uring) : NULL;
	return l->aio && tidy_start(l, d->loop, err);
}

static bool layered_open(struct disk *d, int fd, const struct disk_options *o, struct error *err)
{
	struct image *i = open_chain(fd, o, err);
	if (!i)
		return false;
	struct layered *l = xnew(struct layered);
	l->image = i;
	d->format = l;
	pace_init(&l->pace);
	d->info.size = ALIGN_DOWN(i->size, 512);
	d->info.discard = !o->readonly;
	if (d->info.size ? start(l, d, o, err) : error_set(err, 0, "disk '%s' is empty", o->path)) {
		close(fd);
		for (unsigned k = 0; k < o->nbacking_fds; k++)
			close(o->backing_fds[k]);
		if (o->data_fd > 0)
			close(o->data_fd);
		return true;
	}
	layered_close(d);
	return false;
}

const struct disk_ops disk_qcow2 = {
	.format = "qcow2", .open = layered_open, .submit = layered_submit, .plug = layered_plug,
	.wait = layered_wait, .snapshot = layered_snapshot, .close = layered_close,
};
