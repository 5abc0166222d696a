/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch's own station on a network, address .2: it answers ARP and
 * neighbour solicitations for itself, pings, DHCP, router solicitations and
 * DNS.  What it does not know of DNS goes on to the NAT, which has the same
 * address there and asks the host's resolver.
 */
#include <strings.h>

#include "net/switch/dhcp.h"
#include "net/switch/dns.h"
#include "net/switch/policy.h"

enum { ARP_LEN = 28, DHCP_SERVER = 67, DHCP_CLIENT = 68, DHCP6_CLIENT = 546, DHCP6_SERVER = 547, DNS_PORT = 53,
       UDP_HLEN = 8, IP_HLEN = 20, IP6_HLEN = 40, ND_SOLICIT_ROUTER = 133, ND_SOLICIT = 135, ND_NEIGHBOUR = 136,
       PING = 8, PING6 = 128, ANSWER_MAX = 2048 };

struct answer { uint8_t b[ANSWER_MAX]; size_t len; };

/* ---- out ---- */

static void send_answer(struct policy *p, struct sw_port *to, struct answer *a)
{
	static const uint8_t vnet[NET_HDR] = { 0 };
	struct frame f;
	memset(a->b + a->len, 0, a->len < 60 ? 60 - a->len : 0);
	if (!frame_begin(&f, vnet, a->b, MAX(a->len, (size_t)60)))
		return;
	f.vid = VLAN_DEFAULT;
	sw_output(to, &f);
}

static void ethernet(const struct policy *p, struct answer *a, const uint8_t dst[6], uint16_t type)
{
	memcpy(a->b, dst, 6);
	memcpy(a->b + 6, p->services.mac, 6);
	be16_put(a->b + 12, type);
}

/* A UDP payload of n bytes is at its place already. */
static void finish_udp4(const struct policy *p, struct answer *a, uint32_t dst, uint16_t sport, uint16_t dport, size_t n)
{
	uint8_t *ip = a->b + FRAME_MIN, *udp = ip + IP_HLEN;
	struct addr from = addr_v4(p->services.ip), to = addr_v4(dst);
	memset(ip, 0, IP_HLEN + UDP_HLEN);
	ip[0] = 0x45;
	be16_put(ip + 2, (uint16_t)(IP_HLEN + UDP_HLEN + n));
	ip[8] = 64;
	ip[9] = IP_UDP;
	be32_put(ip + 12, p->services.ip);
	be32_put(ip + 16, dst);
	be16_put(ip + 10, inet_sum(ip, IP_HLEN, 0));
	be16_put(udp, sport);
	be16_put(udp + 2, dport);
	be16_put(udp + 4, (uint16_t)(UDP_HLEN + n));
	be16_put(udp + 6, inet_sum(udp, UDP_HLEN + n, inet_pseudo(&from, &to, IP_UDP, UDP_HLEN + n)));
	a->len = FRAME_MIN + IP_HLEN + UDP_HLEN + n;
}

static void finish_v6(struct answer *a, const struct addr *src, const struct addr *dst, uint8_t proto, unsigned hops, size_t n)
{
	uint8_t *ip = a->b + FRAME_MIN, *l4 = ip + IP6_HLEN;
	memset(ip, 0, 8);
	ip[0] = 0x60;
	be16_put(ip + 4, (uint16_t)n);
	ip[6] = proto;
	ip[7] = (uint8_t)hops;
	memcpy(ip + 8, src->b, 16);
	memcpy(ip + 24, dst->b, 16);
	size_t at = proto == IP_UDP ? 6 : 2;
	be16_put(l4 + at, 0);
	be16_put(l4 + at, inet_sum(l4, n, inet_pseudo(src, dst, proto, n)));
	a->len = FRAME_MIN + IP6_HLEN + n;
}

static void finish_udp6(const struct policy *p, struct answer *a, const struct addr *src, const struct addr *dst,
			uint16_t sport, uint16_t dport, size_t n)
{
	uint8_t *udp = a->b + FRAME_MIN + IP6_HLEN;
	be16_put(udp, sport);
	be16_put(udp + 2, dport);
	be16_put(udp + 4, (uint16_t)(UDP_HLEN + n));
	finish_v6(a, src, dst, IP_UDP, 64, UDP_HLEN + n);
}

