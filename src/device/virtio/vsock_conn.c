/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections of virtio-vsock.  Firecracker's convention: whoever connects to
 * the host's socket says "CONNECT PORT\n" and hears "OK PORT\n"; the guest's
 * calls to port P of the host go to the socket PATH_P, which the keeper opens.
 */
#include "device/virtio/vsock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "machine/machine.h"

#define FIRST_HOST_PORT (1u << 30)

struct vsock_conn *vsock_find(struct virtio_vsock *s, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *c = s->conns;
	while (c && (c->host_port != host_port || c->guest_port != guest_port || c->state == CONN_GREETING))
		c = c->next;
	return c;
}

void vsock_conn_free(struct vsock_conn *c)
{
	struct vsock_conn **p = &c->dev->conns;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	c->dev->nconns--;
	loop_fd_del(c->watch);
	if (c->fd >= 0)
		close(c->fd);
	free(c->buffer);
	free(c);
}

void vsock_conn_watch(struct vsock_conn *c)
{
	bool reads = c->state == CONN_GREETING || (c->state == CONN_OPEN && !c->readable && !c->host_done);
	if (c->watch)
		loop_fd_events(c->watch, (reads ? LOOP_READ : 0) | (c->fill ? LOOP_WRITE : 0));
}

static void say(struct vsock_conn *c, unsigned op)
{
	c->say |= 1u << op;
	vsock_flush(c->dev);          /* may free c */
}

void vsock_conn_reset(struct vsock_conn *c)
{
	c->state = CONN_DEAD;
	c->fill = 0;
	c->say = 0;
	vsock_conn_watch(c);
	say(c, VSOCK_RST);
}

/* --- towards the host ----------------------------------------------------- */

/* The guest sends no more and all has been written. */
static void finish_sending(struct vsock_conn *c)
{
	if (c->fill || !(c->shutdown & VSOCK_NO_SEND))
		return;
	shutdown(c->fd, SHUT_WR);
	if (c->shutdown & VSOCK_NO_RECEIVE)
		vsock_conn_reset(c);
}

static void forwarded(struct vsock_conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	if (c->fwd_cnt - c->told_fwd_cnt >= VSOCK_BUFFER / 2)
		c->say |= 1u << VSOCK_CREDIT_UPDATE;
}

/* false: c has been reset. */
static bool write_buffer(struct vsock_conn *c)
{
	while (c->fill) {
		uint32_t n = MIN(c->fill, VSOCK_BUFFER - c->start);
		ssize_t r = send(c->fd, c->buffer + c->start, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			break;
		if (r < 0) {
			vsock_conn_reset(c);
			return false;
		}
		c->start = (c->start + (uint32_t)r) % VSOCK_BUFFER;
		c->fill -= (uint32_t)r;
		forwarded(c, (uint32_t)r);
	}
	vsock_conn_watch(c);
	return true;
}

static void buffer_add(struct vsock_conn *c, struct virtq_chain *chain, size_t offset, uint32_t len)
{
	if (!c->buffer)
		c->buffer = xmalloc(VSOCK_BUFFER);
	while (len) {
		uint32_t end = (c->start + c->fill) % VSOCK_BUFFER, n = MIN(len, VSOCK_BUFFER - end);
		iov_to_buf(chain->out, chain->nout, offset, c->buffer + end, n);
		c->fill += n;
		offset += n;
		len -= n;
	}
}

static void from_guest(struct vsock_conn *c, const struct vsock_packet *p, struct virtq_chain *chain)
{
	/* more than its credit, or after it said that there would be no more */
	if (p->len > VSOCK_BUFFER - c->fill || c->shutdown & VSOCK_NO_SEND) {
		vsock_conn_reset(c);
		return;
	}
	buffer_add(c, chain, VSOCK_HEADER, p->len);
	if (write_buffer(c))
		vsock_flush(c->dev);
}

/* --- towards the guest ---------------------------------------------------- */

static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t used = c->sent - c->peer_fwd_cnt;
	return used < c->peer_alloc ? c->peer_alloc - used : 0;
}

bool vsock_conn_has_data(const struct vsock_conn *c)
{
	return c->state == CONN_OPEN && c->readable && credit(c);
}

/* Both directions are closed, or only the one towards us. */
static void host_ended(struct vsock_conn *c)
{
	struct pollfd f = { c->fd, 0, 0 };
	c->host_done = true;
	c->shutdown_flags = VSOCK_NO_SEND;
	if (poll(&f, 1, 0) > 0 && f.revents & (POLLHUP | POLLERR))
		c->shutdown_flags |= VSOCK_NO_RECEIVE;
	c->say |= 1u << VSOCK_SHUTDOWN;
}

