/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multicast snooping: see snoop.h. */
#include "net/switch/snoop.h"

enum { V4, V6, FAMILIES, BUCKETS = 256, REPORT_MAX = 1600, SETTLE_SECONDS = 12 };
enum { IGMP_QUERY = 0x11, IGMP_V1_REPORT = 0x12, IGMP_V2_REPORT = 0x16, IGMP_LEAVE = 0x17, IGMP_V3_REPORT = 0x22 };
enum { MLD_QUERY = 130, MLD_REPORT = 131, MLD_DONE = 132, MLD_V2_REPORT = 143 };
/* RFC 3376 4.2.12; the same numbers in RFC 3810 5.2.12 */
enum { IS_INCLUDE = 1, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW_NEW, BLOCK_OLD };

struct member { uint16_t port; uint32_t until; };
struct group {
	struct group *next;
	struct addr a;
	uint16_t vid;
	unsigned n, room;
	struct member *member;
};
struct snoop {
	struct sw *sw;
	struct group *bucket[BUCKETS];
	unsigned groups;
	bool known[SW_MAX_PORTS];                  /* has been asked */
	uint16_t joined[SW_MAX_PORTS];             /* groups of a port */
	uint32_t all_until[SW_MAX_PORTS];          /* it gets everything */
	uint32_t querier_since[FAMILIES][VLANS], querier_until[FAMILIES][VLANS];
	uint32_t next_query;
	uint64_t set[SW_MAX_PORTS / 64];
};

static uint32_t now(const struct snoop *s) { return (uint32_t)(s->sw->now_ns / 1000000000); }

struct snoop *snoop_new(struct sw *sw)
{
	struct snoop *s = xnew(struct snoop);
	s->sw = sw;
	return s;
}

/* ---- groups ---- */

static struct group **bucket_of(struct snoop *s, uint16_t vid, const struct addr *a)
{
	uint32_t h = (be32_get(a->b + 12) ^ be32_get(a->b) ^ (uint32_t)vid << 16) * 0x9e3779b1u;
	return &s->bucket[h >> 24];
}

static struct group *find(struct snoop *s, uint16_t vid, const struct addr *a)
{
	struct group *g = *bucket_of(s, vid, a);
	while (g && (g->vid != vid || memcmp(&g->a, a, sizeof(*a))))
		g = g->next;
	return g;
}

static struct group *group_make(struct snoop *s, uint16_t vid, const struct addr *a)
{
	struct group **b = bucket_of(s, vid, a), *g = find(s, vid, a);
	if (g || s->groups == SNOOP_GROUPS)
		return g;
	g = xnew(struct group);
	*g = (struct group){ .next = *b, .a = *a, .vid = vid };
	*b = g;
	s->groups++;
	return g;
}

static struct member *member_of(struct group *g, unsigned port)
{
	for (unsigned i = 0; g && i < g->n; i++)
		if (g->member[i].port == port)
			return &g->member[i];
	return NULL;
}

static void remove_member(struct snoop *s, struct group *g, struct member *m)
{
	s->joined[m->port]--;
	*m = g->member[--g->n];
}

/* A port that has joined too much gets everything instead. */
static void join(struct snoop *s, struct sw_port *from, uint16_t vid, const struct addr *a)
{
	struct group *g = s->joined[from->index] < SNOOP_PER_PORT ? group_make(s, vid, a) : find(s, vid, a);
	struct member *m = member_of(g, from->index);
	if (!m && (!g || s->joined[from->index] >= SNOOP_PER_PORT)) {
		s->all_until[from->index] = now(s) + SNOOP_GROUP_SECONDS;
		return;
	}
	if (!m) {
		if (g->n == g->room) {
			g->room = g->room ? 2 * g->room : 4;
			g->member = xrealloc(g->member, g->room * sizeof(*g->member));
		}
		m = &g->member[g->n++];
		m->port = from->index;
		s->joined[from->index]++;
	}
	m->until = now(s) + SNOOP_GROUP_SECONDS;
}

/* Behind a port of several stations another may still listen: that one is left to age. */
static void leave(struct snoop *s, struct sw_port *from, uint16_t vid, const struct addr *a)
{
	struct group *g = find(s, vid, a);
	struct member *m = member_of(g, from->index);
	if (m && from->stations <= 1)
		remove_member(s, g, m);
}

static void expire(struct snoop *s, bool (*over)(const struct snoop *, const struct member *, const void *), const void *what)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct group **link = &s->bucket[b], *g; (g = *link); ) {
			for (unsigned i = 0; i < g->n; )
				if (over(s, &g->member[i], what))
					remove_member(s, g, &g->member[i]);
				else
					i++;
			if (g->n) {
				link = &g->next;
				continue;
			}
			*link = g->next;
			free(g->member);
			free(g);
			s->groups--;
		}
}

static bool too_old(const struct snoop *s, const struct member *m, const void *what) { return m->until < now(s); }
static bool of_port(const struct snoop *s, const struct member *m, const void *what)
{
	return m->port == ((const struct sw_port *)what)->index;
}
static bool any(const struct snoop *s, const struct member *m, const void *what) { return true; }

