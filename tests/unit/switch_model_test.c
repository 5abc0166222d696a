/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules with connection tracking, and multicast snooping, against executable models:
 * random frames through the switch with its policy and through lists and loops that
 * say what the manual says; the same ports must get the same frames.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "net/switch/policy.h"
#include "net/switch/snoop.h"

enum { PORTS = 6, FRAMES = 100000, NET = 0x0a000000, UPLINK = PORTS - 1 };

static unsigned got;
static bool record(struct sw_port *p, const struct frame *f, bool tagged)
{
	got |= 1u << p->index;
	return true;
}
static void no_flush(struct sw_port *p) { }
static const struct sw_link_ops ops = { .put = record, .flush = no_flush };

static uint32_t seed = 7;
static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

static const char *const groups[PORTS] = { "", "web", "web", "db", "", "" };
struct lab { struct sw *sw; struct policy *policy; struct sw_port *port[PORTS]; uint64_t now; };

static void setup(struct lab *l)
{
	l->sw = sw_new(1, 1500);
	l->now = 1000;
	l->sw->now_ns = l->now * 1000000000ull;
	l->policy = policy_new(l->sw, 99);
	for (unsigned i = 0; i < PORTS; i++) {
		struct sw_port_config c = { .vid = 1, .mac = { 2, 0, 0, 0, 0, (uint8_t)i }, .has_ip = i != UPLINK,
					    .ip = NET + 10 + i, .uplink = i == UPLINK, .guard = i == 1 };
		snprintf(c.name, sizeof(c.name), "m%u", i);
		snprintf(c.group, sizeof(c.group), "%s", groups[i]);
		l->port[i] = sw_port_add(l->sw, &c, &ops, NULL);
		sw_bucket_set(&l->port[i]->flood, 0, 0);
	}
}

static void done(struct lab *l)
{
	policy_free(l->policy);
	sw_free(l->sw);
}

static void put(struct lab *l, unsigned from, const uint8_t *b, size_t len)
{
	static const uint8_t vnet[NET_HDR];
	struct frame f;
	got = 0;
	if (frame_begin(&f, vnet, b, len))
		sw_input(l->port[from], &f);
}

static void pass_time(struct lab *l, unsigned seconds)
{
	l->now += seconds;
	l->sw->now_ns = l->now * 1000000000ull;
	sw_tick(l->sw);
	policy_tick(l->policy);
}

/* ---- rules ---- */

struct model_rule {
	bool allow, in;
	unsigned proto, port, last;         /* 0: any */
	int from, to;                       /* -1 any; 0.. a member; 100 "web"; 200 a prefix of .12/31 */
	int on;
};
static const struct { const char *text; struct model_rule rule; } rules[] = {
	{ "deny in tcp to @web port 22-25", { false, true, 6, 22, 25, -1, 100, -1 } },
	{ "allow in tcp from @m0 to @web port 20-40", { true, true, 6, 20, 40, 0, 100, -1 } },
	{ "deny out udp from 10.0.0.12/31 port 53", { false, false, 17, 53, 53, 200, -1, -1 } },
	{ "allow in icmp to @m3", { true, true, 1, 0, 0, -1, 3, -1 } },
	{ "deny in any to @m3", { false, true, 0, 0, 0, -1, 3, -1 } },
	{ "deny out tcp to 10.0.0.12/31 on m4", { false, false, 6, 0, 0, -1, 200, 4 } },
	{ "deny in udp from @web on web", { false, true, 17, 0, 0, 100, -1, 100 } },
};

struct packet { unsigned from, to, proto, sport, dport, flags; };
struct model_conn { struct packet p; uint64_t seen; bool answered, closing; };
static struct model_conn conns[100000];
static unsigned nconns;

static bool is(int who, unsigned port, bool address)
{
	return who < 0 || (who < 100 && (unsigned)who == port) || (who == 100 && (port == 1 || port == 2)) ||
		(address && who == 200 && (port == 2 || port == 3));
}

