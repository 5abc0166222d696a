/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's port on a network: its end of the rings that a switch serves
 * (net/ring.h).  Frames go out as the guest made them, checksums and segments
 * still to do; the switch finishes them for ports that cannot take them so.  A
 * full ring pushes back to the guest.  The switch is trusted no more than the
 * guest: what it says in a header is checked again.
 */
#include "net/ring.h"

#include <sys/socket.h>

#include "base/log.h"

enum { BATCH = 256 };

struct ring_port {
	struct net_port port;
	struct ring ring;
	struct ring_fds fds;
	struct loop *loop;
	struct loop_fd *watch;
	bool refused;                  /* the peer waits for room */
	bool held;                     /* a received record waits for the peer */
	bool again;                    /* a further turn is posted */
	bool gone;
};

static void ring_turn(struct ring_port *s);

static bool ring_receive(struct net_port *p, const struct iovec *iov, unsigned n, size_t len)
{
	struct ring_port *s = container_of(p, struct ring_port, port);
	uint8_t *out = len <= RING_RECORD_MAX ? ring_reserve(&s->ring, len) : NULL;
	if (!out && (len > RING_RECORD_MAX || s->ring.broken || len < NET_HDR)) {
		p->dropped++;
		return true;
	}
	if (!out) {
		ring_want_room(&s->ring);
		out = ring_reserve(&s->ring, len);      /* it may have come in between */
		s->refused = !out;
		if (!out)
			return false;
	}
	size_t done = 0;
	for (unsigned i = 0; i < n && done < len; i++) {
		size_t piece = MIN(iov[i].iov_len, len - done);
		memcpy(out + done, iov[i].iov_base, piece);
		done += piece;
	}
	memset(out + done, 0, len - done);
	ring_commit(&s->ring, len);
	ring_publish(&s->ring);
	return true;
}

/* Take what is there, a batch at most; true: there is more. */
static bool take(struct ring_port *s)
{
	const uint8_t *p;
	size_t len;
	unsigned i;
	for (i = 0; i < BATCH && (p = ring_peek(&s->ring, &len)); i++) {
		struct iovec v = { (void *)p, len };
		if (len >= NET_HDR + 14 && !net_port_send(&s->port, &v, 1, len)) {
			s->held = true;
			break;
		}
		ring_release(&s->ring, len);
	}
	ring_done(&s->ring);
	return i == BATCH;
}

static void link_check(struct ring_port *s)
{
	bool up = atomic_load(&s->ring.shared->link) == 1 && !s->ring.broken && !s->gone;
	if (s->ring.broken && !s->gone) {
		log_error("the switch broke the rules of the port's memory: the link is down for good");
		s->gone = true;
		loop_fd_events(s->watch, 0);
	}
	if (up != s->port.link_up)
		net_port_link(&s->port, up);
}

static void turn_again(void *opaque)
{
	struct ring_port *s = opaque;
	s->again = false;
	ring_turn(s);
}

static void ring_turn(struct ring_port *s)
{
	s->held = false;
	bool more = take(s) || (!s->held && ring_stays_awake(&s->ring, 0));
	while (!s->held && !more && !ring_sleep(&s->ring))
		more = take(s);
	link_check(s);
	if (more && !s->again) {
		s->again = true;
		loop_post(s->loop, turn_again, s);
	}
}

static void ring_room(struct net_port *p)
{
	struct ring_port *s = container_of(p, struct ring_port, port);
	if (s->held)
		ring_turn(s);
}

static void ring_ready(void *opaque, int events)
{
	struct ring_port *s = opaque;
	ring_bell_clear(&s->ring);
	if (s->refused) {
		s->refused = false;
		net_port_room(&s->port);
	}
	if (!s->held)
		ring_turn(s);
	link_check(s);
}

/* What the guest takes without help; it may change with each driver. */
static void ring_caps(struct net_port *p, unsigned caps)
{
	atomic_store(&container_of(p, struct ring_port, port)->ring.shared->caps, caps);
}

static void ring_destroy(struct net_port *p)
{
	struct ring_port *s = container_of(p, struct ring_port, port);
	loop_fd_del(s->watch);
	ring_close(&s->ring);
	ring_fds_close(&s->fds);
	free(s);
}

static const struct net_port_ops ring_ops = {
	.receive = ring_receive, .room = ring_room, .caps = ring_caps, .destroy = ring_destroy,
};

struct net_port *net_ring_port(struct loop *l, const struct ring_fds *fds, struct error *err)
{
	struct ring_port *s = xnew(struct ring_port);
	if (!ring_open(&s->ring, fds, false, err)) {
		free(s);
		return NULL;
	}
	s->port.ops = &ring_ops;
	s->port.offload = s->port.gives_offload = true;
	s->port.link_up = atomic_load(&s->ring.shared->link) == 1;
	s->fds = *fds;
	s->loop = l;
	s->watch = loop_fd_add(l, fds->to_port, LOOP_READ, ring_ready, s);
	loop_post(l, turn_again, s);      /* the first turn asks for the bell */
	s->again = true;
	return &s->port;
}