void snoop_free(struct snoop *s)
{
	expire(s, any, NULL);
	free(s);
}

void snoop_port_gone(struct snoop *s, const struct sw_port *p)
{
	expire(s, of_port, p);
	s->known[p->index] = false;
	s->all_until[p->index] = 0;
}

/* ---- what ports say ---- */

static struct addr group_address(unsigned family, const uint8_t *p)
{
	struct addr a;
	if (family == V4)
		return addr_v4(be32_get(p));
	memcpy(a.b, p, 16);
	return a;
}

static bool link_scope(const struct addr *a)
{
	return addr_is_v4(a) ? addr_to_v4(a) >> 8 == 0xe00000 : a->b[0] == 0xff && (a->b[1] & 15) <= 2;
}

static void record(struct snoop *s, struct sw_port *from, uint16_t vid, unsigned kind, unsigned sources, const struct addr *a)
{
	if (link_scope(a))
		return;
	if (kind == IS_EXCLUDE || kind == TO_EXCLUDE || (sources && (kind == IS_INCLUDE || kind == TO_INCLUDE || kind == ALLOW_NEW)))
		join(s, from, vid, a);
	else if (kind == TO_INCLUDE && !sources)
		leave(s, from, vid, a);
}

/* Version 3 of IGMP, 2 of MLD: u8 kind, u8 words of auxiliary data, u16 sources, group,
 * sources; behind eight bytes of header. */
static void records(struct snoop *s, struct sw_port *from, uint16_t vid, unsigned family, const uint8_t *p, size_t len)
{
	size_t size = family == V4 ? 4 : 16, at = 8;
	for (unsigned n = be16_get(p + 6); n && at + 4 + size <= len; n--) {
		unsigned sources = be16_get(p + at + 2);
		struct addr a = group_address(family, p + at + 4);
		record(s, from, vid, p[at], sources, &a);
		at += 4 + size + sources * size + p[at + 1] * 4u;
	}
}

/* A guarded member is no router, whatever it says. */
static void heard_query(struct snoop *s, struct sw_port *from, uint16_t vid, unsigned family)
{
	if (from->c.guard)
		return;
	s->all_until[from->index] = MAX(s->all_until[from->index], now(s) + SNOOP_ROUTER_SECONDS);
	if (s->querier_until[family][vid] < now(s))
		s->querier_since[family][vid] = now(s) + SETTLE_SECONDS;
	s->querier_until[family][vid] = now(s) + SNOOP_ROUTER_SECONDS;
}

static void igmp(struct snoop *s, struct sw_port *from, uint16_t vid, const uint8_t *p, size_t len)
{
	struct addr a = group_address(V4, p + 4);
	switch (p[0]) {
	case IGMP_QUERY:
		heard_query(s, from, vid, V4);
		break;
	case IGMP_V1_REPORT: case IGMP_V2_REPORT:
		record(s, from, vid, IS_EXCLUDE, 0, &a);
		break;
	case IGMP_LEAVE:
		record(s, from, vid, TO_INCLUDE, 0, &a);
		break;
	case IGMP_V3_REPORT:
		records(s, from, vid, V4, p, len);
		break;
	}
}

static void mld(struct snoop *s, struct sw_port *from, uint16_t vid, const uint8_t *p, size_t len)
{
	if (p[0] == MLD_QUERY)
		heard_query(s, from, vid, V6);
	else if (p[0] == MLD_V2_REPORT)
		records(s, from, vid, V6, p, len);
	if (len < 24 || (p[0] != MLD_REPORT && p[0] != MLD_DONE))
		return;
	struct addr a = group_address(V6, p + 8);
	record(s, from, vid, p[0] == MLD_REPORT ? IS_EXCLUDE : TO_INCLUDE, 0, &a);
}

static bool is_mld(const struct frame *f)
{
	unsigned type = f->sport >> 8;
	return f->proto == IP_ICMP6 && f->has_l4 && ((type >= MLD_QUERY && type <= MLD_DONE) || type == MLD_V2_REPORT);
}

void snoop_seen(struct snoop *s, struct sw_port *from, struct frame *f)
{
	uint8_t whole[REPORT_MAX];
	frame_parse_ip(f);
	bool v6 = f->is_ip && is_mld(f), v4 = f->is_ip && frame_type(f) == ETH_IPV4 && f->proto == IP_IGMP && !f->fragment;
	if ((!v4 && !v6) || frame_len(f) > sizeof(whole) || frame_len(f) < f->l4 + 8u)
		return;
	size_t len = frame_write(f, false, whole) - f->l4;
	if (v4)
		igmp(s, from, f->vid, whole + f->l4, len);
	else
		mld(s, from, f->vid, whole + f->l4, len);
}

/* ---- who gets it ---- */

/* Hosts must not hear each other's reports, or they keep theirs (RFC 4541 2.1.1). */
static bool is_report(const struct frame *f)
{
	if (frame_type(f) == ETH_IPV4)
		return f->proto == IP_IGMP && !f->fragment && f->head_len > f->l4 && f->head[f->l4] != IGMP_QUERY;
	return is_mld(f) && f->sport >> 8 != MLD_QUERY;
}

