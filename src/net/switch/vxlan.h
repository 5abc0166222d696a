/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VXLAN (RFC 7348): Ethernet in UDP, between switches on several hosts.  Which
 * far end has which station is learned from what arrives; what is not known
 * goes to every peer.
 */
#ifndef NET_SWITCH_VXLAN_H
#define NET_SWITCH_VXLAN_H

#include <netinet/in.h>
#include "net/switch/fdb.h"
#include "net/switch/frame.h"

enum { VXLAN_HEADER = 8, VXLAN_PEERS = 256, VXLAN_AGE_SECONDS = 300 };

struct vxlan {
	uint32_t vni;
	uint16_t port;
	bool open;                           /* a multicast group: peers appear by themselves */
	unsigned nfixed, npeers;             /* the first nfixed are flooded to */
	struct sockaddr_in peer[VXLAN_PEERS];
	struct fdb fdb;                      /* key: (0, MAC); port: the peer */
};

void vxlan_init(struct vxlan *v, uint32_t vni, uint16_t port, uint64_t secret);
bool vxlan_add_peer(struct vxlan *v, const char *address);
/* The header of outgoing packets. */
void vxlan_header(const struct vxlan *v, uint8_t out[VXLAN_HEADER]);
/* The frame in a packet that came from `from`, or NULL; learns. */
const uint8_t *vxlan_open(struct vxlan *v, const struct sockaddr_in *from, const uint8_t *packet, size_t len,
			  uint32_t now, size_t *frame_len);
/* The peer that has the station, or -1: all fixed ones. */
int vxlan_find(struct vxlan *v, const uint8_t mac[6], uint32_t now);

#endif