/* fe80:: and the MAC's identifier (RFC 4291 appendix A). */
static struct addr link_local(const uint8_t mac[6])
{
	struct addr a = { { 0xfe, 0x80, [11] = 0xff, [12] = 0xfe } };
	memcpy(a.b + 8, mac, 3);
	memcpy(a.b + 13, mac + 3, 3);
	a.b[8] ^= 2;
	return a;
}

/* ---- names ---- */

/* "web" is the port "web"; a second interface is "web.1". */
struct sw_port *services_find(struct policy *p, const char *name)
{
	for (unsigned i = 0; i < p->sw->nports; i++) {
		struct sw_port *q = p->sw->ports[i];
		if (q && !q->c.uplink && !strcasecmp(q->c.name, name))
			return q;
	}
	return NULL;
}

static bool find_host(void *opaque, const char *name, struct dns_host *h)
{
	struct policy *p = opaque;
	struct sw_port *q = services_find(p, name);
	*h = (struct dns_host){ 0 };
	if (q)
		*h = (struct dns_host){ q->c.has_ip, q->c.has_ip6, q->c.ip, q->c.ip6 };
	else if (p->services.gateway && (!strcasecmp(name, "gateway") || !strcasecmp(name, "host")))
		*h = (struct dns_host){ .has_ip = true, .ip = p->services.gateway };
	return h->has_ip || h->has_ip6;
}

static const char *reverse_host(void *opaque, const struct addr *a)
{
	struct policy *p = opaque;
	for (unsigned i = 0; i < p->sw->nports; i++) {
		struct sw_port *q = p->sw->ports[i];
		struct addr v4 = q ? addr_v4(q->c.ip) : *a;
		if (q && ((q->c.has_ip && !memcmp(&v4, a, sizeof(v4))) || (q->c.has_ip6 && !memcmp(&q->c.ip6, a, sizeof(*a)))))
			return q->c.name;
	}
	return NULL;
}

static struct dhcp_lease lease_of(const struct policy *p, const struct sw_port *port)
{
	const struct services *s = &p->services;
	struct dhcp_lease l = { .ip = port->c.ip, .mask = s->mask, .server = s->ip, .gateway = s->nat ? s->gateway : 0,
				.has_ip6 = port->c.has_ip6, .ip6 = port->c.ip6, .server6 = s->ip6, .mtu = p->sw->mtu,
				.name = port->c.name, .domain = s->domain, .boot = s->boot };
	memcpy(l.mac, port->c.mac, 6);
	memcpy(l.server_mac, s->mac, 6);
	return l;
}

/* ---- in: each is true if it took the frame ---- */

static bool take_arp(struct policy *p, struct sw_port *from, const struct frame *f)
{
	const uint8_t *q = f->head + FRAME_MIN;
	struct answer a;
	if (f->head_len < FRAME_MIN + ARP_LEN || be16_get(q + 6) != 1 || be32_get(q + 24) != p->services.ip)
		return false;
	ethernet(p, &a, q + 8, ETH_ARP);
	uint8_t *r = a.b + FRAME_MIN;
	memcpy(r, "\0\1\x08\0\6\4\0\2", 8);
	memcpy(r + 8, p->services.mac, 6);
	be32_put(r + 14, p->services.ip);
	memcpy(r + 18, q + 8, 10);
	a.len = FRAME_MIN + ARP_LEN;
	send_answer(p, from, &a);
	return true;
}

/* A UDP payload that lies in the copied head, or in `whole`, copied here. */
static const uint8_t *udp_payload(const struct frame *f, uint8_t whole[ANSWER_MAX], size_t *n)
{
	size_t all = frame_len(f), at = f->l4 + (size_t)UDP_HLEN;
	if (all > ANSWER_MAX || at > all)
		return NULL;
	memcpy(whole, f->head, f->head_len);
	memcpy(whole + f->head_len, f->rest, f->rest_len);
	size_t claimed = be16_get(whole + f->l4 + 4);
	if (claimed < UDP_HLEN || claimed - UDP_HLEN > all - at)
		return NULL;
	*n = claimed - UDP_HLEN;
	return whole + at;
}