static bool pruned(struct snoop *s, unsigned family, uint16_t vid)
{
	return s->querier_until[family][vid] >= now(s) && s->querier_since[family][vid] <= now(s);
}

const uint64_t *snoop_listeners(struct snoop *s, const struct frame *f)
{
	if (!f->parsed || !f->is_ip || !pruned(s, frame_type(f) == ETH_IPV6, f->vid))
		return NULL;
	bool report = is_report(f);
	struct group *g = report || link_scope(&f->dst) ? NULL : find(s, f->vid, &f->dst);
	if (!report && (!g || !g->n))
		return NULL;
	memset(s->set, 0, sizeof(s->set));
	for (unsigned i = 0; i < s->sw->nports; i++)
		if (s->sw->ports[i] && (s->sw->ports[i]->c.uplink || !s->known[i] || s->all_until[i] >= now(s)))
			s->set[i / 64] |= 1ull << (i % 64);
	for (unsigned i = 0; g && i < g->n; i++)
		s->set[g->member[i].port / 64] |= 1ull << (g->member[i].port % 64);
	return s->set;
}

/* ---- queries ---- */

static void send(struct snoop *s, struct sw_port *to, const uint8_t *b, size_t len)
{
	static const uint8_t vnet[NET_HDR];
	struct frame f;
	if (!frame_begin(&f, vnet, b, len))
		return;
	f.vid = VLAN_DEFAULT;
	sw_output(to, &f);
}

/* RFC 3376 4.1: general, answers within a second; IPv4 with router alert */
static void query4(struct snoop *s, struct sw_port *to, const struct snoop_querier *q)
{
	uint8_t b[60] = { 1, 0, 0x5e, 0, 0, 1 }, *ip = b + FRAME_MIN, *m = ip + 24;
	memcpy(b + 6, q->mac, 6);
	be16_put(b + 12, ETH_IPV4);
	memcpy(ip, "\x46\xc0\0\x24\0\0\0\0\1\2", 10);
	be32_put(ip + 12, q->ip);
	be32_put(ip + 16, 0xe0000001);
	memcpy(ip + 20, "\x94\4\0\0", 4);
	be16_put(ip + 10, inet_sum(ip, 24, 0));
	m[0] = IGMP_QUERY;
	m[1] = 10;
	m[8] = 2;
	m[9] = SNOOP_QUERY_SECONDS;
	be16_put(m + 2, inet_sum(m, 12, 0));
	send(s, to, b, sizeof(b));
}

/* RFC 3810 5.1, from the link-local address of the MAC; hop-by-hop with router alert */
static void query6(struct snoop *s, struct sw_port *to, const struct snoop_querier *q)
{
	uint8_t b[FRAME_MIN + 40 + 8 + 28] = { 0x33, 0x33, 0, 0, 0, 1 }, *ip = b + FRAME_MIN, *m = ip + 48;
	struct addr from = { { 0xfe, 0x80, [11] = 0xff, [12] = 0xfe } }, all = { { 0xff, 2, [15] = 1 } };
	memcpy(b + 6, q->mac, 6);
	be16_put(b + 12, ETH_IPV6);
	from.b[8] = q->mac[0] ^ 2;
	memcpy(from.b + 9, q->mac + 1, 2);
	memcpy(from.b + 13, q->mac + 3, 3);
	memcpy(ip, "\x60\0\0\0\0\x24\0\1", 8);
	memcpy(ip + 8, &from, 16);
	memcpy(ip + 24, &all, 16);
	memcpy(ip + 40, "\x3a\0\5\2\0\0\1\0", 8);
	m[0] = MLD_QUERY;
	be16_put(m + 4, 1000);
	m[24] = 2;
	m[25] = SNOOP_QUERY_SECONDS;
	be16_put(m + 2, inet_sum(m, 28, inet_pseudo(&from, &all, IP_ICMP6, 28)));
	send(s, to, b, sizeof(b));
}

static void ask(struct snoop *s, struct sw_port *p, const struct snoop_querier *q)
{
	if (p->c.uplink || !sw_in_vlan(p, VLAN_DEFAULT))
		return;
	if (q->ip)
		query4(s, p, q);
	if (q->on6)
		query6(s, p, q);
}

void snoop_tick(struct snoop *s, const struct snoop_querier *q)
{
	bool due = now(s) >= s->next_query;
	if (due)
		s->next_query = now(s) + SNOOP_QUERY_SECONDS;
	for (unsigned i = 0; i < s->sw->nports; i++) {
		struct sw_port *p = s->sw->ports[i];
		if (!p || (s->known[i] && !due))
			continue;
		if (!s->known[i])
			s->all_until[i] = now(s) + SNOOP_NEW_SECONDS;
		s->known[i] = true;
		ask(s, p, q);
	}
	const bool own[FAMILIES] = { q->ip != 0, q->on6 };
	for (unsigned i = 0; i < FAMILIES; i++)
		if (own[i])
			s->querier_until[i][VLAN_DEFAULT] = now(s) + SNOOP_ROUTER_SECONDS;
	expire(s, too_old, NULL);
}
