/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What would become of a packet: made up here and walked through the switch's own
 * checks, each step told, nothing changed.
 */
#include "net/switch/control.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "net/message.h"

struct walk { json_t *steps; enum sw_drop why; };

static void step(struct walk *w, const char *what, enum sw_drop why)
{
	json_array_append_new(w->steps, json_pack("{s:s, s:b, s:s}", "step", what, "passes", why == SW_PASS, "why",
						  why ? sw_drop_text[why] : ""));
	w->why = why;
}

static void make_packet(struct frame *f, const struct sw_port *from, const uint8_t dst_mac[6], uint32_t dst, uint8_t proto,
			unsigned port, uint8_t b[64])
{
	static const uint8_t vnet[NET_HDR] = { 0 };
	memset(b, 0, 64);
	memcpy(b, dst_mac, 6);
	memcpy(b + 6, from->c.mac, 6);
	be16_put(b + 12, ETH_IPV4);
	b[14] = 0x45;
	be16_put(b + 16, 46);
	b[22] = 64;
	b[23] = proto;
	be32_put(b + 26, from->c.ip);
	be32_put(b + 30, dst);
	be16_put(b + 34, proto == IP_ICMP ? 0x0800 : 40000);
	be16_put(b + 36, (uint16_t)port);
	b[46] = 0x50;
	b[47] = 2;                             /* SYN */
	frame_begin(f, vnet, b, 60);
}

static struct sw_port *owner_of(struct sw *s, uint32_t ip)
{
	for (unsigned i = 0; i < s->nports; i++)
		if (s->ports[i] && s->ports[i]->c.has_ip && s->ports[i]->c.ip == ip)
			return s->ports[i];
	return NULL;
}

static struct sw_port *uplink_of(struct sw *s)
{
	for (unsigned i = 0; i < s->nports; i++)
		if (s->ports[i] && s->ports[i]->c.uplink)
			return s->ports[i];
	return NULL;
}

static void walk_in(struct policy *p, struct walk *w, struct sw_port *from, struct frame *f)
{
	char text[200];
	enum sw_drop why = sw_check_in(from, f, true);
	snprintf(text, sizeof(text), "port %s, VLAN %u: link, VLAN, size, source address%s", from->c.name, f->vid,
		 p->acl ? ", rules going out" : "");
	step(w, text, why);
}

static void walk_out(struct policy *p, struct walk *w, struct sw_port *from, struct sw_port *to, struct frame *f)
{
	char text[200];
	snprintf(text, sizeof(text), "port %s: VLAN, isolation%s", to->c.name, p->acl ? ", rules coming in" : "");
	step(w, text, sw_check_out(from, to, f, true));
	if (w->why || !to->c.uplink)
		return;
	step(w, p->services.nat ? "NAT: a connection of this host's own, by its routes and firewall" :
	     "the world behind the uplink, by its own rules", SW_PASS);
}

json_t *trace_walk(struct policy *p, const json_t *o, struct error *err)
{
	struct walk w = { .steps = json_array() };
	struct frame f;
	uint8_t b[64];
	struct in_addr a;
	uint8_t proto = !strcmp(message_text(o, "proto", "tcp"), "udp") ? IP_UDP : !message_number(o, "port", 0) ? IP_ICMP : IP_TCP;
	const char *to_text = message_text(o, "to", "");
	struct sw_port *from = services_find(p, message_text(o, "from", "")), *to = services_find(p, to_text);
	if (!from || (!to && inet_pton(AF_INET, to_text, &a) != 1)) {
		json_decref(w.steps);
		return error_null(err, 0, "'%s' is not a member that runs%s", !from ? message_text(o, "from", "") : to_text,
				  !from ? "" : ", nor an IPv4 address");
	}
	uint32_t dst = to ? to->c.ip : ntohl(a.s_addr);
	bool outside = !to && (dst & p->services.mask) != p->services.base;
	to = to ? to : outside ? uplink_of(p->sw) : owner_of(p->sw, dst);
	make_packet(&f, from, to ? to->c.mac : b, dst, proto, (unsigned)message_number(o, "port", 0), b);
	walk_in(p, &w, from, &f);
	if (!w.why && !to)
		step(&w, outside ? "an uplink, as the address is not of this network" : "the member with that address", SW_DROP_nowhere);
	else if (!w.why && to == from)
		step(&w, "another port", SW_DROP_nowhere);
	else if (!w.why)
		walk_out(p, &w, from, to, &f);
	return json_pack("{s:o, s:b}", "steps", w.steps, "arrives", w.why == SW_PASS);
}
