/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guard, rules and services as hooks of the switch: see policy.h. */
#include "net/switch/policy.h"

enum { BINDING_SECONDS = 300 };

static enum sw_drop check_in(struct sw *s, struct sw_port *from, struct frame *f, bool dry)
{
	return guard_check(s->opaque, from, f, dry);
}

static bool local(struct sw *s, struct sw_port *from, struct frame *f)
{
	return services_take(s->opaque, from, f);
}

struct policy *policy_new(struct sw *s, uint64_t secret)
{
	struct policy *p = xnew(struct policy);
	p->sw = s;
	fdb_init(&p->owners, secret);
	s->opaque = p;
	s->hooks.in = check_in;
	s->hooks.local = local;
	return p;
}

void policy_free(struct policy *p)
{
	free(p);
}

static void unbound(void *opaque, uint16_t port)
{
	((struct policy *)opaque)->bindings[port]--;
}

void policy_port_gone(struct policy *p, struct sw_port *port)
{
	fdb_expire(&p->owners, 0, port->index, unbound, p);
}

void policy_tick(struct policy *p)
{
	uint32_t now = (uint32_t)(p->sw->now_ns / 1000000000);
	if (now > BINDING_SECONDS)
		fdb_expire(&p->owners, now - BINDING_SECONDS, FDB_NONE, unbound, p);
}