static bool rule_lets(bool in, const struct packet *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		const struct model_rule *r = &rules[i].rule;
		if (r->in == in && (!r->proto || r->proto == p->proto) && (!r->port || (p->dport >= r->port && p->dport <= r->last)) &&
		    is(r->from, p->from, true) && is(r->to, p->to, true) && is(r->on, in ? p->to : p->from, false))
			return r->allow;
	}
	return true;
}

static struct model_conn *model_find(const struct packet *p)
{
	for (unsigned i = 0; i < nconns; i++) {
		const struct packet *q = &conns[i].p;
		bool same = q->from == p->from && q->to == p->to && q->sport == p->sport && q->dport == p->dport;
		bool back = q->from == p->to && q->to == p->from && q->sport == p->dport && q->dport == p->sport;
		if (q->proto == p->proto && (same || back))
			return &conns[i];
	}
	return NULL;
}

static uint64_t life(const struct model_conn *c)
{
	if (c->p.proto == 6)
		return c->closing ? 20 : c->answered ? 7200 : 60;
	return c->p.proto == 17 ? (c->answered ? 180 : 60) : 30;
}

static bool model_lets(const struct packet *p, uint64_t now)
{
	struct model_conn *c = model_find(p);
	if (c && now - c->seen <= life(c)) {
		c->seen = now;
		c->answered |= c->p.from != p->from;
		c->closing |= p->proto == 6 && p->flags & 5;
		return true;
	}
	if (!rule_lets(false, p) || !rule_lets(true, p))
		return false;
	if (!c)
		c = &conns[nconns++];
	*c = (struct model_conn){ .p = *p, .seen = now };
	return true;
}

static void random_packet(struct packet *p)
{
	static const unsigned ports[] = { 22, 25, 30, 53, 80, 5000 }, protos[] = { 6, 6, 17, 17, 1 }, flags[] = { 2, 16, 16, 16, 17, 4 };
	*p = (struct packet){ .from = rnd(UPLINK), .proto = protos[rnd(ARRAY_SIZE(protos))],
			      .sport = ports[rnd(ARRAY_SIZE(ports))], .dport = ports[rnd(ARRAY_SIZE(ports))],
			      .flags = flags[rnd(ARRAY_SIZE(flags))] };
	p->to = (p->from + 1 + rnd(UPLINK - 1)) % UPLINK;
	if (p->proto == 1)      /* an echo's identifier is both */
		p->sport = p->dport;
}

static void send_packet(struct lab *l, const struct packet *p)
{
	uint8_t b[64] = { 2, 0, 0, 0, 0, (uint8_t)p->to, 2, 0, 0, 0, 0, (uint8_t)p->from, 8, 0, 0x45 };
	be16_put(b + 16, 46);
	b[23] = (uint8_t)p->proto;
	be32_put(b + 26, NET + 10 + p->from);
	be32_put(b + 30, NET + 10 + p->to);
	if (p->proto == 1) {
		b[34] = 8;
		be16_put(b + 38, (uint16_t)p->dport);
	} else {
		be16_put(b + 34, (uint16_t)p->sport);
		be16_put(b + 36, (uint16_t)p->dport);
		b[46] = 0x50;
		b[47] = (uint8_t)p->flags;
	}
	put(l, p->from, b, sizeof(b));
}

/* So that nothing is flooded: stations are known. */
static void learn_all(struct lab *l)
{
	for (unsigned i = 0; i < UPLINK; i++) {
		const uint8_t b[60] = { 2, 0, 0, 0, 0, (uint8_t)((i + 1) % UPLINK), 2, 0, 0, 0, 0, (uint8_t)i, 0x88, 0xb5 };
		put(l, i, b, sizeof(b));
	}
}

