/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks of a container: TAP interfaces in its network namespace.  One on the user
 * network is served by abyme-net-user through a process that passes frames; one on a
 * network of ours is a port of its switch.
 */
#ifndef INSTANCE_CONTAINER_NETWORK_H
#define INSTANCE_CONTAINER_NETWORK_H

#include <sys/types.h>

#include "instance/store.h"

/* Whether it has a network namespace of its own: not with `--network host`. */
bool container_own_network(const struct definition *d);
/* Give the namespace of process `pid` its interfaces, write resolv.conf into the current
 * directory. Called in the shim; what serves the interfaces ends with the caller. */
bool container_network(const struct definition *d, const char *name, pid_t pid, struct error *err);

/* What the user network gives to the one who is on it (net/user.c). */
#define USER_ADDRESS "10.0.2.15"
#define USER_GATEWAY "10.0.2.2"
#define USER_RESOLVER "10.0.2.3"
enum { USER_PREFIX = 24 };

/* Who answers DNS on a network, NULL: the user network; "" if nobody. */
struct network_joined;
void container_resolver(const struct network_joined *j, char out[64]);
/* Into resolv.conf of the working directory. */
bool container_write_resolver(const char *server, struct error *err);

#endif
