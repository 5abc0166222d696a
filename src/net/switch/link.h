/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is plugged into a port of the switch: rings of a machine, a TAP, a packet
 * socket, a VXLAN tunnel.  A link takes frames from its other side in turns of
 * a budget, and is watched by one descriptor when it has nothing.
 */
#ifndef NET_SWITCH_LINK_H
#define NET_SWITCH_LINK_H

#include "net/switch/switch.h"

struct link;
struct link_ops {
	/* Hand at most `budget` frames to sw_input; how many. */
	unsigned (*poll)(struct link *l, unsigned budget);
	/* Nothing was there: from now on the descriptor tells. False: there is
	 * something again. NULL: it always tells. */
	bool (*arm)(struct link *l);
	bool (*broken)(const struct link *l);      /* NULL: as link->gone says */
	/* Its other side may wait for frames awake, so many microseconds; may be NULL. */
	void (*poll_time)(struct link *l, unsigned us);
	void (*free)(struct link *l);
};
struct link {
	const struct link_ops *ops;
	struct sw_port *port;
	int fd;
	bool edge;                      /* watch it edge-triggered */
	bool active;                    /* in the loop's list of those with work */
	bool gone;                      /* its other side has ended */
	uint32_t id;                    /* the keeper's number of the port */
	uint64_t seen_frames;           /* for the loop: has it been busy? */
	struct link *next_active, *next;
};

/* Each makes the port, too. On success the descriptors are the link's. */
struct link_request { const struct sw_port_config *config; const int *fds; unsigned nfds; const struct json_t *more; };
/* Give the link its operations and a port. False: it has none. */
bool link_plug(struct link *l, struct sw *s, const struct link_request *r, const struct link_ops *ops,
	       const struct sw_link_ops *port_ops, struct error *err);
/* The same, and its only descriptor. */
bool link_begin(struct link *l, struct sw *s, const struct link_request *r, const struct link_ops *ops,
		const struct sw_link_ops *port_ops, struct error *err);
struct link *link_ring(struct sw *s, const struct link_request *r, struct error *err);
struct link *link_tap(struct sw *s, const struct link_request *r, struct error *err);
/* A packet socket on an interface of the host (PACKET_VNET_HDR, PACKET_AUXDATA). */
struct link *link_packet(struct sw *s, const struct link_request *r, struct error *err);
/* A UDP socket; more: {"vni": N, "port": N, "peers": ["ADDRESS", ...]}. */
struct link *link_vxlan(struct sw *s, const struct link_request *r, struct error *err);

#endif