static void rules_agree_with_the_model(void **state)
{
	struct lab l;
	unsigned passed = 0;
	struct acl *a = xnew(struct acl);
	setup(&l);
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
		assert_true(acl_parse(rules[i].text, &a->rule[a->n++], NULL));
	policy_set_rules(l.policy, a);
	for (unsigned n = 0; n < FRAMES; n++) {
		struct packet p;
		if (!rnd(20))
			pass_time(&l, rnd(10) ? 1 + rnd(5) : 20 + rnd(200));
		learn_all(&l);
		random_packet(&p);
		bool want = model_lets(&p, l.now);
		send_packet(&l, &p);
		if (got != (want ? 1u << p.to : 0))
			print_error("frame %u: %u to %u, protocol %u, ports %u to %u, flags %u, at %llu\n", n, p.from, p.to, p.proto,
				    p.sport, p.dport, p.flags, (unsigned long long)l.now);
		assert_int_equal(got, want ? 1u << p.to : 0);
		passed += want;
	}
	assert_true(passed > FRAMES / 4 && passed < FRAMES * 9 / 10);
	done(&l);
}

/* ---- groups ---- */

enum { GROUPS = 5 };
static struct { uint64_t until; } joined[2][GROUPS][PORTS];
static uint64_t router_until[PORTS], querier_until[2], querier_since[2];

static size_t ip_frame(uint8_t *b, bool v6, unsigned from, const uint8_t dst[16], unsigned proto, const void *payload, size_t n)
{
	memset(b, 0, 200);
	memcpy(b, v6 ? "\x33\x33" : "\1\0\x5e", v6 ? 2 : 3);
	memcpy(b + (v6 ? 2 : 3), dst + (v6 ? 12 : 1), v6 ? 4 : 3);
	b[3] = v6 ? b[3] : b[3] & 0x7f;
	memcpy(b + 6, (const uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)from }, 6);
	be16_put(b + 12, v6 ? ETH_IPV6 : ETH_IPV4);
	uint8_t *ip = b + 14, *p = ip + (v6 ? 48 : 24);
	if (v6) {
		ip[0] = 0x60;
		be16_put(ip + 4, (uint16_t)(8 + n));
		memcpy(ip + 8, (const uint8_t[16]){ 0xfe, 0x80, [15] = (uint8_t)(from + 1) }, 16);
		memcpy(ip + 24, dst, 16);
		memcpy(ip + 40, (const uint8_t[8]){ (uint8_t)proto, 0, 5, 2 }, 8);
	} else {
		memcpy(ip, (const uint8_t[]){ 0x46, 0, 0, (uint8_t)(24 + n), 0, 0, 0, 0, 1, (uint8_t)proto }, 10);
		be32_put(ip + 12, NET + 10 + from);
		memcpy(ip + 16, dst, 4);
		memcpy(ip + 20, "\x94\4\0\0", 4);
	}
	memcpy(p, payload, n);
	return MAX((size_t)(p + n - b), (size_t)60);
}

/* Group 4 is of link scope: never pruned. */
static void group(bool v6, unsigned g, uint8_t a[16])
{
	memset(a, 0, 16);
	if (v6)
		a[0] = 0xff, a[1] = g == 4 ? 2 : 5, a[14] = 7, a[15] = (uint8_t)g;
	else
		a[0] = g == 4 ? 224 : 239, a[1] = 0, a[2] = g == 4 ? 0 : 7, a[3] = (uint8_t)(g + 9);
}

/* A report of one of the kinds that mean joining or leaving. */
static size_t report(uint8_t *b, bool v6, unsigned from, unsigned g, bool join)
{
	uint8_t a[16], m[80] = { 0 }, all[16] = { 0 };
	size_t n = v6 ? 16 : 4;
	group(v6, g, a);
	if (rnd(2)) {             /* version 1 or 2 of IGMP, 1 of MLD */
		m[0] = v6 ? (join ? 131 : 132) : join ? (rnd(2) ? 0x12 : 0x16) : 0x17;
		memcpy(m + (v6 ? 8 : 4), a, n);
		return ip_frame(b, v6, from, a, v6 ? 58 : 2, m, v6 ? 24 : 8);
	}
	static const uint8_t joins[] = { 2, 4, 1, 3, 5 };
	unsigned kind = rnd(ARRAY_SIZE(joins)), sources = join && kind >= 2;
	m[0] = v6 ? 143 : 0x22;
	m[7] = 2;                 /* a record about link scope first, with a source */
	m[8] = 4;
	m[11] = 1;
	group(v6, 4, m + 12);
	uint8_t *r = m + 8 + 4 + 2 * n;
	r[0] = join ? joins[kind] : 3;
	r[3] = (uint8_t)sources;
	memcpy(r + 4, a, n);
	if (v6)
		memcpy(all, "\xff\2\0\0\0\0\0\0\0\0\0\0\0\0\0\x16", 16);
	else
		memcpy(all, "\xe0\0\0\x16", 4);
	return ip_frame(b, v6, from, all, v6 ? 58 : 2, m, (size_t)(r - m) + 4 + n + sources * n);
}

