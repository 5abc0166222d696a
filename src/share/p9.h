/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 9P2000.L server for one directory tree.  A fid is an O_PATH descriptor; a
 * walk opens one component at a time with openat2(RESOLVE_BENEATH), so that no
 * name, link or rename leads out of the tree; symbolic links are the client's to
 * follow.  Files are opened again through the directory /proc/self/fd, opened
 * before the jail closed.
 *
 * The tree belongs to whoever runs the server: an owner that the host refuses
 * to set is ignored, setuid bits and device nodes are never created.
 */
#ifndef SHARE_P9_H
#define SHARE_P9_H

#include "base/util.h"

enum { P9_MSIZE_MAX = 512 * 1024 + 24, P9_MSIZE_MIN = 4096, P9_HEADER = 7, P9_FIDS_MAX = 65536 };

/* Messages between the virtual device and the server (session.c); a guest's own
 * types are below. */
enum { P9_TSAVE = 250, P9_TRESTORE = 252, P9_TVERSION = 100, P9_RLERROR = 7 };

struct p9_server;

/* The descriptors are borrowed. */
struct p9_server *p9_server_new(int root_fd, int proc_fd, bool readonly);
void p9_server_free(struct p9_server *s);
/* One message (len bytes, at least a header) in, its reply of at most
 * P9_MSIZE_MAX bytes out; the reply's length. */
size_t p9_serve(struct p9_server *s, const uint8_t *msg, size_t len, uint8_t *reply);

/* Serve a stream until its end: for the helper's main. */
void p9_serve_stream(struct p9_server *s, int fd);

#endif
