/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process of a switch: one thread that polls the links and serves its
 * keeper, who alone decides what ports there are.  Requests (net/message.h),
 * each answered by an object, {"error": "..."} if it failed:
 *
 *     {"op": "configure", "network": {...}}      mtu, vlan-aware, poll, ...
 *     {"op": "add", "id": N, "type": "ring|tap|packet|vxlan", "port": {...}} + descriptors
 *     {"op": "change", "id": N, "port": {...}}
 *     {"op": "remove", "id": N}
 *     {"op": "stats", "from": N}                 a page of counters
 *     {"op": "capture", "port": NAME, "drops": B} + descriptors, {"op": "capture-end", "capture": N}
 *     {"op": "trace", "from": NAME, "to": NAME|ADDRESS, "proto": .., "port": N}
 */
#ifndef NET_SWITCH_SERVE_H
#define NET_SWITCH_SERVE_H

#include "jail/jail.h"

struct switch_options {
	int keeper_fd;            /* SOCK_SEQPACKET */
	int ready_fd;             /* told 'R' when ready, or a sentence; closed */
	struct jail jail;
};
/* Until the keeper closes; the exit status. */
int switch_main(struct switch_options *o);

#endif
