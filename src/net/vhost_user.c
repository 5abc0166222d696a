/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process between a machine's port and a vhost-user back end: see vhost.h.
 * While there is no back end, the port's link is down and a connection is asked for
 * every RETRY_MS.
 */
#include "net/vhost.h"

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "net/message.h"
#include "net/ring.h"

enum { RETRY_MS = 500, CALL_MS = 60000 };
enum { KEEPER, PEER, PORT, CALL_RX, CALL_TX, WATCHED };

struct process {
	struct vhost vhost;
	struct ring ring;
	struct ring_fds fds;
	int keeper, peer;               /* -1: no back end */
	bool gone;                      /* the keeper */
};

static void clear_bell(int fd)
{
	uint64_t n;
	ssize_t got UNUSED = read(fd, &n, sizeof(n));
}

static void set_link(struct process *v, bool up)
{
	uint64_t one = 1;
	atomic_store(&v->ring.shared->link, up);
	ssize_t n UNUSED = write(v->fds.to_port, &one, sizeof(one));
}

/* The connection becomes ours, or is closed. */
static bool connected(struct process *v, int fd, struct error *err)
{
	vhost_memory_reset(&v->vhost.memory);
	if (fd < 0 || !vhost_handshake(fd, &v->vhost.memory, &v->vhost.bells, &v->vhost.caps, err)) {
		if (fd >= 0)
			close(fd);
		return fd >= 0 ? false : error_set(err, 0, "the vhost-user port got no connection");
	}
	v->peer = fd;
	set_link(v, true);
	return true;
}

static void hung_up(struct process *v, const char *why)
{
	log_warn("%s: the guest's link is down until there is another", why);
	close(move_fd(&v->peer));
	set_link(v, false);
}

static bool setup(struct process *v, struct message *m, struct error *err)
{
	if (v->ring.map || m->nfds != 4)
		return error_set(err, 0, "the vhost-user port is set up already, or has no descriptors");
	v->fds = (struct ring_fds){ message_take_fd(m, 0), message_take_fd(m, 1), message_take_fd(m, 2) };
	return ring_open(&v->ring, &v->fds, true, err) && connected(v, message_take_fd(m, 3), err);
}

static void talk(struct process *v)
{
	struct message m;
	struct error err = { 0 };
	if (!message_receive(v->keeper, &m, &err) || !m.body) {
		v->gone = true;
		return;
	}
	bool ok = !strcmp(message_text(m.body, "op", ""), "setup") ? setup(v, &m, &err) : error_set(&err, 0, "unknown request");
	message_free(&m);
	v->gone = !message_send(v->keeper, ok ? json_object() : json_pack("{s:s}", "error", err.text), NULL, 0, NULL) || !ok;
}

static void dial(struct process *v)
{
	struct message m;
	struct error err = { 0 };
	if (message_call(v->keeper, json_pack("{s:s}", "op", "dial"), NULL, 0, &m, CALL_MS, &err)) {
		connected(v, message_take_fd(&m, 0), &err);
		message_free(&m);
	}
	if (v->peer >= 0)
		log_info("the vhost-user back end is there again");
}

/* What has happened, after a sleep if there is nothing to do. */
static void wait_events(struct process *v, bool busy)
{
	const struct vhost_bells *b = &v->vhost.bells;
	const int fds[WATCHED] = { v->keeper, v->peer, v->fds.to_switch, b->call[VHOST_RX], b->call[VHOST_TX] };
	struct pollfd p[WATCHED];
	for (unsigned i = 0; i < WATCHED; i++)
		p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	if (poll(p, WATCHED, busy ? 0 : v->peer < 0 ? RETRY_MS : -1) < 0)
		return;
	for (unsigned i = PORT; i < WATCHED; i++)
		if (p[i].revents)
			clear_bell(fds[i]);
	if (p[PEER].revents)
		hung_up(v, "the vhost-user back end has hung up");      /* it has nothing to say by itself */
	if (p[KEEPER].revents)
		talk(v);
}

/* Without a back end, frames go nowhere, as on a cable that is not plugged in. */
static void discard(struct ring *r)
{
	size_t len;
	while (ring_peek(r, &len))
		ring_release(r, len);
	ring_done(r);
}

static bool turn(struct process *v)
{
	if (v->peer < 0) {
		discard(&v->ring);
		dial(v);
		return v->peer >= 0;
	}
	bool busy = vhost_send_frames(&v->vhost) | vhost_take_frames(&v->vhost);
	for (unsigned i = 0; i < VHOST_RINGS; i++)
		if (v->vhost.memory.ring[i].broken) {
			hung_up(v, "the vhost-user back end broke the rules of its queues");
			return false;
		}
	return busy;
}

static bool start(struct process *v, struct vhost_options *o, struct error *err)
{
	struct vhost_bells *b = &v->vhost.bells;
	v->vhost.port = &v->ring;
	for (unsigned i = 0; i < VHOST_RINGS; i++) {
		b->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		b->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	return vhost_memory_make(&v->vhost.memory, err) && jail_root(&o->jail, NULL, err) && jail_seal(&o->jail, err);
}

int vhost_main(struct vhost_options *o)
{
	struct error err = { 0 };
	struct process *v = xnew(struct process);
	v->keeper = o->keeper_fd;
	v->peer = -1;
	v->fds = (struct ring_fds){ -1, -1, -1 };
	bool ok = start(v, o, &err);
	fd_write_full(o->ready_fd, ok ? "R" : err.text, ok ? 1 : strlen(err.text));
	close(o->ready_fd);
	while (ok && !v->gone && !v->ring.map)
		talk(v);
	while (ok && !v->gone && !v->ring.broken) {
		bool busy = turn(v);
		if (!busy && v->peer >= 0)
			busy = !ring_sleep(&v->ring);
		wait_events(v, busy);
	}
	ring_close(&v->ring);
	vhost_memory_free(&v->vhost.memory);
	free(v);
	return ok ? 0 : 1;
}
