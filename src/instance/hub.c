/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames between a program and its clients: see hub.h. */
#include "instance/hub.h"
#include "session/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { MAX_CLIENTS = 64, QUEUE_MOST = 1 << 20, QUEUE_LOW = 1 << 18 };

/* One end: what came and is not whole yet, what is to go. */
struct end {
	struct hub *hub;
	struct end *next;             /* of clients */
	int fd;
	bool primary, gone;
	struct loop_fd *watch;
	struct frames *in;
	uint8_t *out;
	size_t out_used, out_room;
};

struct hub {
	struct loop *loop;
	struct hub_events events;
	int log, listening;
	struct loop_fd *listen_watch;
	struct end *source, *clients;
	unsigned nclients;
};

static void watch_again(struct end *e);
static void end_ready(void *opaque, int events);

static struct end *end_new(struct hub *h, int fd)
{
	struct end *e = xnew(struct end);
	e->hub = h;
	e->fd = fd;
	e->in = xnew(struct frames);
	e->watch = loop_fd_add(h->loop, fd, LOOP_READ, end_ready, e);
	return e;
}

static void end_free(struct end *e)
{
	if (!e)
		return;
	loop_fd_del(e->watch);
	close(e->fd);
	free(e->in);
	free(e->out);
	free(e);
}

/* ---- to go ---- */

static void flush(struct end *e)
{
	while (e->out_used && !e->gone) {
		ssize_t n = send(e->fd, e->out, e->out_used, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			e->gone |= errno != EAGAIN;
			return;
		}
		memmove(e->out, e->out + n, e->out_used - (size_t)n);
		e->out_used -= (size_t)n;
	}
}

static void queue(struct end *e, enum frame_kind kind, const void *data, size_t n)
{
	uint8_t head[FRAME_HEAD] = { (uint8_t)kind };
	if (e->gone)
		return;
	if (e->out_used > QUEUE_MOST && !e->primary && e != e->hub->source) {
		e->gone = true;       /* it does not read */
		return;
	}
	le32_put(head + 4, (uint32_t)n);
	if (e->out_used + sizeof(head) + n > e->out_room) {
		e->out_room = e->out_used + sizeof(head) + n + 65536;
		e->out = xrealloc(e->out, e->out_room);
	}
	memcpy(e->out + e->out_used, head, sizeof(head));
	if (n)
		memcpy(e->out + e->out_used + sizeof(head), data, n);
	e->out_used += sizeof(head) + n;
	flush(e);
}

static void queue_u32(struct end *e, enum frame_kind kind, uint32_t value)
{
	uint8_t data[4];
	le32_put(data, value);
	queue(e, kind, data, sizeof(data));
}

/* ---- what came ---- */

static void to_clients(struct hub *h, const struct frame *f)
{
	for (struct end *c = h->clients; c; c = c->next)
		queue(c, f->kind, f->data, f->n);
}

static void from_source(struct hub *h, const struct frame *f)
{
	char text[480];
	switch (f->kind) {
	case FRAME_OUTPUT:
	case FRAME_ERRORS:
		if (h->log >= 0 && !fd_write_full(h->log, f->data, f->n))
			h->log = -1;          /* a full disk ends the log, not the program */
		to_clients(h, f);
		break;
	case FRAME_RUNNING:
		h->events.running(h->events.opaque, frame_u32(f));
		break;
	case FRAME_EXIT:
		h->events.ended(h->events.opaque, (int)frame_u32(f));
		break;
	case FRAME_FAILED:
		memcpy(text, f->data, MIN(f->n, sizeof(text) - 1));
		text[MIN(f->n, sizeof(text) - 1)] = 0;
		h->events.failed(h->events.opaque, text);
		break;
	default:
		break;
	}
}

static void from_client(struct end *c, const struct frame *f)
{
	bool known = f->kind == FRAME_INPUT || f->kind == FRAME_SIZE || f->kind == FRAME_SIGNAL;
	if (known && c->hub->source)
		queue(c->hub->source, f->kind, f->data, f->n);
}

