/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-9p (virtio 1.2 5.11, 9P2000.L): carries messages between a queue and
 * the stream of the helper that serves the tree (share/p9.h).  The messages are
 * not looked into beyond size, type and tag.  Tags on the stream are slot
 * numbers, so that a guest's double tags confuse nobody but itself; the guest's
 * own come back in its replies.
 *
 * Invariants: the helper answers in order of arrival or not, each slot once; a
 * slot whose chain was dropped (reset) stays busy until its answer has come.
 * When the helper ends, every request is answered with EIO.
 */
#include "device/virtio/virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "machine/machine.h"
#include "share/p9.h"

enum { QUEUE = 128, TAG_MAX = 255, DRAIN_MS = 10000, SAVED_MAX = 64 };

struct slot {
	struct virtq_chain c;
	bool busy, dropped;
	uint8_t guest_tag[2];
};

struct virtio_9p {
	struct virtio_device v;
	struct virtio_ops ops;
	char tag[TAG_MAX + 1];
	int fd;
	struct loop_fd *watch;
	bool dead, stalled;               /* stalled: chains were left in the queue */
	struct slot *slots[QUEUE];        /* made when first used */
	unsigned busy;
	/* what the stream has not taken yet */
	uint8_t *unsent;
	size_t unsent_len, unsent_at;
	/* the reply that is being read */
	uint8_t header[P9_HEADER];
	size_t got;                       /* of header, then of the body too */
	uint32_t reply_len;
	struct slot *reply;
	uint32_t msize;                   /* of the session, from the last Tversion's reply */
	/* the session, between a drain and the save, or a load and its restore */
	uint8_t *saved[SAVED_MAX];
	uint32_t saved_len[SAVED_MAX], nsaved, nheld;
	uint16_t heads[QUEUE];
};

static struct virtio_9p *from(struct virtio_device *v) { return container_of(v, struct virtio_9p, v); }

static void watch(struct virtio_9p *p)
{
	loop_fd_events(p->watch, p->dead || p->v.drained ? 0 : LOOP_READ | (p->unsent ? LOOP_WRITE : 0));
}

/* --- replies -------------------------------------------------------------- */

static void release(struct virtio_9p *p, struct slot *s)
{
	s->busy = s->dropped = false;
	p->busy--;
	if (p->stalled && !p->v.drained) {
		p->stalled = false;
		virtio_kick(&p->v, 0);
	}
}

static void put_header(struct slot *s, uint32_t len, uint8_t type)
{
	uint8_t h[P9_HEADER];
	le32_put(h, len);
	h[4] = type;
	memcpy(h + 5, s->guest_tag, 2);
	buf_to_iov(s->c.in, s->c.nin, 0, h, P9_HEADER);
}

static void answer(struct virtio_9p *p, struct slot *s, uint32_t len)
{
	virtq_push(s->c.vq, &s->c, len);
	virtq_signal(s->c.vq);
	release(p, s);
}

static void answer_error(struct virtio_9p *p, struct slot *s, uint32_t e)
{
	uint8_t code[4];
	le32_put(code, e);
	if (s->dropped)
		return release(p, s);
	put_header(s, P9_HEADER + 4, P9_RLERROR);
	buf_to_iov(s->c.in, s->c.nin, P9_HEADER, code, 4);
	answer(p, s, (uint32_t)MIN(s->c.in_len, (size_t)P9_HEADER + 4));
}

static void helper_died(struct virtio_9p *p, const char *why)
{
	if (p->dead)
		return;
	log_warn("share '%s': %s; the guest's requests fail from now on", p->tag, why);
	p->dead = true;
	free(move_ptr(p->unsent));
	for (unsigned i = 0; i < QUEUE; i++)
		if (p->slots[i] && p->slots[i]->busy)
			answer_error(p, p->slots[i], EIO);
	watch(p);
}

static bool reply_begins(struct virtio_9p *p)
{
	unsigned tag = le16_get(p->header + 5);
	p->reply_len = le32_get(p->header);
	p->reply = tag < QUEUE ? p->slots[tag] : NULL;
	return p->reply && p->reply->busy && p->reply_len >= P9_HEADER && p->reply_len <= P9_MSIZE_MAX;
}

