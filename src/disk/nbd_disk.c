/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A struct disk over an NBD connection that has been negotiated (nbd_connect.c), on the
 * loop's thread.  Up to SLOTS requests are out; a cookie is a slot.  The server is
 * hostile, too: a reply is 16 bytes with a slot that is in use, and data goes where the
 * read wanted it.  Anything else ends the connection.
 *
 * A connection that is lost is asked for again, once a second.  Until `patience` is over,
 * requests wait: those that were out go out again on the new one, as nobody has been told
 * that they were done.  From then on they fail, and the disk's rule for errors (hold.c)
 * decides, until there is a connection again.
 */
#include "disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "base/fdpass.h"
#include "base/log.h"
#include "disk/nbd.h"
#include "disk/qcow2.h"

enum { SLOTS = 128, IOVS = 256 };
#define SECOND 1000000000ull
/* An attempt that has not answered after so long is given up. */
#define ATTEMPT_NS (90 * SECOND)

struct slot { struct disk_request *r; uint8_t header[NBD_REQUEST_LEN]; };

struct nbd {
	struct disk *disk;
	int fd;                           /* -1: lost */
	struct loop_fd *watch;
	uint16_t flags;
	bool plugged, watching_out;
	struct slot slot[SLOTS];
	unsigned char todo[SLOTS];        /* ring of slots to be sent */
	unsigned first, ntodo;
	uint64_t sent;                    /* bytes of the first of them */
	struct request_queue waiting;     /* for a slot, or for a connection */
	uint8_t reply[NBD_SIMPLE_LEN];
	uint64_t got;                     /* bytes of the reply, then of its data */

	int line, timer;                  /* where to ask for another connection, -1: nowhere; when */
	struct loop_fd *line_watch, *timer_watch;
	uint64_t patience, until, asked;  /* nanoseconds; asked 0: no attempt is under way */
	bool given_up;                    /* requests fail until there is a connection */
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
	if (b->watching_out == on || b->fd < 0)
		return;
	b->watching_out = on;
	loop_fd_events(b->watch, LOOP_READ | (on ? LOOP_WRITE : 0));
}

/* --- connections ------------------------------------------------------------- */

static void ready(void *opaque, int events);
static void send_all(struct nbd *b);

static void fill_slots(struct nbd *b)
{
	for (unsigned i; b->waiting.n && (i = take_slot(b)) < SLOTS; )
		enqueue(b, request_take(&b->waiting), i);
}

static void use_connection(struct nbd *b, int fd)
{
	b->fd = fd;
	b->sent = b->got = 0;
	b->first = b->ntodo = 0;
	b->watching_out = b->given_up = false;
	b->watch = loop_fd_add(b->disk->loop, fd, LOOP_READ, ready, b);
}

static void give_up(struct nbd *b)
{
	struct request_queue all = b->waiting;
	b->given_up = true;
	b->waiting = (struct request_queue){ 0 };
	for (struct disk_request *r; (r = request_take(&all)); )
		disk_done(b->disk, r, -EIO);
}

static void ask(struct nbd *b)
{
	uint64_t now = monotonic_ns();
	if (b->asked && now - b->asked < ATTEMPT_NS)
		return;
	b->asked = send(b->line, "c", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? now : 0;
}

static void set_timer(struct nbd *b, uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND) };
	timerfd_settime(b->timer, 0, &(struct itimerspec){ t, t }, NULL);
}

/* What is out goes back to those that wait. */
static void lose(struct nbd *b, const char *why)
{
	struct request_queue after = b->waiting;
	if (b->fd < 0)
		return;
	log_warn("the connection to the NBD server is lost: %s", why);
	loop_fd_del(b->watch);
	shutdown(b->fd, SHUT_RDWR);           /* whoever has it open, too */
	close_fd(&b->fd);
	b->ntodo = 0;
	b->waiting = (struct request_queue){ 0 };
	for (unsigned i = 0; i < SLOTS; i++) {
		if (b->slot[i].r)
			request_put(&b->waiting, b->slot[i].r);
		b->slot[i].r = NULL;
	}
	for (struct disk_request *r; (r = request_take(&after)); )
		request_put(&b->waiting, r);
	if (b->line < 0 || !b->patience)
		give_up(b);
	if (b->line < 0)
		return;
	b->until = monotonic_ns() + b->patience;
	set_timer(b, SECOND);
	ask(b);
}

/* The same disk, as far as can be told. */
static bool suits(const struct nbd *b, const struct nbd_answer *a)
{
	const struct disk_info *i = &b->disk->info;
	return a->size >= i->size && (i->readonly || !(a->flags & NBD_READ_ONLY));
}

static void answered(void *opaque, int events)
{
	struct nbd *b = opaque;
	struct nbd_answer a;
	int fd;
	ssize_t n = fd_take(b->line, &a, sizeof(a), &fd);
	if (n == 0) {                         /* nobody will ever answer */
		loop_fd_events(b->line_watch, 0);
		set_timer(b, 0);
		give_up(b);
	}
	b->asked = 0;
	if (n != sizeof(a) || fd < 0 || b->fd >= 0 || !suits(b, &a)) {
		if (fd >= 0 && b->fd < 0)
			log_warn("the NBD server is back with another disk: it is not used");
		close_fd(&fd);
		return;
	}
	log_info("the NBD server is back: %u requests go out to it", b->waiting.n);
	b->flags = a.flags;
	set_timer(b, 0);
	use_connection(b, fd);
	fill_slots(b);
	send_all(b);
}