uint32_t vsock_conn_read(struct vsock_conn *c, struct virtq_chain *chain)
{
	struct iovec iov[VIRTIO_MAX_SEGS], *at = iov;
	size_t room = chain->in_len - VSOCK_HEADER;
	memcpy(iov, chain->in, chain->nin * sizeof(*iov));
	unsigned n = iov_trim_front(&at, chain->nin, VSOCK_HEADER);
	if (room > credit(c))
		n = iov_trim_back(at, n, room - credit(c));
	struct msghdr m = { .msg_iov = at, .msg_iovlen = n };
	ssize_t r = recvmsg(c->fd, &m, MSG_DONTWAIT);
	if (r > 0) {
		c->sent += (uint32_t)r;
		return (uint32_t)r;
	}
	c->readable = false;
	if (r == 0 || (errno != EAGAIN && errno != EINTR))
		host_ended(c);
	vsock_conn_watch(c);
	return 0;
}

/* --- opening -------------------------------------------------------------- */

static void conn_ready(void *opaque, int events);

static struct vsock_conn *conn_new(struct virtio_vsock *s, enum vsock_state state)
{
	struct vsock_conn *c = xnew(struct vsock_conn);
	c->dev = s;
	c->fd = -1;
	c->state = state;
	c->next = s->conns;
	s->conns = c;
	s->nconns++;
	return c;
}

static void conn_fd(struct vsock_conn *c, int fd)
{
	c->fd = fd;
	c->watch = loop_fd_add(c->dev->v.pci.dev.machine->loop, fd, 0, conn_ready, c);
	vsock_conn_watch(c);
}

void vsock_accept(struct virtio_vsock *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (s->nconns >= VSOCK_CONNS || !s->v.live) {
		close(fd);
		return;
	}
	conn_fd(conn_new(s, CONN_GREETING), fd);
}

bool vsock_connect(struct virtio_vsock *s, const struct vsock_packet *p)
{
	if (s->nconns >= VSOCK_CONNS)
		return false;
	struct vsock_conn *c = conn_new(s, CONN_DIALING);
	c->host_port = p->dst_port;
	c->guest_port = p->src_port;
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
	if (vsock_dial(s, c))
		return true;
	vsock_conn_free(c);
	return false;
}

void vsock_conn_open(struct vsock_conn *c, int fd)
{
	c->state = CONN_OPEN;
	conn_fd(c, fd);
	say(c, VSOCK_RESPONSE);
}

/* "CONNECT PORT\n", a byte at a time: what follows belongs to the guest. */
static void read_greeting(struct vsock_conn *c)
{
	uint64_t port;
	char *line = c->line;
	while (c->line_len < sizeof(c->line) - 1) {
		ssize_t r = recv(c->fd, line + c->line_len, 1, MSG_DONTWAIT);
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r <= 0)
			break;
		if (line[c->line_len++] != '\n')
			continue;
		line[c->line_len - 1] = 0;
		if (strncmp(line, "CONNECT ", 8) || !parse_u64(line + 8, 0, UINT32_MAX, &port))
			break;
		c->guest_port = (uint32_t)port;
		do
			c->host_port = FIRST_HOST_PORT | c->dev->next_port++;
		while (vsock_find(c->dev, c->host_port, c->guest_port));
		c->state = CONN_REQUESTED;
		vsock_conn_watch(c);
		say(c, VSOCK_REQUEST);
		return;
	}
	vsock_conn_free(c);
}

static void opened(struct vsock_conn *c)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);
	c->state = CONN_OPEN;
	if (send(c->fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		vsock_conn_reset(c);
	else
		vsock_conn_watch(c);
}

static void conn_ready(void *opaque, int events)
{
	struct vsock_conn *c = opaque;
	if (c->state == CONN_GREETING) {
		read_greeting(c);
		return;
	}
	if (events & LOOP_WRITE) {
		if (!write_buffer(c))
			return;
		if (!c->fill && c->shutdown & VSOCK_NO_SEND) {
			finish_sending(c);
			return;
		}
	}
	c->readable |= (events & LOOP_READ) != 0;
	vsock_conn_watch(c);
	vsock_flush(c->dev);
}

/* --- packets -------------------------------------------------------------- */

static void guest_shuts(struct vsock_conn *c, uint32_t flags)
{
	c->shutdown |= flags & (VSOCK_NO_SEND | VSOCK_NO_RECEIVE);
	if (c->shutdown & VSOCK_NO_RECEIVE) {
		shutdown(c->fd, SHUT_RD);
		c->host_done = true;
		c->readable = false;
		vsock_conn_watch(c);
	}
	finish_sending(c);
}

void vsock_conn_packet(struct vsock_conn *c, const struct vsock_packet *p, struct virtq_chain *chain)
{
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
	if (p->op == VSOCK_RST) {
		vsock_conn_free(c);
	} else if (c->state == CONN_REQUESTED && p->op == VSOCK_RESPONSE) {
		opened(c);
	} else if (c->state != CONN_OPEN) {
		vsock_conn_reset(c);
	} else if (p->op == VSOCK_RW) {
		from_guest(c, p, chain);
	} else if (p->op == VSOCK_SHUTDOWN) {
		guest_shuts(c, p->flags);
	} else if (p->op == VSOCK_CREDIT_REQUEST) {
		say(c, VSOCK_CREDIT_UPDATE);
	} else if (p->op == VSOCK_CREDIT_UPDATE) {
		vsock_flush(c->dev);
	} else {
		vsock_conn_reset(c);
	}
}