static void reply_ends(struct virtio_9p *p)
{
	struct slot *s = move_ptr(p->reply);
	p->got = 0;
	if (s->dropped) {
		release(p, s);
	} else if (p->reply_len > s->c.in_len) {
		answer_error(p, s, EMSGSIZE);
	} else {
		uint8_t msize[4];
		if (p->header[4] == P9_TVERSION + 1 &&
		    iov_to_buf(s->c.in, s->c.nin, P9_HEADER, msize, 4) == 4)
			p->msize = le32_get(msize);
		put_header(s, p->reply_len, p->header[4]);
		answer(p, s, p->reply_len);
	}
}

/* Where the next bytes of the body go: guest memory, or nowhere in particular. */
static ssize_t read_body(struct virtio_9p *p)
{
	static uint8_t waste[4096];
	struct slot *s = p->reply;
	size_t left = p->reply_len - p->got;
	if (s->dropped || p->reply_len > s->c.in_len)
		return recv(p->fd, waste, MIN(left, sizeof(waste)), MSG_DONTWAIT);
	struct iovec iov[VIRTIO_MAX_SEGS], *at = iov;
	memcpy(iov, s->c.in, s->c.nin * sizeof(*iov));
	unsigned n = iov_trim_front(&at, s->c.nin, p->got);
	n = iov_trim_back(at, n, s->c.in_len - p->got - left);
	struct msghdr m = { .msg_iov = at, .msg_iovlen = n };
	return recvmsg(p->fd, &m, MSG_DONTWAIT);
}

/* false: nothing more to read now. */
static bool read_some(struct virtio_9p *p)
{
	ssize_t r = 0;
	if (!p->reply) {
		r = recv(p->fd, p->header + p->got, P9_HEADER - p->got, MSG_DONTWAIT);
	} else if (p->got < p->reply_len) {
		r = read_body(p);
	}
	if (r < 0 && errno == EINTR)
		return true;
	if (r < 0 && errno == EAGAIN)
		return false;
	if (r <= 0) {
		helper_died(p, "its helper process has ended");
		return false;
	}
	p->got += (size_t)r;
	if (!p->reply && p->got == P9_HEADER && !reply_begins(p)) {
		helper_died(p, "its helper process answered nonsense");
		return false;
	}
	if (p->reply && p->got == p->reply_len)
		reply_ends(p);
	return true;
}

/* --- requests ------------------------------------------------------------- */

/* Keep what a full stream did not take. */
static void keep_unsent(struct virtio_9p *p, const struct iovec *iov, unsigned n, size_t from, size_t len)
{
	p->unsent_len = len - from;
	p->unsent_at = 0;
	p->unsent = xmalloc(p->unsent_len);
	iov_to_buf(iov, n, from, p->unsent, p->unsent_len);
	watch(p);
}

static void send_message(struct virtio_9p *p, const struct iovec *iov, unsigned n, size_t len)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n };
	ssize_t r = sendmsg(p->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r < 0 && errno != EAGAIN && errno != EINTR)
		helper_died(p, "its helper process has ended");
	else if ((size_t)MAX(r, (ssize_t)0) < len)
		keep_unsent(p, iov, n, (size_t)MAX(r, (ssize_t)0), len);
}

static void send_rest(struct virtio_9p *p)
{
	while (p->unsent) {
		ssize_t r = send(p->fd, p->unsent + p->unsent_at, p->unsent_len - p->unsent_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r < 0)
			return helper_died(p, "its helper process has ended");
		p->unsent_at += (size_t)r;
		if (p->unsent_at == p->unsent_len)
			free(move_ptr(p->unsent));
	}
	watch(p);
	if (p->stalled && !p->v.drained)
		virtio_kick(&p->v, 0);
}

static void start(struct virtio_9p *p, struct slot *s, unsigned index)
{
	uint8_t h[P9_HEADER];
	struct virtq_chain *c = &s->c;
	s->busy = true;
	p->busy++;
	if (iov_to_buf(c->out, c->nout, 0, h, P9_HEADER) < P9_HEADER || c->in_len < P9_HEADER + 4) {
		s->dropped = true;
		virtq_drop(c->vq, c);
		release(p, s);
		virtio_broken(&p->v, "a message has no header or no room for an answer");
		return;
	}
	uint32_t len = le32_get(h);
	memcpy(s->guest_tag, h + 5, 2);
	if (p->dead || len < P9_HEADER || len > c->out_len || len > P9_MSIZE_MAX || h[4] >= P9_TSAVE)
		return answer_error(p, s, p->dead ? EIO : EINVAL);
	le16_put(h + 5, (uint16_t)index);
	c->nout = iov_trim_back(c->out, c->nout, c->out_len - len);
	c->nout = iov_trim_front(&c->out, c->nout, P9_HEADER);
	struct iovec iov[VIRTIO_MAX_SEGS + 1] = { { h, P9_HEADER } };
	memcpy(iov + 1, c->out, c->nout * sizeof(*iov));
	send_message(p, iov, c->nout + 1, len);
}