static unsigned few;      /* data frames that were pruned */

static unsigned routers(const struct lab *l)
{
	unsigned set = 1u << UPLINK;
	for (unsigned i = 0; i < PORTS; i++)
		set |= (router_until[i] >= l->now) << i;
	return set;
}

static void one_group_frame(struct lab *l, bool v6)
{
	uint8_t b[200], a[16], q[28] = { v6 ? 130 : 0x11 };
	unsigned from = rnd(PORTS), g = rnd(GROUPS), all = (1u << PORTS) - 1, want, kind = rnd(10);
	bool prunes = querier_until[v6] >= l->now && querier_since[v6] <= l->now;
	size_t len;
	group(v6, g, a);
	if (kind < 4) {
		bool join = kind < 3;
		len = report(b, v6, from, g, join);
		if (g != 4)
			joined[v6][g][from].until = join ? l->now + SNOOP_GROUP_SECONDS : 0;
		want = prunes ? routers(l) : all;
	} else if (kind == 4 && !rnd(30)) {
		uint8_t nodes[16] = { 0xff, 2, [15] = 1 };
		len = ip_frame(b, v6, from, v6 ? nodes : (const uint8_t *)"\xe0\0\0\1", v6 ? 58 : 2, q, v6 ? 28 : 8);
		want = all;
		if (from != 1) {      /* a guarded one is no router */
			router_until[from] = MAX(router_until[from], l->now + SNOOP_ROUTER_SECONDS);
			querier_since[v6] = querier_until[v6] < l->now ? l->now + 12 : querier_since[v6];
			querier_until[v6] = l->now + SNOOP_ROUTER_SECONDS;
		}
	} else {
		len = ip_frame(b, v6, from, a, 17, "\x13\x88\x13\x88\0\x0c\0\0abcd", 12);
		want = 0;
		for (unsigned i = 0; i < PORTS; i++)
			want |= (joined[v6][g][i].until >= l->now) << i;
		want = prunes && g != 4 && want ? want | routers(l) : all;
	}
	put(l, from, b, len);
	assert_int_equal(got, want & ~(1u << from));
	few += kind >= 5 && want != all;
}

static void groups_agree_with_the_model(void **state)
{
	struct lab l;
	setup(&l);
	for (unsigned i = 0; i < PORTS; i++)
		router_until[i] = i == UPLINK ? 0 : l.now + 1 + SNOOP_NEW_SECONDS;
	pass_time(&l, 1);
	for (unsigned n = 0; n < FRAMES; n++) {
		if (!rnd(30))
			pass_time(&l, rnd(50) ? 1 + rnd(10) : 100 + rnd(400));
		one_group_frame(&l, rnd(2));
	}
	assert_true(few > FRAMES / 20);
	done(&l);
}

/* What a member that joins too much, or groups beyond number, costs. */
static void joins_have_bounds(void **state)
{
	struct lab l;
	uint8_t b[200], a[16] = { 239, 1 }, m[8] = { 0x16 };
	setup(&l);
	pass_time(&l, 20);
	for (unsigned i = 0; i < 100000; i++) {
		be16_put(a + 2, (uint16_t)i);
		a[1] = (uint8_t)(i >> 16);
		memcpy(m + 4, a, 4);
		put(&l, i % UPLINK, b, ip_frame(b, false, i % UPLINK, a, 2, m, sizeof(m)));
	}
	for (unsigned i = 0; i < UPLINK; i++)
		policy_port_gone(l.policy, l.port[i]);
	done(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_agree_with_the_model),
		cmocka_unit_test(groups_agree_with_the_model),
		cmocka_unit_test(joins_have_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
