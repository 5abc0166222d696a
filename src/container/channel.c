/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages between runtime and container: channel.h. */
#include "container/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

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
	union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { 0 };
	struct iovec iov = { (void *)text, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	ssize_t n;
	do
		n = sendmsg(socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)size;
}

/* An address holds 107 bytes; by its directory's descriptor a path may have any length. */
static bool address_of(const char *path, int *dir, struct sockaddr_un *a, unsigned *size)
{
	const char *slash = strrchr(path, '/');
	auto_free char *above = slash && slash > path ? strndup(path, (size_t)(slash - path)) : xstrdup(slash ? "/" : ".");
	*dir = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *dir >= 0 && unix_address(*dir, slash ? slash + 1 : path, a, size);
}

int connect_unix(const char *path, struct error *err)
{
	struct sockaddr_un a;
	unsigned size;
	auto_close int dir = -1;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !address_of(path, &dir, &a, &size) || connect(fd, (struct sockaddr *)&a, size))
		return error_minus(err, errno, "cannot connect to '%s'", path);
	return move_fd(&fd);
}

bool unix_address(int dir, const char *name, void *address, unsigned *size)
{
	struct sockaddr_un *a = address;
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%s", dir, name);
	*size = sizeof(*a);
	return n > 0 && (size_t)n < sizeof(a->sun_path);
}
