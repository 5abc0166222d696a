/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for libslirp's sockets and a few descriptors of one's own, by poll(2). */
#ifndef NET_SLIRP_POLL_H
#define NET_SLIRP_POLL_H

#include <poll.h>
#include <slirp/libslirp.h>

enum { SLIRP_MAX_POLL = 4096 };
struct slirp_poll { struct pollfd fd[SLIRP_MAX_POLL]; unsigned n; };

/* The first `own` entries of fd[] are the caller's; revents are set on return.
 * Waits at most `most_ms` (-1: as long as slirp likes). */
int slirp_poll_wait(struct slirp_poll *p, Slirp *slirp, unsigned own, int most_ms);
/* What any user of libslirp needs besides send_packet. */
void slirp_poll_callbacks(SlirpCb *cb);

#endif