static void ticked(void *opaque, int events)
{
	struct nbd *b = opaque;
	uint64_t n;
	if (read(b->timer, &n, sizeof(n)) != sizeof(n) || b->fd >= 0)
		return;
	if (!b->given_up && monotonic_ns() >= b->until)
		give_up(b);
	ask(b);
}

/* --- requests ---------------------------------------------------------------- */

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
	while (b->ntodo && b->fd >= 0) {
		struct iovec v[IOVS + 1];
		struct msghdr m = { .msg_iov = v, .msg_iovlen = rest_of_first(b, v) };
		ssize_t n = sendmsg(b->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return lose(b, strerror(errno));
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
	struct disk_request *r = b->slot[i].r;
	b->slot[i].r = NULL;
	b->got = 0;
	fill_slots(b);
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
		lose(b, n ? strerror(errno) : "it was closed");
		return false;
	}
	b->got += (uint64_t)n;
	if (b->got < NBD_SIMPLE_LEN)
		return true;
	cookie = be64_get(b->reply + 8);
	if (!r && (be32_get(b->reply) != NBD_SIMPLE_REPLY || !out(b, cookie))) {
		lose(b, "a reply to nothing that was asked");
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
		while (b->fd >= 0 && receive(b)) { }
	send_all(b);
}

static int refused(const struct nbd *b, const struct disk_request *r)
{
	if ((r->length > NBD_MAX_DATA && r->op <= DISK_WRITE) || r->length > UINT32_MAX || r->niov >= IOVS)
		return -EINVAL;
	if (r->op == DISK_WRITE_ZEROES && !(b->flags & NBD_SEND_WRITE_ZEROES))
		return -EOPNOTSUPP;
	return b->given_up ? -EIO : 0;
}

static void nbd_submit(struct disk *d, struct disk_request *r)
{
	struct nbd *b = d->format;
	int bad = refused(b, r);
	if (bad || (r->op == DISK_FLUSH && !(b->flags & NBD_SEND_FLUSH)) || (r->op == DISK_DISCARD && !(b->flags & NBD_SEND_TRIM)))
		return disk_done(d, r, bad);
	request_put(&b->waiting, r);
	if (b->fd < 0)
		return;
	fill_slots(b);
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

/* While there is no connection, until one comes or patience ends. */
static void nbd_wait(struct disk *d)
{
	struct nbd *b = d->format;
	bool lost = b->fd < 0;
	struct pollfd p[2] = { { .fd = lost ? b->line : b->fd, .events = (short)(POLLIN | (!lost && b->ntodo ? POLLOUT : 0)) },
			       { .fd = lost ? b->timer : -1, .events = POLLIN } };
	if (poll(p, 2, -1) <= 0)
		return;
	if (!lost)
		return ready(b, LOOP_READ);
	if (p[0].revents)
		answered(b, LOOP_READ);
	if (p[1].revents)
		ticked(b, LOOP_READ);
}

static void nbd_close(struct disk *d)
{
	struct nbd *b = d->format;
	uint8_t bye[NBD_REQUEST_LEN] = { 0 };
	be32_put(bye, NBD_REQUEST);
	be16_put(bye + 6, NBD_CMD_DISC);
	if (b->fd >= 0) {
		send(b->fd, bye, sizeof(bye), MSG_NOSIGNAL | MSG_DONTWAIT);
		loop_fd_del(b->watch);
	}
	if (b->line_watch)
		loop_fd_del(b->line_watch);
	if (b->timer_watch)
		loop_fd_del(b->timer_watch);
	close_fd(&b->fd);
	close_fd(&b->line);
	close_fd(&b->timer);
	free(b);
}

static bool can_ask(struct nbd *b, const struct disk_options *o, struct error *err)
{
	b->line = b->timer = -1;
	if (o->nbd_line <= 0)
		return true;
	b->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (b->timer < 0)
		return error_set(err, errno, "cannot create a timer for disk '%s'", o->path);
	b->line = o->nbd_line;
	b->patience = o->nbd_patience * SECOND;
	b->line_watch = loop_fd_add(b->disk->loop, b->line, LOOP_READ, answered, b);
	b->timer_watch = loop_fd_add(b->disk->loop, b->timer, LOOP_READ, ticked, b);
	return true;
}

static bool nbd_open(struct disk *d, int fd, const struct disk_options *o, struct error *err)
{
	if (o->nbd_size < 512)
		return error_set(err, 0, "disk '%s' is shorter than one sector of 512 bytes", o->path);
	if (o->nbd_flags & NBD_READ_ONLY && !o->readonly)
		return error_set(err, 0, "disk '%s' can only be read (add ',readonly')", o->path);
	struct nbd *b = xnew(struct nbd);
	b->disk = d;
	if (!can_ask(b, o, err)) {
		free(b);
		return false;
	}
	b->flags = o->nbd_flags;
	d->info.size = ALIGN_DOWN(o->nbd_size, 512);
	d->info.discard = !o->readonly && o->nbd_flags & NBD_SEND_TRIM;
	d->format = b;
	use_connection(b, fd);
	return true;
}

const struct disk_ops disk_nbd = {
	.format = "nbd", .open = nbd_open, .submit = nbd_submit, .plug = nbd_plug, .wait = nbd_wait, .close = nbd_close,
};
