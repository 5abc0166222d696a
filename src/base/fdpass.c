/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors over a line: see fdpass.h. */
#include "base/fdpass.h"

#include <errno.h>
#include <sys/socket.h>

union room { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; };

ssize_t fds_send(int socket, const void *data, size_t n, const int *fds, unsigned nfds, int flags)
{
	union { char bytes[CMSG_SPACE(FDS_MOST * sizeof(int))]; struct cmsghdr align; } many = { 0 };
	struct iovec iov = { (void *)data, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (nfds) {
		m.msg_control = many.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(nfds * sizeof(int)) };
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	ssize_t r;
	do
		r = sendmsg(socket, &m, flags | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r;
}

bool fd_pass(int line, const void *data, size_t n, int fd)
{
	return fds_send(line, data, n, &fd, fd >= 0, MSG_DONTWAIT) == (ssize_t)n;
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
