/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A struct disk over an NBD connection that has been negotiated (nbd_connect.c), on the
 * loop's thread.  Up to SLOTS requests are out; a cookie is a slot.  The server is
 * hostile, too: a reply is 16 bytes with a slot that is in use, and data goes where the
 * read wanted it.  Anything else ends the connection, and what is out or comes later
 * fails.
 */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "disk/nbd.h"
#include "disk/qcow2.h"

enum { SLOTS = 128, IOVS = 256 };

struct slot { struct disk_request *r; uint8_t header[NBD_REQUEST_LEN]; };

struct nbd {
	struct disk *disk;
	int fd;
	struct loop_fd *watch;
	uint16_t flags;
	bool dead, plugged, watching_out;
	struct slot slot[SLOTS];
	unsigned char todo[SLOTS];        /* ring of slots to be sent */
	unsigned first, ntodo;
	uint64_t sent;                    /* bytes of the first of them */
	struct disk_request *waiting, **waiting_last;   /* for a slot */
	uint8_t reply[NBD_SIMPLE_LEN];
	uint64_t got;                     /* bytes of the reply, then of its data */
};

static unsigned take_slot(const struct nbd *b)
{
	unsigned i = 0;
	while (i < SLOTS && b->slot[i].r)
		i++;
	return i;
}

static uint64_t data_out(const struct disk_request *r) { return r->op == DISK_WRITE ? r->length : 0; }
static uint64_t data_in(const struct disk_request *r) { return r->op == DISK_READ ? r->length : 0; }

static void put_header(struct slot *s, unsigned index)
{
	static const uint16_t types[] = { [DISK_READ] = NBD_CMD_READ, [DISK_WRITE] = NBD_CMD_WRITE,
		[DISK_FLUSH] = NBD_CMD_FLUSH, [DISK_DISCARD] = NBD_CMD_TRIM, [DISK_WRITE_ZEROES] = NBD_CMD_WRITE_ZEROES };
	const struct disk_request *r = s->r;
	be32_put(s->header, NBD_REQUEST);
	be16_put(s->header + 4, r->op == DISK_WRITE_ZEROES && !r->unmap ? NBD_FLAG_NO_HOLE : 0);
	be16_put(s->header + 6, types[r->op]);
	be64_put(s->header + 8, index);
	be64_put(s->header + 16, r->op == DISK_FLUSH ? 0 : r->offset);
	be32_put(s->header + 24, r->op == DISK_FLUSH ? 0 : (uint32_t)r->length);
}

static void enqueue(struct nbd *b, struct disk_request *r, unsigned i)
{
	b->slot[i].r = r;
	put_header(&b->slot[i], i);
	b->todo[(b->first + b->ntodo++) % SLOTS] = (unsigned char)i;
}

static void watch_out(struct nbd *b, bool on)
{
	if (b->watching_out == on || b->dead)
		return;
	b->watching_out = on;
	loop_fd_events(b->watch, LOOP_READ | (on ? LOOP_WRITE : 0));
}

/* The connection is lost: everything that is out or waits has failed. */
static void die(struct nbd *b, const char *why)
{
	if (b->dead)
		return;
	log_warn("the connection to the NBD server is lost: %s", why);
	b->dead = true;
	loop_fd_events(b->watch, 0);
	b->ntodo = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct disk_request *r = b->slot[i].r;
		b->slot[i].r = NULL;
		if (r)
			disk_done(b->disk, r, -EIO);
	}
	for (struct disk_request *r; (r = b->waiting); ) {
		if (!(b->waiting = r->next))
			b->waiting_last = &b->waiting;
		disk_done(b->disk, r, -EIO);
	}
}

/* What is left of the first request in the queue. */
static unsigned rest_of_first(struct nbd *b, struct iovec *v)
{
	struct slot *s = &b->slot[b->todo[b->first]];
	unsigned n = 0;
	uint64_t skip = b->sent > NBD_REQUEST_LEN ? b->sent - NBD_REQUEST_LEN : 0;
	if (b->sent < NBD_REQUEST_LEN)
		v[n++] = (struct iovec){ s->header + b->sent, NBD_REQUEST_LEN - b->sent };
	return n + iov_window(s->r->iov, s->r->op == DISK_WRITE ? s->r->niov : 0, skip, data_out(s->r) - skip, v + n);
}

