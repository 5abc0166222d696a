/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls from the guest to the host.  The machine process is jailed and opens no
 * sockets: it names the ports to the keeper over a SOCK_SEQPACKET line,
 *     u32 host's port, u32 guest's port,
 * and gets the same back, with the connected socket, or without if nobody listens.
 */
#include "device/virtio/vsock.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/fdpass.h"

bool vsock_dial(struct virtio_vsock *s, const struct vsock_conn *c)
{
	uint32_t ports[2] = { c->host_port, c->guest_port };
	return send(s->dial_fd, ports, sizeof(ports), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(ports);
}

/* The guest may have given up meanwhile. */
static void answered(struct virtio_vsock *s, const uint32_t ports[2], int fd)
{
	struct vsock_conn *c = vsock_find(s, ports[0], ports[1]);
	bool waits = c && c->state == CONN_DIALING;
	if (waits && fd >= 0)
		vsock_conn_open(c, fd);
	else if (waits)
		vsock_conn_reset(c);
	if (!waits && fd >= 0)
		close(fd);
}

void vsock_dialed(struct virtio_vsock *s)
{
	uint32_t ports[2];
	int fd;
	ssize_t n;
	while ((n = fd_take(s->dial_fd, ports, sizeof(ports), &fd)) == sizeof(ports))
		answered(s, ports, fd);
	if (n == 0)             /* the keeper is gone, and so are we, soon */
		loop_fd_events(s->dial_watch, 0);
}
