/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages between runtime and container: channel.h. */
#include "container/channel.h"
#include "base/fdpass.h"
#include "base/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

bool channel_pair(int fds[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return error_set(err, errno, "cannot make a socket pair");
	return true;
}

static bool send_message(int fd, const struct channel_message *m)
{
	ssize_t n;
	do
		n = send(fd, m, sizeof(*m), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*m);
}

bool channel_send(int fd, enum channel_kind kind, int value)
{
	struct channel_message m = { .kind = kind, .value = value };
	return send_message(fd, &m);
}

void channel_fail(int fd, const struct error *err)
{
	struct channel_message m = { .kind = CHANNEL_FAILED, .value = err->code };
	memcpy(m.text, err->text, sizeof(m.text));
	send_message(fd, &m);
}

bool channel_wait(int fd, enum channel_kind kind, int *value, const char *who, struct error *err)
{
	struct channel_message m;
	ssize_t n;
	do
		n = recv(fd, &m, sizeof(m), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(m))
		return error_set(err, n < 0 ? errno : 0, "%s ended before it was ready", who);
	m.text[sizeof(m.text) - 1] = 0;
	if (m.kind == CHANNEL_FAILED) {
		error_set(err, 0, "%s", m.text);
		if (err)
			err->code = m.value;
		return false;
	}
	if (m.kind != (int)kind)
		return error_set(err, 0, "%s said %d where %d was due", who, m.kind, kind);
	if (value)
		*value = m.value;
	return true;
}

bool channel_pending(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

bool send_descriptor(int socket, int fd, const char *text, size_t size)
{
	return fds_send(socket, text, size, &fd, 1, 0) == (ssize_t)size;
}

int connect_unix(const char *path, struct error *err)
{
	int fd = unix_connect(path, SOCK_STREAM);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot connect to '%s'", path);
}
