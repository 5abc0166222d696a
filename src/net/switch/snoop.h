/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IGMP and MLD snooping (RFC 4541): which ports want a group's frames.  A group that
 * nobody has joined is flooded, as is all of link scope; ports that lead elsewhere, or
 * on which a multicast router is heard, get everything; so does a new port until it
 * has had time to say what it wants.  Groups are pruned only in VLANs with a querier:
 * where the switch has an address, it is one itself (RFC 3376, RFC 3810).
 */
#ifndef NET_SWITCH_SNOOP_H
#define NET_SWITCH_SNOOP_H

#include "net/switch/switch.h"

enum { SNOOP_GROUPS = 1024, SNOOP_PER_PORT = 64, SNOOP_GROUP_SECONDS = 260, SNOOP_ROUTER_SECONDS = 255,
       SNOOP_QUERY_SECONDS = 60, SNOOP_NEW_SECONDS = 10 };

/* The switch's own addresses for queries; 0 or unspecified: it does not ask. */
struct snoop_querier { const uint8_t *mac; uint32_t ip; bool on6; };

struct snoop;
struct snoop *snoop_new(struct sw *sw);
void snoop_free(struct snoop *s);
/* A frame to a group, before it is forwarded. */
void snoop_seen(struct snoop *s, struct sw_port *from, struct frame *f);
/* Ports that are to get it; NULL: all. Valid until the next call. */
const uint64_t *snoop_listeners(struct snoop *s, const struct frame *f);
/* Once a second: what is over is forgotten, queries are sent. */
void snoop_tick(struct snoop *s, const struct snoop_querier *q);
void snoop_port_gone(struct snoop *s, const struct sw_port *p);

#endif
