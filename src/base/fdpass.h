/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A short message on a SOCK_SEQPACKET line, with a descriptor or without; never blocks. */
#ifndef BASE_FDPASS_H
#define BASE_FDPASS_H

#include "base/util.h"

/* fd -1: none. It stays the caller's. */
bool fd_pass(int line, const void *data, size_t n, int fd);
/* Bytes, or as recvmsg(); *fd: -1, or what came along, now the caller's. */
ssize_t fd_take(int line, void *data, size_t n, int *fd);

#endif
