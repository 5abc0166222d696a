/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console hub: see console.h.  A slow primary client makes the machine
 * wait; another slow client loses its connection after CLIENT_MAX bytes.  The
 * log is bounded: at LOG_MAX it begins anew, so that a guest cannot fill the
 * host's disk.
 */
#include "instance/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

enum { RING = 4096, CLIENT_MAX = 256 << 10, PRIMARY_HIGH = 64 << 10, INPUT_MAX = 16 << 10,
       LOG_MAX = 16 << 20, LISTENERS = 2, DRAIN_SECONDS = 10 };

struct buffer { char *data; size_t len, room; };

struct client {
	struct console *console;
	struct client *next;
	int fd;
	struct loop_fd *watch;
	struct buffer out;
	bool primary, input_over;
};

struct console {
	struct loop *loop;
	int machine, log, file;
	struct loop_fd *machine_watch;
	uint64_t log_size;
	char ring[RING];
	uint64_t ring_pos;
	struct buffer input;
	bool input_full;
	struct client *clients;
	struct listener { struct console *console; int fd; struct loop_fd *watch; } listener[LISTENERS];
	unsigned nlisteners;
};

static void buffer_add(struct buffer *b, const char *p, size_t n)
{
	if (b->len + n > b->room) {
		b->room = MAX(b->len + n, 2 * b->room);
		b->data = xrealloc(b->data, b->room);
	}
	memcpy(b->data + b->len, p, n);
	b->len += n;
}

