/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules: their text, and which one a frame meets (see acl.h). */
#include "net/switch/acl.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { MAX_TEXT = 512 };

/* ---- text ---- */

static bool parse_prefix(char *word, struct acl_prefix *p)
{
	struct in_addr v4;
	char *slash = strchr(word, '/');
	uint64_t bits;
	if (slash)
		*slash++ = 0;
	if (inet_pton(AF_INET, word, &v4) == 1) {
		p->a = addr_v4(ntohl(v4.s_addr));
		bits = 32;
		if (slash && !parse_u64(slash, 0, 32, &bits))
			return false;
		p->bits = (unsigned)bits + 96;
		return true;
	}
	bits = 128;
	if (inet_pton(AF_INET6, word, p->a.b) != 1 || (slash && !parse_u64(slash, 0, 128, &bits)))
		return false;
	p->bits = (unsigned)bits;
	return true;
}

static bool parse_set(char *word, struct acl_set *s)
{
	char *save = NULL;
	*s = (struct acl_set){ 0 };
	if (!strcmp(word, "any")) {
		s->any = true;
		return true;
	}
	if (word[0] == '@')
		return word[1] && snprintf(s->name, sizeof(s->name), "%s", word + 1) < (int)sizeof(s->name);
	for (char *w = strtok_r(word, ",", &save); w; w = strtok_r(NULL, ",", &save))
		if (s->n == ACL_SET || !parse_prefix(w, &s->prefix[s->n++]))
			return false;
	return s->n;
}

static bool parse_ports(char *word, struct acl_rule *r)
{
	char *dash = strchr(word, '-');
	uint64_t first, last;
	if (dash)
		*dash++ = 0;
	if (!parse_u64(word, 0, 65535, &first) || !parse_u64(dash ? dash : word, first, 65535, &last))
		return false;
	r->has_port = true;
	r->port = (uint16_t)first;
	r->port_last = (uint16_t)last;
	return true;
}

static bool parse_proto(const char *word, struct acl_rule *r)
{
	static const struct { const char *word; uint8_t proto; } protos[] = {
		{ "any", 0 }, { "tcp", IP_TCP }, { "udp", IP_UDP }, { "icmp", IP_ICMP } };
	for (unsigned i = 0; i < ARRAY_SIZE(protos); i++)
		if (!strcmp(word, protos[i].word)) {
			r->proto = protos[i].proto;
			return true;
		}
	return false;
}

static bool parse_clause(const char *word, char *value, struct acl_rule *r)
{
	if (!value)
		return false;
	if (!strcmp(word, "from"))
		return parse_set(value, &r->from);
	if (!strcmp(word, "to"))
		return parse_set(value, &r->to);
	if (!strcmp(word, "port"))
		return parse_ports(value, r);
	return !strcmp(word, "on") && snprintf(r->on, sizeof(r->on), "%s", value) < (int)sizeof(r->on);
}

bool acl_parse(const char *text, struct acl_rule *r, struct error *err)
{
	char buf[MAX_TEXT], *save = NULL;
	*r = (struct acl_rule){ .from.any = true, .to.any = true };
	if (snprintf(buf, sizeof(buf), "%s", text) >= (int)sizeof(buf))
		return error_set(err, 0, "a rule is longer than %d bytes", MAX_TEXT - 1);
	const char *verdict = strtok_r(buf, " \t", &save), *way = strtok_r(NULL, " \t", &save);
	r->allow = verdict && !strcmp(verdict, "allow");
	r->in = way && !strcmp(way, "in");
	if (!verdict || !way || (!r->allow && strcmp(verdict, "deny")) || (!r->in && strcmp(way, "out")))
		return error_set(err, 0, "rule '%s' does not begin with allow|deny in|out", text);
	bool first = true;
	for (char *w = strtok_r(NULL, " \t", &save); w; w = strtok_r(NULL, " \t", &save), first = false) {
		if (first && parse_proto(w, r))
			continue;
		if (!parse_clause(w, strtok_r(NULL, " \t", &save), r))
			return error_set(err, 0, "rule '%s' is wrong from '%s' on: write [tcp|udp|icmp|any] [from SET] "
					 "[to SET] [port N[-M]] [on NAME]", text, w);
	}
	if (r->has_port && r->proto != IP_TCP && r->proto != IP_UDP)
		return error_set(err, 0, "rule '%s' has a port: it needs tcp or udp", text);
	return true;
}

/* ---- judging ---- */

static bool same_bits(const struct addr *a, const struct addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	return !memcmp(a->b, b->b, bytes) && (!rest || !((a->b[bytes] ^ b->b[bytes]) >> (8 - rest)));
}

static bool is_named(const struct sw_port *p, const char *name)
{
	return p && (!strcmp(p->c.name, name) || (p->c.group[0] && !strcmp(p->c.group, name)));
}

static bool owns(const struct sw_port *p, const struct addr *a)
{
	struct addr v4 = addr_v4(p->c.ip);
	return (p->c.has_ip && !memcmp(&v4, a, sizeof(v4))) || (p->c.has_ip6 && !memcmp(&p->c.ip6, a, sizeof(*a)));
}

/* @NAME: the port itself where it is known, else who has the address. */
static bool in_set(const struct acl_set *s, const struct sw_port *port, struct sw *sw, const struct addr *a)
{
	if (s->any)
		return true;
	if (s->name[0] && port && !port->c.uplink)
		return is_named(port, s->name);
	if (s->name[0]) {
		for (unsigned i = 0; i < sw->nports; i++)
			if (is_named(sw->ports[i], s->name) && owns(sw->ports[i], a))
				return true;
		return false;
	}
	for (unsigned i = 0; i < s->n; i++)
		if (same_bits(a, &s->prefix[i].a, s->prefix[i].bits))
			return true;
	return false;
}

static bool proto_fits(const struct acl_rule *r, const struct frame *f)
{
	if (r->proto && f->proto != r->proto && !(r->proto == IP_ICMP && f->proto == IP_ICMP6))
		return false;
	if (!r->has_port)
		return true;
	/* ports out of sight: what may be forbidden is */
	return f->has_l4 ? f->dport >= r->port && f->dport <= r->port_last : !r->allow;
}

int acl_judge(const struct acl *a, bool in, const struct sw_port *from, const struct sw_port *to, const struct frame *f)
{
	const struct sw_port *here = in ? to : from;
	for (unsigned i = 0; i < a->n; i++) {
		const struct acl_rule *r = &a->rule[i];
		if (r->in == in && (!r->on[0] || is_named(here, r->on)) && proto_fits(r, f) &&
		    in_set(&r->from, from, here->sw, &f->src) && in_set(&r->to, to, here->sw, &f->dst))
			return (int)i;
	}
	return -1;
}
