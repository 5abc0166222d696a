/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user network: libslirp in a jailed helper process of its own (started by
 * the keeper), speaking frames over a SOCK_SEQPACKET descriptor (net/port.h).
 * The guest gets 10.0.2.15 by DHCP; the host is 10.0.2.2, its loopback
 * included; 10.0.2.3 answers DNS as the host's resolver does.
 */
#ifndef NET_USER_H
#define NET_USER_H
#include "base/error.h"
#include "jail/jail.h"

struct publish { bool udp; char host_addr[64]; unsigned host_port, guest_port; };
/* "[ADDR:]HOSTPORT:GUESTPORT[/udp]"; without an address, 127.0.0.1. */
bool publish_parse(const char *text, struct publish *p, struct error *err);

struct net_user_options {
	int frame_fd;             /* one message a frame, virtio_net_hdr first */
	int ready_fd;             /* told 'R' when ready, or a sentence; closed */
	const struct publish *publish;
	unsigned npublish;
	struct jail jail;         /* entered after the ports are bound */
};
/* Until the peer closes; the exit status. */
int net_user_main(struct net_user_options *o);
#endif
