/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way out of a network of kind nat: libslirp in a jailed process of its own,
 * one for all members, on a port of the switch.  It outlives the switch, so
 * connections do.  Requests of the network's keeper (net/message.h):
 *
 *     {"op": "setup", "network": "10.80.3.0", "mask": "255.255.255.0", "gateway": ..,
 *      "dns": .., "prefix6": .., "mtu": N, "host-loopback": B} + the port's descriptors
 *     {"op": "publish", "spec": "[ADDR:]HOST:GUEST[/udp]", "ip": "10.80.3.10"}
 *     {"op": "unpublish", ...}
 */
#ifndef NET_NAT_H
#define NET_NAT_H

#include "jail/jail.h"

struct nat_options {
	int keeper_fd, ready_fd;
	struct jail jail;
};
/* Until the keeper closes; the exit status. */
int nat_main(struct nat_options *o);

#endif
