/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unix sockets by the directory that they are in, through /proc/self/fd: their
 * addresses hold 107 bytes only, paths may be longer.  type: SOCK_STREAM or
 * SOCK_SEQPACKET, with SOCK_NONBLOCK if wanted; all are close-on-exec.  On failure
 * -1, with errno.
 */
#ifndef BASE_SOCKET_H
#define BASE_SOCKET_H

/* A socket `name` of the directory, in place of what was there. */
int unix_listen_at(int dir, const char *name, int type, int backlog);
/* A stream that would block (a full queue) is EAGAIN with SOCK_NONBLOCK. */
int unix_connect_at(int dir, const char *name, int type);
/* The same by path; what is there already is replaced only if it is a socket without
 * a listener, else EADDRINUSE. */
int unix_listen(const char *path, int type, int backlog);
int unix_connect(const char *path, int type);

#endif