static bool take_dhcp(struct policy *p, struct sw_port *from, const struct frame *f)
{
	uint8_t whole[ANSWER_MAX];
	struct answer a;
	size_t n;
	bool broadcast;
	const uint8_t *q = from->c.has_ip ? udp_payload(f, whole, &n) : NULL;
	struct dhcp_lease l = lease_of(p, from);
	if (!q || !(n = dhcp_answer(&l, q, n, a.b + FRAME_MIN + IP_HLEN + UDP_HLEN, &broadcast)))
		return true;      /* nobody else's business either */
	ethernet(p, &a, broadcast ? (const uint8_t *)"\xff\xff\xff\xff\xff\xff" : from->c.mac, ETH_IPV4);
	finish_udp4(p, &a, broadcast ? 0xffffffff : from->c.ip, DHCP_SERVER, DHCP_CLIENT, n);
	send_answer(p, from, &a);
	return true;
}

static enum dns_verdict ask(struct policy *p, const struct frame *f, uint8_t *out, size_t *len)
{
	uint8_t whole[ANSWER_MAX];
	size_t n;
	struct dns_zone z = { p->services.domain, p->services.nat, p, find_host, reverse_host };
	const uint8_t *q = udp_payload(f, whole, &n);
	return q ? dns_answer(&z, q, n, out, len) : DNS_IGNORE;
}

static bool take_dns4(struct policy *p, struct sw_port *from, const struct frame *f)
{
	struct answer a;
	size_t n;
	enum dns_verdict v = ask(p, f, a.b + FRAME_MIN + IP_HLEN + UDP_HLEN, &n);
	if (v == DNS_ANSWER) {
		ethernet(p, &a, frame_src(f), ETH_IPV4);
		finish_udp4(p, &a, addr_to_v4(&f->src), DNS_PORT, f->sport, n);
		send_answer(p, from, &a);
	}
	return v != DNS_FOREIGN;
}

static void ping(struct policy *p, struct sw_port *from, const struct frame *f)
{
	struct answer a;
	if (frame_len(f) > sizeof(a.b) || f->vnet[VNET_FLAGS] & VNET_NEEDS_CSUM)
		return;
	a.len = frame_len(f);
	frame_write(f, false, a.b);
	ethernet(p, &a, frame_src(f), ETH_IPV4);
	memcpy(a.b + f->ip + 12, f->head + f->ip + 16, 4);
	memcpy(a.b + f->ip + 16, f->head + f->ip + 12, 4);
	a.b[f->l4] = 0;
	uint32_t sum = be16_get(a.b + f->l4 + 2) + 0x0800u;      /* RFC 1624: the type's change */
	be16_put(a.b + f->l4 + 2, (uint16_t)(sum + (sum >> 16)));
	send_answer(p, from, &a);
}

/* To the NAT, by whatever name the member calls its station. */
static bool pass_to_nat(struct policy *p, struct sw_port *from, struct frame *f)
{
	if (!p->services.nat || memcmp(frame_dst(f), p->services.mac, 6))
		return false;
	for (unsigned i = 0; i < p->sw->nports; i++)
		if (p->sw->ports[i] && p->sw->ports[i]->c.uplink && !sw_check_out(from, p->sw->ports[i], f, true))
			sw_output(p->sw->ports[i], f);
	return true;
}

static bool take_v4(struct policy *p, struct sw_port *from, struct frame *f)
{
	frame_parse_ip(f);
	if (f->proto == IP_UDP && f->has_l4 && f->dport == DHCP_SERVER && !from->c.uplink)
		return take_dhcp(p, from, f);
	if (!f->is_ip || addr_to_v4(&f->dst) != p->services.ip)
		return pass_to_nat(p, from, f);
	if (f->proto == IP_UDP && f->has_l4 && f->dport == DNS_PORT && take_dns4(p, from, f))
		return true;
	if (p->services.nat)
		return pass_to_nat(p, from, f);
	if (f->proto == IP_ICMP && f->has_l4 && f->sport >> 8 == PING)
		ping(p, from, f);
	return !memcmp(frame_dst(f), p->services.mac, 6);
}

/* ---- IPv6 ---- */

