/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user network's loop: see user.h.  One thread; frames from the machine go
 * to slirp, slirp's frames to the machine.  A frame that the machine does not
 * take within SEND_WAIT_MS is dropped, as on any wire.
 */
#include "net/user.h"
#include "net/port.h"
#include "net/slirp_poll.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum { BATCH = 64, SEND_WAIT_MS = 50, SOCKET_BUFFER = 4 << 20, MTU = 1500 };

struct user {
	Slirp *slirp;
	int fd;
	struct slirp_poll poll;
	bool gone;
	uint8_t frame[NET_FRAME_MAX + NET_HDR];
};

/* ---- slirp's callbacks ---- */

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;
	uint8_t hdr[NET_HDR] = { [10] = 1 };      /* num_buffers */
	struct iovec v[2] = { { hdr, sizeof(hdr) }, { (void *)buf, len } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	ssize_t r = sendmsg(u->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (r < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
		struct pollfd p = { .fd = u->fd, .events = POLLOUT };
		poll(&p, 1, SEND_WAIT_MS);
		r = sendmsg(u->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	if (r < 0 && errno == EPIPE)
		u->gone = true;
	return (ssize_t)len;
}

/* ---- the machine's side ---- */

static void from_machine(struct user *u)
{
	for (unsigned i = 0; i < BATCH; i++) {
		ssize_t n = recv(u->fd, u->frame, sizeof(u->frame), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			u->gone = true;
		if (n <= NET_HDR)
			return;
		/* Checksums and segments are done already: net/socket_port.c. */
		slirp_input(u->slirp, u->frame + NET_HDR, (int)(n - NET_HDR));
	}
}

static void serve(struct user *u)
{
	while (!u->gone) {
		u->poll.fd[0] = (struct pollfd){ .fd = u->fd, .events = POLLIN };
		if (slirp_poll_wait(&u->poll, u->slirp, 1, -1) > 0 && u->poll.fd[0].revents)
			from_machine(u);
	}
}

/* ---- start ---- */

static bool make_slirp(struct user *u, struct error *err)
{
	static SlirpCb callbacks = { .send_packet = send_packet };
	slirp_poll_callbacks(&callbacks);
	SlirpConfig c = { .version = 3, .in_enabled = true, .vhostname = "abyme", .if_mtu = MTU, .if_mru = MTU };
	inet_pton(AF_INET, "10.0.2.0", &c.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &c.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &c.vhost);
	inet_pton(AF_INET, "10.0.2.15", &c.vdhcp_start);
	inet_pton(AF_INET, "10.0.2.3", &c.vnameserver);
	u->slirp = slirp_new(&c, &callbacks, u);
	return u->slirp || error_set(err, 0, "libslirp cannot start the user network");
}

static bool bind_ports(struct user *u, const struct net_user_options *o, struct error *err)
{
	struct in_addr host, guest;
	inet_pton(AF_INET, "10.0.2.15", &guest);
	for (unsigned i = 0; i < o->npublish; i++) {
		const struct publish *p = &o->publish[i];
		inet_pton(AF_INET, p->host_addr, &host);
		errno = 0;
		if (slirp_add_hostfwd(u->slirp, p->udp, host, (int)p->host_port, guest, (int)p->guest_port))
			return error_set(err, errno, "cannot publish %s:%u/%s on the host", p->host_addr,
					 p->host_port, p->udp ? "udp" : "tcp");
	}
	return true;
}

static const char *const binds[][2] = { { "/etc/resolv.conf", "/etc/resolv.conf" }, { NULL, NULL } };

static bool start(struct user *u, struct net_user_options *o, struct error *err)
{
	int size = SOCKET_BUFFER;
	setsockopt(u->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return make_slirp(u, err) && bind_ports(u, o, err) && jail_root(&o->jail, binds, err) &&
		jail_seal(&o->jail, err);
}

int net_user_main(struct net_user_options *o)
{
	struct error err = { 0 };
	struct user *u = xnew(struct user);
	u->fd = o->frame_fd;
	bool ok = start(u, o, &err);
	fd_write_full(o->ready_fd, ok ? "R" : err.text, ok ? 1 : strlen(err.text));
	close(o->ready_fd);
	if (ok)
		serve(u);
	if (u->slirp)
		slirp_cleanup(u->slirp);
	free(u);
	return ok ? 0 : 1;
}
