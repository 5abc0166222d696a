/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VXLAN: see vxlan.h. */
#include "net/switch/vxlan.h"

#include <arpa/inet.h>

enum { FLAG_VNI = 0x08 };

void vxlan_init(struct vxlan *v, uint32_t vni, uint16_t port, uint64_t secret)
{
	memset(v, 0, sizeof(*v));
	v->vni = vni;
	v->port = port;
	fdb_init(&v->fdb, secret);
}

bool vxlan_add_peer(struct vxlan *v, const char *address)
{
	struct sockaddr_in *a = &v->peer[v->npeers];
	if (v->npeers == VXLAN_PEERS || inet_pton(AF_INET, address, &a->sin_addr) != 1)
		return false;
	a->sin_family = AF_INET;
	a->sin_port = htons(v->port);
	v->open |= IN_MULTICAST(ntohl(a->sin_addr.s_addr));
	v->nfixed = ++v->npeers;
	return true;
}

void vxlan_header(const struct vxlan *v, uint8_t out[VXLAN_HEADER])
{
	memset(out, 0, VXLAN_HEADER);
	out[0] = FLAG_VNI;
	be32_put(out + 4, v->vni << 8);
}

/* Only from peers; with a multicast group, from whoever is first. */
static int peer_of(struct vxlan *v, const struct sockaddr_in *from)
{
	for (unsigned i = 0; i < v->npeers; i++)
		if (v->peer[i].sin_addr.s_addr == from->sin_addr.s_addr)
			return (int)i;
	if (!v->open || v->npeers == VXLAN_PEERS)
		return -1;
	v->peer[v->npeers] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(v->port),
						   .sin_addr = from->sin_addr };
	return (int)v->npeers++;
}

static void nobody(void *opaque, uint16_t port) { }

static void learn(struct vxlan *v, const uint8_t *mac, unsigned peer, uint32_t now)
{
	uint64_t key = fdb_key(0, mac_key(mac));
	struct fdb_entry *e = fdb_find(&v->fdb, key);
	if (!e && !(e = fdb_add(&v->fdb, key))) {
		if (now > VXLAN_AGE_SECONDS)
			fdb_expire(&v->fdb, now - VXLAN_AGE_SECONDS, FDB_NONE, nobody, NULL);
		return;
	}
	e->port = (uint16_t)peer;
	e->seen = now;
}

const uint8_t *vxlan_open(struct vxlan *v, const struct sockaddr_in *from, const uint8_t *packet, size_t len,
			  uint32_t now, size_t *frame_len)
{
	if (len < VXLAN_HEADER + FRAME_MIN || !(packet[0] & FLAG_VNI) || be32_get(packet + 4) >> 8 != v->vni)
		return NULL;
	int peer = peer_of(v, from);
	const uint8_t *frame = packet + VXLAN_HEADER;
	if (peer < 0)
		return NULL;
	if (!(frame[6] & 1))
		learn(v, frame + 6, (unsigned)peer, now);
	*frame_len = len - VXLAN_HEADER;
	return frame;
}

int vxlan_find(struct vxlan *v, const uint8_t mac[6], uint32_t now)
{
	struct fdb_entry *e = mac[0] & 1 ? NULL : fdb_find(&v->fdb, fdb_key(0, mac_key(mac)));
	return e && now - e->seen <= VXLAN_AGE_SECONDS ? (int)e->port : -1;
}