static void send_all(struct nbd *b)
{
	while (b->ntodo && !b->dead) {
		struct iovec v[IOVS + 1];
		struct msghdr m = { .msg_iov = v, .msg_iovlen = rest_of_first(b, v) };
		ssize_t n = sendmsg(b->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return die(b, strerror(errno));
		b->sent += (uint64_t)n;
		if (b->sent < NBD_REQUEST_LEN + data_out(b->slot[b->todo[b->first]].r))
			continue;
		b->sent = 0;
		b->first = (b->first + 1) % SLOTS;
		b->ntodo--;
	}
	watch_out(b, b->ntodo > 0);
}

static bool out(const struct nbd *b, uint64_t cookie)
{
	if (cookie >= SLOTS || !b->slot[cookie].r)
		return false;
	for (unsigned i = 0; i < b->ntodo; i++)          /* it has not even been asked */
		if (b->todo[(b->first + i) % SLOTS] == cookie)
			return false;
	return true;
}

static int from_wire(uint32_t e)
{
	return !e ? 0 : e == NBD_ENOSPC ? -ENOSPC : e == NBD_EPERM ? -EPERM : e == NBD_EINVAL ? -EINVAL : -EIO;
}

static void finish(struct nbd *b, unsigned i, int result)
{
	struct disk_request *r = b->slot[i].r, *next = b->waiting;
	b->slot[i].r = NULL;
	b->got = 0;
	if (next) {
		if (!(b->waiting = next->next))
			b->waiting_last = &b->waiting;
		enqueue(b, next, i);
	}
	disk_done(b->disk, r, result);
}

/* False: nothing more for now. */
static bool receive(struct nbd *b)
{
	struct iovec v[IOVS] = { { b->reply + b->got, NBD_SIMPLE_LEN - b->got } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 1 };
	uint64_t cookie = be64_get(b->reply + 8);
	struct disk_request *r = b->got >= NBD_SIMPLE_LEN ? b->slot[cookie].r : NULL;
	if (r)
		m.msg_iovlen = iov_window(r->iov, r->niov, b->got - NBD_SIMPLE_LEN,
					  NBD_SIMPLE_LEN + data_in(r) - b->got, v);
	ssize_t n = recvmsg(b->fd, &m, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		die(b, n ? strerror(errno) : "it was closed");
		return false;
	}
	b->got += (uint64_t)n;
	if (b->got < NBD_SIMPLE_LEN)
		return true;
	cookie = be64_get(b->reply + 8);
	if (!r && (be32_get(b->reply) != NBD_SIMPLE_REPLY || !out(b, cookie))) {
		die(b, "a reply to nothing that was asked");
		return false;
	}
	int result = from_wire(be32_get(b->reply + 4));
	if (result || b->got == NBD_SIMPLE_LEN + data_in(b->slot[cookie].r))
		finish(b, (unsigned)cookie, result);
	return true;
}

static void ready(void *opaque, int events)
{
	struct nbd *b = opaque;
	if (events & LOOP_READ)
		while (!b->dead && receive(b)) { }
	if (!b->dead)
		send_all(b);
}

static void nbd_submit(struct disk *d, struct disk_request *r)
{
	struct nbd *b = d->format;
	unsigned i = take_slot(b);
	if (b->dead || (r->length > NBD_MAX_DATA && r->op <= DISK_WRITE) || r->length > UINT32_MAX || r->niov >= IOVS)
		return disk_done(d, r, b->dead ? -EIO : -EINVAL);
	if ((r->op == DISK_FLUSH && !(b->flags & NBD_SEND_FLUSH)) || (r->op == DISK_DISCARD && !(b->flags & NBD_SEND_TRIM)))
		return disk_done(d, r, 0);
	if (r->op == DISK_WRITE_ZEROES && !(b->flags & NBD_SEND_WRITE_ZEROES))
		return disk_done(d, r, -EOPNOTSUPP);
	if (i < SLOTS) {
		enqueue(b, r, i);
	} else {
		r->next = NULL;
		*b->waiting_last = r;
		b->waiting_last = &r->next;
	}
	if (!b->plugged)
		send_all(b);
}

static void nbd_plug(struct disk *d, bool on)
{
	struct nbd *b = d->format;
	b->plugged = on;
	if (!on)
		send_all(b);
}

static void nbd_wait(struct disk *d)
{
	struct nbd *b = d->format;
	struct pollfd p = { .fd = b->fd, .events = (short)(POLLIN | (b->ntodo ? POLLOUT : 0)) };
	if (poll(&p, 1, -1) > 0)
		ready(b, LOOP_READ);
}

static void nbd_close(struct disk *d)
{
	struct nbd *b = d->format;
	uint8_t bye[NBD_REQUEST_LEN] = { 0 };
	be32_put(bye, NBD_REQUEST);
	be16_put(bye + 6, NBD_CMD_DISC);
	if (!b->dead)
		send(b->fd, bye, sizeof(bye), MSG_NOSIGNAL | MSG_DONTWAIT);
	loop_fd_del(b->watch);
	close(b->fd);
	free(b);
}

static bool nbd_open(struct disk *d, int fd, const struct disk_options *o, struct error *err)
{
	if (o->nbd_size < 512)
		return error_set(err, 0, "disk '%s' is shorter than one sector of 512 bytes", o->path);
	if (o->nbd_flags & NBD_READ_ONLY && !o->readonly)
		return error_set(err, 0, "disk '%s' can only be read (add ',readonly')", o->path);
	struct nbd *b = xnew(struct nbd);
	b->disk = d;
	b->fd = fd;
	b->flags = o->nbd_flags;
	b->waiting_last = &b->waiting;
	d->info.size = ALIGN_DOWN(o->nbd_size, 512);
	d->info.discard = !o->readonly && o->nbd_flags & NBD_SEND_TRIM;
	d->format = b;
	b->watch = loop_fd_add(d->loop, fd, LOOP_READ, ready, b);
	return true;
}

const struct disk_ops disk_nbd = {
	.format = "nbd", .open = nbd_open, .submit = nbd_submit, .plug = nbd_plug, .wait = nbd_wait, .close = nbd_close,
};
