/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Joining a network: what machines, containers and the command line do.  The
 * connection is the lease: when it closes, the port goes.
 */
#ifndef NETWORK_CLIENT_H
#define NETWORK_CLIENT_H

#include <jansson.h>
#include "net/ring.h"
#include "network/network.h"

struct network_join {
	const char *network, *instance;   /* the instance's name becomes its DNS name */
	unsigned index;                   /* of the interface, from 0 */
	const char *mac, *ip;             /* ip NULL: the network chooses, and keeps to it */
	unsigned vlan;                    /* access VLAN, 0: the default one */
	const char *trunk;                /* "10:20-30" or "all"; NULL: an access port */
	struct network_limits limits;
	const char *const *publish;       /* net/user.h's form; nat only */
	unsigned npublish;
};
struct network_joined {
	int lease;                        /* keep it open */
	struct ring_fds ring;             /* {-1, -1, -1} after network_join_tap */
	char ip[64], ip6[64], gateway[64];
	unsigned mtu, prefix;
};

/* Starts the network's keeper if need be. With ring descriptors in `old` (a
 * keeper has died under us), the port goes on with them. */
bool network_join_ring(const struct network_join *j, const struct ring_fds *old, struct network_joined *out,
		       struct error *err);
/* The switch reads and writes the frames of a TAP descriptor (with
 * virtio_net_hdr of 12 bytes), wherever its interface is. */
bool network_join_tap(const struct network_join *j, int tap, struct network_joined *out, struct error *err);
/* A TAP interface in the network namespace of the caller. */
int network_make_tap(const char *name, bool persist, struct error *err);
/* Headers and offloads as the switch wants them, of a TAP or macvtap descriptor. */
bool network_set_up_tap(int fd, const char *name, struct error *err);

/* One request to a network's keeper: its answer, or NULL. `start`: the keeper; if it
 * does not run, and is not to be started, err->code is ECONNREFUSED. */
json_t *network_call(const struct network *n, bool start, json_t *body, struct error *err);
/* The same with descriptors: the connection (-1: none), with its answer in m. */
struct message;
int network_ask(const struct network *n, bool start, json_t *body, const int *fds, unsigned nfds, struct message *m,
		struct error *err);

/* "10:20-30" as [[10,10],[20,30]]; NULL: it is not that. */
json_t *network_parse_trunk(const char *text, struct error *err);

#endif
