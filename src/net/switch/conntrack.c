/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections: see conntrack.h. */
#include "net/switch/conntrack.h"

enum { ICMP_SECONDS = 30, UDP_SECONDS = 60, UDP_ANSWERED_SECONDS = 180, TCP_NEW_SECONDS = 60, TCP_SECONDS = 7200,
       TCP_CLOSING_SECONDS = 20, TCP_FIN = 1, TCP_RST = 4 };

void conntrack_init(struct conntrack *t, uint64_t secret)
{
	memset(t->bucket, 0xff, sizeof(t->bucket));
	t->secret = secret | 1;
	t->used = 0;
	t->free = 0;
	for (unsigned i = 0; i < CONN_ENTRIES; i++)
		t->entry[i].next = (uint16_t)(i + 1 < CONN_ENTRIES ? i + 1 : CONN_NONE);
}

/* One key for both directions; false: not something that has directions. */
static bool key_of(const struct frame *f, struct conn_key *k, bool *from_a)
{
	if (!f->is_ip || !f->has_l4)
		return false;
	bool icmp = f->proto == IP_ICMP || f->proto == IP_ICMP6;
	uint16_t ps = icmp ? f->dport : f->sport;      /* an echo's identifier */
	int order = memcmp(&f->src, &f->dst, sizeof(f->src));
	*from_a = order < 0 || (!order && ps <= f->dport);
	memset(k, 0, sizeof(*k));
	k->a = *from_a ? f->src : f->dst;
	k->b = *from_a ? f->dst : f->src;
	k->pa = *from_a ? ps : f->dport;
	k->pb = *from_a ? f->dport : ps;
	k->vid = f->vid;
	k->proto = f->proto;
	return true;
}

static unsigned hash(const struct conntrack *t, const struct conn_key *k)
{
	uint64_t words[(sizeof(*k) + 7) / 8] = { 0 }, h = t->secret;
	memcpy(words, k, sizeof(*k));
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15ull ^ h >> 29;
	return (unsigned)(h >> 40) & (CONN_ENTRIES - 1);
}

static struct conn *find(struct conntrack *t, const struct conn_key *k)
{
	for (uint16_t i = t->bucket[hash(t, k)]; i != CONN_NONE; i = t->entry[i].next)
		if (!memcmp(&t->entry[i].key, k, sizeof(*k)))
			return &t->entry[i];
	return NULL;
}

static uint32_t life(const struct conn *c)
{
	switch (c->key.proto) {
	case IP_TCP: return c->closing ? TCP_CLOSING_SECONDS : c->answered ? TCP_SECONDS : TCP_NEW_SECONDS;
	case IP_UDP: return c->answered ? UDP_ANSWERED_SECONDS : UDP_SECONDS;
	default: return ICMP_SECONDS;
	}
}

bool conntrack_known(struct conntrack *t, const struct frame *f, uint32_t now, bool dry)
{
	struct conn_key k;
	bool from_a;
	struct conn *c = key_of(f, &k, &from_a) ? find(t, &k) : NULL;
	if (!c || now - c->seen > life(c))
		return false;
	if (dry)
		return true;
	c->seen = now;
	c->answered |= from_a != c->from_a;
	if (f->proto == IP_TCP)
		c->closing |= f->head[f->l4 + 13] & (TCP_FIN | TCP_RST);
	return true;
}

void conntrack_add(struct conntrack *t, const struct frame *f, uint32_t now)
{
	struct conn_key k;
	bool from_a;
	if (!key_of(f, &k, &from_a))
		return;
	struct conn *c = find(t, &k);
	if (!c) {
		uint16_t i = t->free, *b = &t->bucket[hash(t, &k)];
		if (i == CONN_NONE)
			return;
		c = &t->entry[i];
		t->free = c->next;
		t->used++;
		c->next = *b;
		*b = i;
	}
	uint16_t next = c->next;
	*c = (struct conn){ .key = k, .seen = now, .next = next, .from_a = from_a };
}

void conntrack_expire(struct conntrack *t, uint32_t now)
{
	for (unsigned b = 0; t->used && b < CONN_ENTRIES; b++)
		for (uint16_t *link = &t->bucket[b]; *link != CONN_NONE; ) {
			uint16_t i = *link;
			struct conn *c = &t->entry[i];
			if (now - c->seen <= life(c)) {
				link = &c->next;
				continue;
			}
			*link = c->next;
			c->next = t->free;
			t->free = i;
			t->used--;
		}
}
