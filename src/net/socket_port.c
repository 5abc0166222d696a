/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port to another process over a SOCK_SEQPACKET descriptor, one message a
 * frame with its header.  Frames leave finished: checksums and segments are done
 * here.  When the other process ends, the link goes down and stays so.
 */
#include "net/port.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"

enum { BATCH = 64, FLAG_DATA_VALID = 2 };

struct socket_port {
	struct net_port port;
	int fd;
	struct loop_fd *watch;
	bool refused;                  /* the peer waits for room */
	bool held;                     /* in[] waits for the peer */
	bool sending;                  /* split and out[] wait for the socket */
	size_t in_len, out_len;
	struct net_split split;
	uint8_t in[NET_FRAME_MAX], whole[NET_FRAME_MAX], out[NET_HDR + NET_FRAME_MAX];
};

static void watch(struct socket_port *s)
{
	loop_fd_events(s->watch, (s->held ? 0 : LOOP_READ) | (s->sending || s->refused ? LOOP_WRITE : 0));
}

static void link_down(struct socket_port *s, int e)
{
	if (!s->port.link_up)
		return;
	log_warn("the network's helper process has gone%s%s: the guest's link is down",
		 e ? ": " : "", e ? strerror(e) : "");
	s->sending = s->held = false;
	loop_fd_events(s->watch, 0);
	net_port_link(&s->port, false);
}

/* Send what out[] and the split still hold; false: the socket is full. */
static bool send_all(struct socket_port *s)
{
	while (s->sending) {
		if (!s->out_len) {
			memset(s->out, 0, NET_HDR);
			s->out_len = net_split_next(&s->split, s->out + NET_HDR);
		}
		if (!s->out_len) {
			s->sending = false;
			break;
		}
		ssize_t r = send(s->fd, s->out, NET_HDR + s->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && (errno == EAGAIN || errno == ENOBUFS))
			return false;
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			link_down(s, errno);
			return true;
		}
		s->out_len = 0;
	}
	return true;
}

static size_t gather(const struct iovec *iov, unsigned n, uint8_t *buf, size_t max)
{
	size_t done = 0;
	for (unsigned i = 0; i < n; i++) {
		size_t piece = MIN(iov[i].iov_len, max - done);
		memcpy(buf + done, iov[i].iov_base, piece);
		done += piece;
	}
	return done;
}

static bool socket_receive(struct net_port *p, const struct iovec *iov, unsigned n, size_t len)
{
	struct socket_port *s = container_of(p, struct socket_port, port);
	if (s->sending) {
		s->refused = true;
		watch(s);
		return false;
	}
	if (gather(iov, n, s->whole, sizeof(s->whole)) < len || len < NET_HDR ||
	    !net_split_begin(&s->split, s->whole, s->whole + NET_HDR, len - NET_HDR)) {
		p->dropped++;
		return true;
	}
	s->sending = true;
	s->out_len = 0;
	if (!send_all(s))
		watch(s);
	return true;
}

static void socket_room(struct net_port *p)
{
	struct socket_port *s = container_of(p, struct socket_port, port);
	struct iovec v = { s->in, s->in_len };
	if (s->held && net_port_send(p, &v, 1, s->in_len))
		s->held = false;
	if (p->link_up)
		watch(s);
}

static void read_frames(struct socket_port *s)
{
	for (unsigned i = 0; i < BATCH && !s->held; i++) {
		ssize_t r = recv(s->fd, s->in, sizeof(s->in), MSG_DONTWAIT);
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r <= 0) {
			link_down(s, r ? errno : 0);
			return;
		}
		if (r < NET_HDR + 14)
			continue;
		/* the other process may only say that checksums are good */
		s->in[0] &= FLAG_DATA_VALID;
		memset(s->in + 1, 0, NET_HDR - 1);
		s->in_len = (size_t)r;
		struct iovec v = { s->in, s->in_len };
		s->held = !net_port_send(&s->port, &v, 1, s->in_len);
	}
}

static void socket_ready(void *opaque, int events)
{
	struct socket_port *s = opaque;
	if (events & LOOP_WRITE && send_all(s) && s->refused) {
		s->refused = false;
		net_port_room(&s->port);
	}
	if (events & LOOP_READ && s->port.link_up)
		read_frames(s);
	if (s->port.link_up)
		watch(s);
}

static void socket_destroy(struct net_port *p)
{
	struct socket_port *s = container_of(p, struct socket_port, port);
	loop_fd_del(s->watch);
	close(s->fd);
	free(s);
}

static const struct net_port_ops socket_ops = {
	.receive = socket_receive, .room = socket_room, .destroy = socket_destroy,
};

struct net_port *net_socket_port(struct loop *l, int fd, struct error *err)
{
	struct socket_port *s = xnew(struct socket_port);
	s->port.ops = &socket_ops;
	s->port.link_up = s->port.offload = true;
	s->fd = fd;
	s->watch = loop_fd_add(l, fd, LOOP_READ, socket_ready, s);
	if (s->watch)
		return &s->port;
	free(s);
	return error_null(err, 0, "the network's descriptor cannot be watched");
}
