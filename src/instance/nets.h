/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an instance's keeper does for network interfaces while the machine runs: it
 * holds the lease of each port, joins again when a network's keeper has died (the
 * rings stay, so the guest's link flaps and nothing else), and dials vhost-user
 * back ends for the jailed process that speaks to them (net/vhost.h).
 */
#ifndef INSTANCE_NETS_H
#define INSTANCE_NETS_H

#include "base/loop.h"
#include "instance/definition.h"
#include "instance/open.h"
#include "network/client.h"

struct net_tie {
	struct network_join join;
	const char *socket;            /* of a vhost-user back end; NULL: a network */
	struct ring_fds ring;          /* the machine's, too */
	struct network_joined joined;  /* what the network said */
	int line;                      /* the lease, or the vhost-user helper's channel; -1: lost */
	bool ended;                    /* on purpose: do not join again */
	struct loop_fd *watch;
	struct net_ties *all;
};
struct net_ties { struct net_tie tie[CONFIG_MAX_NETS]; unsigned n; struct loop *loop; int timer; };

/* The port of one interface, named for its network in *net->ring. */
bool net_tie_join(struct net_ties *t, struct net_config *net, const struct definition *d, unsigned index,
		  const char *instance, bool publish, struct error *err);
/* Start's second half for vhost-user: the helper behind `channel` gets its rings and
 * a connection. The channel becomes the tie's, even on failure. */
bool net_tie_vhost(struct net_ties *t, struct net_config *net, const char *name, int channel, struct error *err);
void net_ties_watch(struct net_ties *t, struct loop *l);

#endif