static struct slot *slot_get(struct virtio_9p *p, unsigned *index)
{
	for (*index = 0; *index < QUEUE; ++*index) {
		struct slot **s = &p->slots[*index];
		if (!*s)
			*s = xnew(struct slot);
		if (!(*s)->busy)
			return *s;
	}
	return NULL;
}

static void p9_notify(struct virtio_device *v, unsigned q)
{
	struct virtio_9p *p = from(v);
	unsigned index;
	for (;;) {
		struct slot *s = p->unsent ? NULL : slot_get(p, &index);
		p->stalled = !s;
		if (!s || virtq_pop(&v->vq[q], &s->c) <= 0)
			break;
		start(p, s, index);
	}
}

static void stream_ready(void *opaque, int events)
{
	struct virtio_9p *p = opaque;
	if (events & LOOP_WRITE)
		send_rest(p);
	if (events & LOOP_READ)
		for (unsigned i = 0; i < 4 * QUEUE && !p->dead && read_some(p); i++)
			;
}

/* --- reset, drain, state -------------------------------------------------- */

static void p9_reset(struct virtio_device *v)
{
	struct virtio_9p *p = from(v);
	for (unsigned i = 0; i < QUEUE; i++) {
		struct slot *s = p->slots[i];
		if (s && s->busy && !s->dropped) {
			virtq_drop(s->c.vq, &s->c);
			s->dropped = true;
		}
	}
	p->stalled = false;
	p->msize = 0;
}

/* Let the stream flow until `done`, or time is up. */
static bool pump(struct virtio_9p *p, bool (*done)(struct virtio_9p *p))
{
	uint64_t waited = 0;
	while (!p->dead && !done(p) && waited < DRAIN_MS) {
		struct pollfd f = { p->fd, (short)(POLLIN | (p->unsent ? POLLOUT : 0)), 0 };
		if (poll(&f, 1, 100) == 0)
			waited += 100;
		if (p->unsent)
			send_rest(p);
		while (!p->dead && read_some(p) && !done(p))
			;
	}
	return !p->dead && done(p);
}

static bool idle(struct virtio_9p *p) { return !p->busy && !p->unsent; }

/* One message of ours while nothing else is under way; its body, or NULL. The
 * descriptor blocks, with a time limit, for whoever does not say MSG_DONTWAIT. */
static uint8_t *call(struct virtio_9p *p, uint8_t type, const void *body, uint32_t len, uint32_t *reply_len)
{
	uint8_t h[P9_HEADER];
	le32_put(h, P9_HEADER + len);
	h[4] = type;
	le16_put(h + 5, 0xffff);
	if (!fd_write_full(p->fd, h, P9_HEADER) || !fd_write_full(p->fd, body, len) ||
	    !fd_read_full(p->fd, h, P9_HEADER))
		return NULL;
	uint32_t n = le32_get(h);
	if (n < P9_HEADER || n > P9_MSIZE_MAX || h[4] != type + 1)
		return NULL;
	*reply_len = n - P9_HEADER;
	auto_free uint8_t *reply = xmalloc(n);
	return fd_read_full(p->fd, reply, *reply_len) ? move_ptr(reply) : NULL;
}

static void forget_saved(struct virtio_9p *p)
{
	while (p->nsaved)
		free(p->saved[--p->nsaved]);
}

/* Fetch the session's fids from the helper. */
static void save_session(struct virtio_9p *p)
{
	uint8_t from_bucket[4] = { 0 };
	forget_saved(p);
	while (p->msize && p->nsaved < SAVED_MAX) {
		uint32_t n;
		uint8_t *body = call(p, P9_TSAVE, from_bucket, 4, &n);
		if (!body || n < 4) {
			free(body);
			return helper_died(p, "its helper process cannot say what is open");
		}
		memcpy(from_bucket, body, 4);
		le32_put(body, p->msize);     /* in this form it is what Trestore takes */
		p->saved[p->nsaved] = body;
		p->saved_len[p->nsaved++] = n;
		if (le32_get(from_bucket) == UINT32_MAX)
			return;
	}
}

