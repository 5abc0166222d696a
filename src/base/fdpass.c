/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors over a line: see fdpass.h. */
#include "base/fdpass.h"

#include <sys/socket.h>

union room { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; };

bool fd_pass(int line, const void *data, size_t n, int fd)
{
	union room room = { 0 };
	struct iovec iov = { (void *)data, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd >= 0) {
		m.msg_control = room.bytes;
		m.msg_controllen = sizeof(room.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(line, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

ssize_t fd_take(int line, void *data, size_t n, int *fd)
{
	union room room;
	struct iovec iov = { data, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof(room.bytes) };
	ssize_t r = recvmsg(line, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = r >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
	*fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(*fd)))
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return r;
}