static void take(struct end *e)
{
	struct hub *h = e->hub;
	struct frame f;
	int more;
	while ((more = frames_next(e->in, &f)) > 0) {
		bool source = e == h->source;
		if (source)
			from_source(h, &f);
		else
			from_client(e, &f);
		if (source && e != h->source)
			return;               /* the program has ended, and with it its end */
	}
	e->gone |= more < 0;
}

static void sweep(struct hub *h)
{
	for (struct end **p = &h->clients; *p; ) {
		struct end *c = *p;
		if (!c->gone) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		h->nclients--;
		end_free(c);
	}
}

/* Read only where what comes has a place to go. */
static void watch_again(struct end *e)
{
	struct hub *h = e->hub;
	bool full = false;
	if (e == h->source)
		for (struct end *c = h->clients; c; c = c->next)
			full |= c->primary && c->out_used > QUEUE_LOW;
	else
		full = h->source && h->source->out_used > QUEUE_LOW;
	loop_fd_events(e->watch, (full ? 0 : LOOP_READ) | (e->out_used ? LOOP_WRITE : 0));
}

static void settle(struct hub *h)
{
	sweep(h);
	if (h->source)
		watch_again(h->source);
	for (struct end *c = h->clients; c; c = c->next)
		watch_again(c);
}

static void source_lost(struct hub *h)
{
	struct end *s = h->source;
	h->source = NULL;
	end_free(s);
	h->events.lost(h->events.opaque);
}

static void end_ready(void *opaque, int events)
{
	struct end *e = opaque;
	struct hub *h = e->hub;
	if (events & LOOP_WRITE)
		flush(e);
	if (events & LOOP_READ) {
		int n = frames_fill(e->in, e->fd);
		e->gone |= !n || (n < 0 && errno != EAGAIN && errno != EINTR);
		bool source = e == h->source;
		take(e);
		if (source && h->source == e && e->gone)
			source_lost(h);
	}
	settle(h);
}

static bool accept_one(struct hub *h)
{
	int fd = accept4(h->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 && h->nclients < MAX_CLIENTS)
		hub_attach(h, fd, false);
	else if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void accept_client(void *opaque, int events) { accept_one(opaque); }

/* ---- life ---- */

struct hub *hub_new(struct loop *l, int log_fd, const struct hub_events *e)
{
	struct hub *h = xnew(struct hub);
	h->loop = l;
	h->events = *e;
	h->log = log_fd;
	h->listening = -1;
	return h;
}

void hub_source(struct hub *h, int fd)
{
	struct end *old = h->source;
	h->source = fd >= 0 ? end_new(h, fd) : NULL;
	end_free(old);
}

bool hub_has_source(const struct hub *h) { return h->source; }

void hub_listen(struct hub *h, int fd)
{
	h->listening = fd;
	h->listen_watch = loop_fd_add(h->loop, fd, LOOP_READ, accept_client, h);
}

void hub_attach(struct hub *h, int fd, bool primary)
{
	struct end *c = end_new(h, fd);
	c->primary = primary;
	c->next = h->clients;
	h->clients = c;
	h->nclients++;
}

/* Who came just before the end hears of it, too. */
static void last_clients(struct hub *h)
{
	struct pollfd p = { h->listening, POLLIN, 0 };
	while (h->listening >= 0 && poll(&p, 1, 0) > 0 && accept_one(h))
		;
}

void hub_finish(struct hub *h, int status)
{
	last_clients(h);
	for (struct end *c = h->clients; c; c = c->next) {
		queue_u32(c, FRAME_EXIT, (uint32_t)status);
		while (c->primary && c->out_used && !c->gone) {
			struct pollfd p = { c->fd, POLLOUT, 0 };
			poll(&p, 1, -1);
			flush(c);
		}
	}
}

void hub_free(struct hub *h)
{
	hub_source(h, -1);
	for (struct end *c = h->clients, *next; c; c = next) {
		next = c->next;
		end_free(c);
	}
	if (h->listen_watch) {
		loop_fd_del(h->listen_watch);
		close(h->listening);
	}
	free(h);
}
