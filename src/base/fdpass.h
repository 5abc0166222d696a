/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that go with bytes over Unix sockets (unix(7), SCM_RIGHTS). */
#ifndef BASE_FDPASS_H
#define BASE_FDPASS_H

#include "base/util.h"

enum { FDS_MOST = 16 };

/* As sendmsg(), with up to FDS_MOST descriptors, which stay the caller's; begun again after a signal. */
ssize_t fds_send(int socket, const void *data, size_t n, const int *fds, unsigned nfds, int flags);

/* A short message on a SOCK_SEQPACKET line; never blocks. fd -1: none; it stays the caller's. */
bool fd_pass(int line, const void *data, size_t n, int fd);
/* Bytes, or as recvmsg(); *fd: -1, or what came along, now the caller's. */
ssize_t fd_take(int line, void *data, size_t n, int *fd);

#endif