static void p9_drain(struct virtio_device *v)
{
	struct virtio_9p *p = from(v);
	bool quiet = pump(p, idle);
	p->nheld = 0;
	for (unsigned i = 0; i < QUEUE; i++)
		if (p->slots[i] && p->slots[i]->busy && !p->slots[i]->dropped)
			p->heads[p->nheld++] = p->slots[i]->c.head;
	if (quiet)
		save_session(p);
	watch(p);
}

static void p9_undrain(struct virtio_device *v)
{
	forget_saved(from(v));
	watch(from(v));
}

static bool p9_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	struct virtio_9p *p = from(v);
	xfer_u32_max(s, &p->msize, P9_MSIZE_MAX);
	xfer_u32_max(s, &p->nheld, QUEUE);
	for (unsigned i = 0; state_ok(s) && i < p->nheld; i++)
		xfer_u16(s, &p->heads[i]);
	uint32_t n = p->nsaved;
	xfer_u32_max(s, &n, SAVED_MAX);
	if (state_loading(s))
		forget_saved(p);
	for (unsigned i = 0; state_ok(s) && i < n; i++) {
		if (state_loading(s)) {
			p->saved[i] = xmalloc(P9_MSIZE_MAX);
			p->nsaved = i + 1;
		}
		xfer_blob(s, p->saved[i], &p->saved_len[i], P9_MSIZE_MAX - P9_HEADER);
	}
	return state_ok(s);
}

/* Give the helper of this machine the session of the saved one; what was under
 * way then may have happened or not, and is answered with EIO. */
static void p9_loaded(struct virtio_device *v)
{
	struct virtio_9p *p = from(v);
	for (unsigned i = 0; i < p->nsaved && !p->dead; i++) {
		uint32_t n;
		uint8_t *reply = call(p, P9_TRESTORE, p->saved[i], p->saved_len[i], &n);
		if (!reply)
			helper_died(p, "its helper process did not take the saved session");
		free(reply);
	}
	forget_saved(p);
	for (unsigned i = 0; i < p->nheld && v->live; i++) {
		unsigned index;
		struct slot *s = slot_get(p, &index);
		if (!s || !virtq_retake(&v->vq[0], p->heads[i], &s->c))
			break;
		memset(s->guest_tag, 0, 2);
		iov_to_buf(s->c.out, s->c.nout, 5, s->guest_tag, 2);
		s->busy = true;
		p->busy++;
		answer_error(p, s, EIO);
	}
	p->nheld = 0;
}

static void p9_config(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	struct virtio_9p *p = from(v);
	uint8_t c[2 + TAG_MAX + 1] = { 0 };
	le16_put(c, (uint16_t)strlen(p->tag));
	memcpy(c + 2, p->tag, strlen(p->tag));
	memcpy(buf, c + off, n);
}

static void p9_destroy(struct virtio_device *v)
{
	struct virtio_9p *p = from(v);
	loop_fd_del(p->watch);
	close(p->fd);
	forget_saved(p);
	free(p->unsent);
	for (unsigned i = 0; i < QUEUE; i++)
		free(p->slots[i]);
	free(p);
}

static const struct virtio_ops p9_ops = {
	.name = "virtio-9p", .device_id = 9, .class_rev = 0x00020001, .version = 1,
	.features = BIT(0),               /* MOUNT_TAG */
	.queues = 1, .queue_size = QUEUE, .config_read = p9_config, .notify = p9_notify,
	.reset = p9_reset, .xfer = p9_xfer, .loaded = p9_loaded, .drain = p9_drain,
	.undrain = p9_undrain, .destroy = p9_destroy,
};

/* For call(): block, but not for ever. */
static void set_blocking(int fd)
{
	struct timeval limit = { .tv_sec = DRAIN_MS / 1000 };
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

bool virtio_9p_create(struct machine *m, const char *tag, int fd, struct error *err)
{
	char id[32];
	if (!tag[0] || strlen(tag) > TAG_MAX)
		return error_set(err, 0, "the tag of a share has 1 to %d characters, not '%s'", TAG_MAX, tag);
	struct virtio_9p *p = xnew(struct virtio_9p);
	p->ops = p9_ops;
	p->ops.config_size = 2 + (unsigned)strlen(tag);
	p->fd = fd;
	strcpy(p->tag, tag);
	virtio_id(m, &p->ops, id);
	if (!virtio_init(m, &p->v, &p->ops, id, err)) {
		free(p);
		return false;
	}
	p->watch = loop_fd_add(m->loop, fd, LOOP_READ, stream_ready, p);
	set_blocking(fd);                 /* the loop has made it non-blocking */
	return true;
}
