/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's half of a guest's vsock calls: a call to port P of the host becomes a
 * connection to the socket vsock/sock_P in the instance's directory, made here and
 * passed to the jailed machine (the other half, and the line: device/virtio/vsock_dial.c).
 */
#ifndef INSTANCE_DIALER_H
#define INSTANCE_DIALER_H

#include "base/loop.h"
#include "instance/store.h"

struct dialer { const struct instance *instance; int line; struct loop_fd *watch; };

/* Serve the line on this loop, until the machine is gone. */
void dialer_start(struct dialer *d, struct loop *l, const struct instance *i, int line);

#endif