/* Send what the socket takes now; false when the other side is gone. */
static bool buffer_send(struct buffer *b, int fd)
{
	size_t done = 0;
	while (done < b->len) {
		ssize_t r = send(fd, b->data + done, b->len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno != EAGAIN)
			return false;
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	b->len -= done;
	memmove(b->data, b->data + done, b->len);
	return true;
}

/* ---- clients ---- */

static void client_gone(struct client *c)
{
	struct client **p = &c->console->clients;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	loop_fd_del(c->watch);
	close(c->fd);
	free(c->out.data);
	free(c);
}

static bool machine_may_talk(const struct console *c)
{
	for (const struct client *k = c->clients; k; k = k->next)
		if (k->primary && k->out.len > PRIMARY_HIGH)
			return false;
	return true;
}

/* Watch each descriptor for what can be done with it now. */
static void rewatch(struct console *c)
{
	for (struct client *k = c->clients; k; k = k->next)
		loop_fd_events(k->watch, (k->input_over || c->input_full ? 0 : LOOP_READ) |
			       (k->out.len ? LOOP_WRITE : 0));
	loop_fd_events(c->machine_watch, (machine_may_talk(c) ? LOOP_READ : 0) |
		       (c->input.len ? LOOP_WRITE : 0));
}

static void input_send(struct console *c)
{
	if (c->machine >= 0 && !buffer_send(&c->input, c->machine))
		c->input.len = 0;
	c->input_full = c->input.len > INPUT_MAX;
}

/* False: the client is gone. A primary client whose input ends still listens. */
static bool client_read(struct client *k)
{
	char buf[4096];
	ssize_t r = recv(k->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (r <= 0) {
		k->input_over = true;
		return r == 0 && k->primary;
	}
	buffer_add(&k->console->input, buf, (size_t)r);
	input_send(k->console);
	return true;
}

static void client_ready(void *opaque, int events)
{
	struct client *k = opaque;
	struct console *c = k->console;
	bool ok = true;
	if (events & LOOP_WRITE)
		ok = buffer_send(&k->out, k->fd);
	if (ok && events & LOOP_READ)
		ok = client_read(k);
	if (!ok)
		client_gone(k);
	rewatch(c);
}

static void client_put(struct client *k, const char *p, size_t n)
{
	buffer_add(&k->out, p, n);
	if (!buffer_send(&k->out, k->fd) || (!k->primary && k->out.len > CLIENT_MAX))
		client_gone(k);
}

void console_attach(struct console *c, int fd, bool primary)
{
	struct client *k = xnew(struct client);
	k->console = c;
	k->fd = fd;
	k->primary = primary;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	k->next = c->clients;
	c->clients = k;
	k->watch = loop_fd_add(c->loop, fd, LOOP_READ, client_ready, k);
	/* What was said last, so that a prompt is seen. */
	uint64_t from = c->ring_pos > RING ? c->ring_pos - RING : 0;
	for (; from < c->ring_pos; from++)
		buffer_add(&k->out, &c->ring[from % RING], 1);
	rewatch(c);
}

static void listener_ready(void *opaque, int events)
{
	struct listener *l = opaque;
	(void)events;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		console_attach(l->console, fd, false);
}

void console_listen(struct console *c, int fd)
{
	if (c->nlisteners == LISTENERS) {
		close(fd);
		return;
	}
	struct listener *l = &c->listener[c->nlisteners++];
	*l = (struct listener){ c, fd, loop_fd_add(c->loop, fd, LOOP_READ, listener_ready, l) };
}

/* ---- the machine's side ---- */

static void log_put(struct console *c, const char *p, size_t n)
{
	if (c->log < 0)
		return;
	if (c->log_size + n > LOG_MAX && !ftruncate(c->log, 0)) {
		lseek(c->log, 0, SEEK_SET);
		c->log_size = 0;
	}
	fd_write_full(c->log, p, n);
	c->log_size += n;
}

static void machine_said(struct console *c, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c->ring[c->ring_pos++ % RING] = p[i];
	log_put(c, p, n);
	if (c->file >= 0)
		fd_write_full(c->file, p, n);
	for (struct client *k = c->clients, *next; k; k = next) {
		next = k->next;
		client_put(k, p, n);
	}
}

/* False when there is nothing more now. */
static bool machine_read(struct console *c)
{
	char buf[8192];
	ssize_t r = recv(c->machine, buf, sizeof(buf), MSG_DONTWAIT);
	if (r > 0) {
		machine_said(c, buf, (size_t)r);
		return true;
	}
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	loop_fd_del(c->machine_watch);
	c->machine_watch = NULL;
	close(c->machine);
	c->machine = -1;
	return false;
}

static void machine_ready(void *opaque, int events)
{
	struct console *c = opaque;
	if (events & LOOP_WRITE)
		input_send(c);
	if (events & LOOP_READ)
		machine_read(c);
	rewatch(c);
}

struct console *console_new(struct loop *l, int machine_fd, int log_fd, int file_fd)
{
	struct console *c = xnew(struct console);
	c->loop = l;
	c->machine = machine_fd;
	c->log = log_fd;
	c->file = file_fd;
	if (machine_fd >= 0)
		c->machine_watch = loop_fd_add(l, machine_fd, LOOP_READ, machine_ready, c);
	return c;
}

static void client_flush(struct client *k, time_t until)
{
	while (k->out.len && buffer_send(&k->out, k->fd) && k->out.len && time(NULL) < until) {
		struct pollfd p = { .fd = k->fd, .events = POLLOUT };
		poll(&p, 1, 1000);
	}
}

void console_drain(struct console *c)
{
	while (c->machine >= 0 && machine_read(c))
		;
	time_t until = time(NULL) + DRAIN_SECONDS;
	for (struct client *k = c->clients; k; k = k->next)
		client_flush(k, until);
}

void console_free(struct console *c)
{
	if (!c)
		return;
	while (c->clients)
		client_gone(c->clients);
	for (unsigned i = 0; i < c->nlisteners; i++) {
		loop_fd_del(c->listener[i].watch);
		close(c->listener[i].fd);
	}
	loop_fd_del(c->machine_watch);
	if (c->machine >= 0)
		close(c->machine);
	free(c->input.data);
	free(c);
}