static void advertise_router(struct policy *p, struct sw_port *from)
{
	static const struct addr all_nodes = { { 0xff, 2, [15] = 1 } };
	struct answer a;
	struct dhcp_lease l = lease_of(p, from);
	/* libslirp's own router is fe80::2 */
	struct addr src = p->services.nat ? (struct addr){ { 0xfe, 0x80, [15] = 2 } } : link_local(p->services.mac);
	size_t n = router_advertisement(&l, p->services.prefix6, a.b + FRAME_MIN + IP6_HLEN);
	ethernet(p, &a, (const uint8_t *)"\x33\x33\0\0\0\1", ETH_IPV6);
	finish_v6(&a, &src, &all_nodes, IP_ICMP6, 255, n);
	send_answer(p, from, &a);
}

static bool take_solicitation(struct policy *p, struct sw_port *from, const struct frame *f)
{
	const uint8_t *q = f->head + f->l4;
	struct answer a;
	uint8_t *r = a.b + FRAME_MIN + IP6_HLEN;
	struct addr self = link_local(p->services.mac), target;
	if (f->head_len < f->l4 + 24u)
		return false;
	memcpy(target.b, q + 8, 16);
	if (memcmp(&target, &p->services.ip6, 16) && memcmp(&target, &self, 16))
		return false;
	memset(r, 0, 32);
	r[0] = ND_NEIGHBOUR;
	r[4] = 0x60;                           /* solicited, override */
	memcpy(r + 8, target.b, 16);
	r[24] = 2;
	r[25] = 1;
	memcpy(r + 26, p->services.mac, 6);
	ethernet(p, &a, frame_src(f), ETH_IPV6);
	finish_v6(&a, &target, &f->src, IP_ICMP6, 255, 32);
	send_answer(p, from, &a);
	return true;
}

static bool take_udp6(struct policy *p, struct sw_port *from, const struct frame *f)
{
	uint8_t whole[ANSWER_MAX];
	struct answer a;
	uint8_t *out = a.b + FRAME_MIN + IP6_HLEN + UDP_HLEN;
	size_t n;
	struct addr self = link_local(p->services.mac);
	ethernet(p, &a, frame_src(f), ETH_IPV6);
	if (f->dport == DHCP6_SERVER) {
		struct dhcp_lease l = lease_of(p, from);
		const uint8_t *q = udp_payload(f, whole, &n);
		if (q && (n = dhcp6_answer(&l, q, n, out))) {
			finish_udp6(p, &a, &self, &f->src, DHCP6_SERVER, DHCP6_CLIENT, n);
			send_answer(p, from, &a);
		}
		return true;
	}
	if (f->dport != DNS_PORT || memcmp(&f->dst, &p->services.ip6, 16))
		return false;
	if (ask(p, f, out, &n) == DNS_ANSWER) {
		finish_udp6(p, &a, &p->services.ip6, &f->src, DNS_PORT, f->sport, n);
		send_answer(p, from, &a);
	}
	return true;
}

static bool take_v6(struct policy *p, struct sw_port *from, struct frame *f)
{
	if (!p->services.on6)
		return false;
	frame_parse_ip(f);
	if (!f->is_ip || !f->has_l4 || from->c.uplink)
		return false;
	uint8_t type = (uint8_t)(f->sport >> 8);
	if (f->proto == IP_ICMP6 && type == ND_SOLICIT_ROUTER) {
		advertise_router(p, from);
		return true;
	}
	if (f->proto == IP_ICMP6 && type == ND_SOLICIT)
		return take_solicitation(p, from, f);
	return f->proto == IP_UDP && take_udp6(p, from, f);
}

bool services_take(struct policy *p, struct sw_port *from, struct frame *f)
{
	if (!p->services.on || f->vid != VLAN_DEFAULT)
		return false;
	/* only what may be for the switch: floods, and its own address */
	if (!frame_group(f) && memcmp(frame_dst(f), p->services.mac, 6))
		return false;
	switch (frame_type(f)) {
	case ETH_ARP: return take_arp(p, from, f);
	case ETH_IPV4: return take_v4(p, from, f);
	case ETH_IPV6: return take_v6(p, from, f);
	default: return false;
	}
}
