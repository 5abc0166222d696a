/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guard, rules and services as hooks of the switch: see policy.h. */
#include "net/switch/conntrack.h"
#include "net/switch/policy.h"
#include "net/switch/snoop.h"

enum { BINDING_SECONDS = 300, ND_FIRST = 133, ND_LAST = 137, DHCP = 67, DHCP6 = 547, DNS = 53 };

/* Without these nothing else works, and they lead nowhere but to the switch or
 * the neighbour. */
static bool always_allowed(const struct policy *p, const struct frame *f)
{
	if (!f->is_ip)
		return true;
	if (f->proto == IP_ICMP6 && f->has_l4 && f->sport >> 8 >= ND_FIRST && f->sport >> 8 <= ND_LAST)
		return true;
	bool udp = f->proto == IP_UDP && f->has_l4;
	bool own = p->services.on && addr_is_v4(&f->dst) && addr_to_v4(&f->dst) == p->services.ip;
	return udp && (f->dport == DHCP || f->dport == DHCP6 || (own && f->dport == DNS));
}

static enum sw_drop judge(struct policy *p, bool in, struct sw_port *from, struct sw_port *to, struct frame *f, bool dry)
{
	uint32_t now = (uint32_t)(p->sw->now_ns / 1000000000);
	if (!p->acl)
		return SW_PASS;
	frame_parse_ip(f);
	if (always_allowed(p, f) || conntrack_known(p->connections, f, now, dry))
		return SW_PASS;
	int rule = acl_judge(p->acl, in, from, to, f);
	if (rule >= 0 && !dry)
		p->acl->rule[rule].hits++;
	if (rule >= 0 && !p->acl->rule[rule].allow)
		return SW_DROP_rule;
	if (in && !dry)
		conntrack_add(p->connections, f, now);
	return SW_PASS;
}

static enum sw_drop check_in(struct sw *s, struct sw_port *from, struct frame *f, bool dry)
{
	enum sw_drop why = guard_check(s->opaque, from, f, dry);
	return why ? why : judge(s->opaque, false, from, NULL, f, dry);
}

static enum sw_drop check_out(struct sw *s, struct sw_port *from, struct sw_port *to, struct frame *f, bool dry)
{
	struct policy *p = s->opaque;
	/* what the switch itself says is no rule's business */
	return from && p->acl ? judge(p, true, from, to, f, dry) : SW_PASS;
}

static bool local(struct sw *s, struct sw_port *from, struct frame *f)
{
	struct policy *p = s->opaque;
	if (frame_group(f))
		snoop_seen(p->snoop, from, f);
	return services_take(p, from, f);
}

static const uint64_t *listeners(struct sw *s, const struct frame *f)
{
	return snoop_listeners(((struct policy *)s->opaque)->snoop, f);
}

struct policy *policy_new(struct sw *s, uint64_t secret)
{
	struct policy *p = xnew(struct policy);
	p->sw = s;
	fdb_init(&p->owners, secret);
	s->opaque = p;
	s->hooks.in = check_in;
	s->hooks.out = check_out;
	s->hooks.local = local;
	s->hooks.listeners = listeners;
	p->snoop = snoop_new(s);
	return p;
}

static void seen(struct sw *s, struct sw_port *port, bool out, const struct frame *f, enum sw_drop why)
{
	struct policy *p = s->opaque;
	for (unsigned i = 0; i < CAPTURES; i++)
		if (p->captures[i].used)
			capture_frame(&p->captures[i], port, out, f, why);
}

bool policy_capture(struct policy *p, const struct ring_fds *fds, const char *port, bool drops, unsigned *slot, struct error *err)
{
	p->captures = p->captures ? p->captures : xcalloc(CAPTURES, sizeof(*p->captures));
	for (*slot = 0; *slot < CAPTURES && p->captures[*slot].used; (*slot)++)
		;
	if (*slot == CAPTURES)
		return error_set(err, 0, "%d captures run on this network already", CAPTURES);
	if (!capture_open(&p->captures[*slot], fds, port, drops, err))
		return false;
	p->sw->hooks.seen = seen;
	return true;
}

void policy_capture_end(struct policy *p, unsigned slot)
{
	if (!p->captures || slot >= CAPTURES || !p->captures[slot].used)
		return;
	capture_close(&p->captures[slot]);
	for (unsigned i = 0; i < CAPTURES; i++)
		if (p->captures[i].used)
			return;
	p->sw->hooks.seen = NULL;      /* it costs nothing again */
}

void policy_set_rules(struct policy *p, struct acl *a)
{
	free(p->acl);
	p->acl = a;
	if (a && !p->connections) {
		p->connections = xnew(struct conntrack);
		conntrack_init(p->connections, p->owners.secret);
	} else if (!a) {
		free(p->connections);
		p->connections = NULL;
	}
}

void policy_free(struct policy *p)
{
	policy_set_rules(p, NULL);
	for (unsigned i = 0; i < CAPTURES; i++)
		policy_capture_end(p, i);
	free(p->captures);
	snoop_free(p->snoop);
	free(p);
}

static void unbound(void *opaque, uint16_t port)
{
	((struct policy *)opaque)->bindings[port]--;
}

void policy_port_gone(struct policy *p, struct sw_port *port)
{
	fdb_expire(&p->owners, 0, port->index, unbound, p);
	snoop_port_gone(p->snoop, port);
}

void policy_tick(struct policy *p)
{
	uint32_t now = (uint32_t)(p->sw->now_ns / 1000000000);
	if (now > BINDING_SECONDS)
		fdb_expire(&p->owners, now - BINDING_SECONDS, FDB_NONE, unbound, p);
	if (p->connections)
		conntrack_expire(p->connections, now);
	const struct services *v = &p->services;
	snoop_tick(p->snoop, &(struct snoop_querier){ v->mac, v->on ? v->ip : 0, v->on && v->on6 });
}
