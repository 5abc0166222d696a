/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop over libuv: see loop.h. */
#include "base/loop.h"

#include <pthread.h>
#include <uv.h>

#include "base/epoch.h"

struct post { void (*fn)(void *); void *opaque; struct post *next; };

struct loop {
	uv_loop_t uv;
	uv_async_t async;
	uv_prepare_t before;          /* blocking: hold no epoch */
	uv_check_t after;
	pthread_mutex_t lock;
	struct post *first, **last;
	bool stop;
};
struct loop_fd {
	uv_poll_t poll;
	int events;
	void (*cb)(void *opaque, int events);
	void *opaque;
};

static struct post *take_posts(struct loop *l, bool *stop)
{
	pthread_mutex_lock(&l->lock);
	struct post *p = l->first;
	l->first = NULL;
	l->last = &l->first;
	*stop = l->stop;
	pthread_mutex_unlock(&l->lock);
	return p;
}

static void run_posts(uv_async_t *a)
{
	struct loop *l = container_of(a, struct loop, async);
	bool stop;
	for (struct post *p = take_posts(l, &stop), *next; p; p = next) {
		next = p->next;
		p->fn(p->opaque);
		free(p);
	}
	if (stop)
		uv_stop(&l->uv);
}

static void before_wait(uv_prepare_t *p) { epoch_leave(); }
static void after_wait(uv_check_t *c) { epoch_enter(); }

void loop_forget(void) { uv_library_shutdown(); }

struct loop *loop_new(struct error *err)
{
	struct loop *l = xnew(struct loop);
	int r = uv_loop_init(&l->uv);
	if (!r)
		r = uv_async_init(&l->uv, &l->async, run_posts);
	if (r) {
		free(l);
		return error_null(err, -r, "cannot create an event loop");
	}
	uv_prepare_init(&l->uv, &l->before);
	uv_prepare_start(&l->before, before_wait);
	uv_unref((uv_handle_t *)&l->before);
	uv_check_init(&l->uv, &l->after);
	uv_check_start(&l->after, after_wait);
	uv_unref((uv_handle_t *)&l->after);
	pthread_mutex_init(&l->lock, NULL);
	l->last = &l->first;
	return l;
}

static void fd_closed(uv_handle_t *h)
{
	free(container_of((uv_poll_t *)h, struct loop_fd, poll));
}

static void close_any(uv_handle_t *h, void *arg)
{
	if (!uv_is_closing(h))
		uv_close(h, h->type == UV_POLL ? fd_closed : NULL);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	bool stop;
	for (struct post *p = take_posts(l, &stop), *next; p; p = next) {
		next = p->next;
		free(p);
	}
	uv_walk(&l->uv, close_any, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void loop_run(struct loop *l)
{
	epoch_enter();
	uv_run(&l->uv, UV_RUN_DEFAULT);
	epoch_leave();
	pthread_mutex_lock(&l->lock);
	l->stop = false;
	pthread_mutex_unlock(&l->lock);
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_mutex_unlock(&l->lock);
	uv_async_send(&l->async);
}

void loop_post(struct loop *l, void (*fn)(void *), void *opaque)
{
	struct post *p = xnew(struct post);
	p->fn = fn;
	p->opaque = opaque;
	pthread_mutex_lock(&l->lock);
	*l->last = p;
	l->last = &p->next;
	pthread_mutex_unlock(&l->lock);
	uv_async_send(&l->async);
}

static void fd_ready(uv_poll_t *h, int status, int events)
{
	struct loop_fd *f = container_of(h, struct loop_fd, poll);
	int e = 0;
	if (status < 0 || events & (UV_READABLE | UV_DISCONNECT))
		e |= LOOP_READ;
	if (events & UV_WRITABLE)
		e |= LOOP_WRITE;
	f->cb(f->opaque, e);
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, int events,
			    void (*cb)(void *, int), void *opaque)
{
	struct loop_fd *f = xnew(struct loop_fd);
	f->cb = cb;
	f->opaque = opaque;
	if (uv_poll_init(&l->uv, &f->poll, fd)) {
		free(f);      /* a regular file: it is always ready, nothing to wait for */
		return NULL;
	}
	loop_fd_events(f, events);
	return f;
}

void loop_fd_events(struct loop_fd *f, int events)
{
	if (!f || events == f->events)
		return;
	f->events = events;
	if (!events) {
		uv_poll_stop(&f->poll);
		return;
	}
	uv_poll_start(&f->poll, (events & LOOP_READ ? UV_READABLE : 0) |
		      (events & LOOP_WRITE ? UV_WRITABLE : 0), fd_ready);
}

void loop_fd_del(struct loop_fd *f)
{
	if (f)
		uv_close((uv_handle_t *)&f->poll, fd_closed);
}
