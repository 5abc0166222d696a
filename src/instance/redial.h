/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's half of NBD disks that lose their server: the jailed machine asks on a
 * line, and gets a new connection (disk/nbd.h: struct nbd_answer).  Each attempt is
 * a child of its own, as names are looked up and servers waited for.
 */
#ifndef INSTANCE_REDIAL_H
#define INSTANCE_REDIAL_H

#include "base/loop.h"

struct redial { const char *uri; int line; struct loop_fd *watch; };

/* Serve the line on this loop, until the machine is gone. */
void redial_start(struct redial *r, struct loop *l, const char *uri, int line);

#endif
