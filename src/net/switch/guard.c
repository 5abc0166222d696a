/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guard of a member's port: its own MAC, its own addresses, in Ethernet, ARP,
 * IP and neighbour discovery; and no posing as a router or DHCP server.  An IPv6
 * address is its first user's for as long as it is used (RFC 6620), since
 * members make up their own.
 */
#include "net/switch/policy.h"

enum { ARP_LEN = 28, PORT_DHCP_SERVER = 67, PORT_DHCP_CLIENT = 68, PORT_DHCP6_SERVER = 547,
       ND_ADVERT = 134, ND_NEIGHBOUR = 136, ND_REDIRECT = 137, BINDING_SECONDS = 300 };

static uint32_t seconds(const struct policy *p)
{
	return (uint32_t)(p->sw->now_ns / 1000000000);
}

static bool arp_honest(const struct sw_port *from, const struct frame *f)
{
	const uint8_t *a = f->head + FRAME_MIN;
	if (f->head_len < FRAME_MIN + ARP_LEN || memcmp(a, "\0\1\x08\0\6\4", 6))
		return false;
	uint32_t sender = be32_get(a + 14);
	return !memcmp(a + 8, from->c.mac, 6) && (!from->c.has_ip || !sender || sender == from->c.ip);
}

static bool v4_honest(const struct sw_port *from, const struct frame *f)
{
	uint32_t src = addr_to_v4(&f->src);
	bool udp = f->proto == IP_UDP && f->has_l4;
	if (udp && f->sport == PORT_DHCP_SERVER)
		return false;
	if (!src)
		return udp && f->sport == PORT_DHCP_CLIENT;
	return !from->c.has_ip || src == from->c.ip;
}

/* ---- IPv6 ---- */

static uint64_t address_key(const struct policy *p, const struct addr *a)
{
	uint64_t hi, lo;
	memcpy(&hi, a->b, 8);
	memcpy(&lo, a->b + 8, 8);
	hi = (hi ^ p->owners.secret) * 0x9e3779b97f4a7c15ull;
	return (hi ^ hi >> 31) + (lo ^ p->owners.secret << 17) * 0xbf58476d1ce4e5b9ull;
}

static bool owns(struct policy *p, struct sw_port *from, const struct addr *a, bool dry)
{
	uint64_t key = address_key(p, a);
	struct fdb_entry *e = fdb_find(&p->owners, key);
	if (e && e->port != from->index && seconds(p) - e->seen < BINDING_SECONDS)
		return false;
	if (dry)
		return true;
	if (!e) {
		if (p->bindings[from->index] >= GUARD_PER_PORT || !(e = fdb_add(&p->owners, key)))
			return false;
		p->bindings[from->index]++;
	} else if (e->port != from->index) {
		p->bindings[e->port]--;
		p->bindings[from->index]++;
	}
	e->port = from->index;
	e->seen = seconds(p);
	return true;
}

static bool in_prefix(const struct policy *p, const struct addr *a)
{
	bool link_local = a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
	return link_local || !p->services.on6 || !memcmp(a->b, p->services.prefix6, 8);
}

static bool v6_honest(struct policy *p, struct sw_port *from, const struct frame *f, bool dry)
{
	static const struct addr unspecified = { { 0 } };
	if (f->proto == IP_UDP && f->has_l4 && f->sport == PORT_DHCP6_SERVER)
		return false;
	if (f->proto == IP_ICMP6 && f->has_l4) {
		uint8_t type = (uint8_t)(f->sport >> 8);
		if (type == ND_ADVERT || type == ND_REDIRECT)
			return false;
		if (type == ND_NEIGHBOUR) {
			struct addr target;
			if (f->head_len < f->l4 + 24u)
				return false;
			memcpy(target.b, f->head + f->l4 + 8, 16);
			if (!in_prefix(p, &target) || !owns(p, from, &target, dry))
				return false;
		}
	}
	if (!memcmp(&f->src, &unspecified, sizeof(unspecified)))
		return f->proto == IP_ICMP6;
	return in_prefix(p, &f->src) && owns(p, from, &f->src, dry);
}

enum sw_drop guard_check(struct policy *p, struct sw_port *from, struct frame *f, bool dry)
{
	if (!from->c.guard)
		return SW_PASS;
	bool fine = !memcmp(frame_src(f), from->c.mac, 6);
	switch (fine ? frame_type(f) : 0) {
	case ETH_ARP:
		fine = arp_honest(from, f);
		break;
	case ETH_IPV4:
		frame_parse_ip(f);
		fine = f->is_ip && v4_honest(from, f);
		break;
	case ETH_IPV6:
		frame_parse_ip(f);
		fine = f->is_ip && v6_honest(p, from, f, dry);
		break;
	}
	return fine ? SW_PASS : SW_DROP_spoofed;
}
