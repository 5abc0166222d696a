/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forwarding (IEEE 802.1Q 8.6), see switch.h.  The way of a frame: sw_check_in
 * (VLAN, source, guard, rate, rules), learning, the switch's own services, then
 * to the port where the station is or to all of its VLAN, each time through
 * sw_check_out.
 */
#include "net/switch/switch.h"

const char *const sw_drop_name[SW_DROP_COUNT] = { "pass",
#define X(name, text) #name,
	SW_DROPS(X)
#undef X
};
const char *const sw_drop_text[SW_DROP_COUNT] = { "it passes",
#define X(name, text) text,
	SW_DROPS(X)
#undef X
};

enum { GSO_SLACK = 40 };
#define SECOND_NS 1000000000ull

/* ---- token buckets ---- */

void sw_bucket_set(struct sw_bucket *b, uint64_t rate, uint64_t burst)
{
	*b = (struct sw_bucket){ .rate = rate, .burst = burst, .tokens = burst };
}

bool sw_bucket_take(struct sw_bucket *b, uint64_t now_ns, uint64_t n)
{
	if (!b->rate)
		return true;
	uint64_t passed = MIN(now_ns - b->last_ns, SECOND_NS);
	uint64_t fresh = (uint64_t)((unsigned __int128)passed * b->rate / SECOND_NS);
	if (fresh) {      /* what is left of a token's time counts for the next */
		b->last_ns = now_ns - passed + (uint64_t)((unsigned __int128)fresh * SECOND_NS / b->rate);
		b->tokens = MIN(b->burst, b->tokens + fresh);
	}
	if (b->tokens < n)
		return false;
	b->tokens -= n;
	return true;
}

/* ---- ports ---- */

struct sw *sw_new(uint64_t secret, unsigned mtu)
{
	struct sw *s = xnew(struct sw);
	s->mtu = mtu;
	fdb_init(&s->fdb, secret);
	return s;
}

void sw_free(struct sw *s)
{
	for (unsigned i = 0; i < s->nports; i++)
		free(s->ports[i]);
	free(s);
}

void sw_port_configure(struct sw_port *p, const struct sw_port_config *c)
{
	p->c = *c;
	sw_bucket_set(&p->in, c->rate_in, c->burst_in);
	sw_bucket_set(&p->out, c->rate_out, c->burst_out);
}

struct sw_port *sw_port_add(struct sw *s, const struct sw_port_config *c, const struct sw_link_ops *ops, void *link)
{
	unsigned i = 0;
	while (i < s->nports && s->ports[i])
		i++;
	if (i == SW_MAX_PORTS)
		return NULL;
	struct sw_port *p = xnew(struct sw_port);
	*p = (struct sw_port){ .sw = s, .index = (uint16_t)i, .ops = ops, .link = link };
	sw_port_configure(p, c);
	sw_bucket_set(&p->flood, SW_FLOOD_PER_SECOND, SW_FLOOD_BURST);
	s->ports[i] = p;
	s->nports = MAX(s->nports, i + 1);
	return p;
}

static void station_gone(void *opaque, uint16_t port)
{
	struct sw *s = opaque;
	if (s->ports[port])
		s->ports[port]->stations--;
}

void sw_port_remove(struct sw_port *p)
{
	struct sw *s = p->sw;
	fdb_expire(&s->fdb, 0, p->index, station_gone, s);
	for (unsigned i = 0; i < s->ndirty; i++)
		if (s->dirty[i] == p)
			s->dirty[i] = s->dirty[--s->ndirty];
	s->ports[p->index] = NULL;
	while (s->nports && !s->ports[s->nports - 1])
		s->nports--;
	free(p);
}

void sw_count_drop(struct sw_port *p, enum sw_drop why)
{
	p->drops[why]++;
}

/* ---- in ---- */

static uint32_t seconds(const struct sw *s)
{
	return (uint32_t)(s->now_ns / SECOND_NS);
}

static enum sw_drop classify(struct sw_port *from, struct frame *f)
{
	const struct sw_port_config *c = &from->c;
	if (!f->tagged)
		f->vid = c->vid;
	else if (!c->trunk)
		return SW_DROP_vlan;
	return f->vid && f->vid < VLANS - 1 && sw_in_vlan(from, f->vid) ? SW_PASS : SW_DROP_vlan;
}

/* IEEE 802.1Q table 8-1: spanning tree and its like stop at a bridge. */
static bool reserved_group(const uint8_t *d)
{
	return d[0] == 1 && d[1] == 0x80 && d[2] == 0xc2 && !d[3] && !d[4] && d[5] < 0x10;
}

static bool too_long(const struct sw *s, const struct frame *f)
{
	uint16_t gso = le16_get(f->vnet + 4);
	if (f->vnet[VNET_GSO])
		return !gso || gso + (unsigned)GSO_SLACK > s->mtu;
	return frame_len(f) > s->mtu + FRAME_MIN;
}

enum sw_drop sw_check_in(struct sw_port *from, struct frame *f, bool dry)
{
	struct sw *s = from->sw;
	enum sw_drop why = classify(from, f);
	if (why)
		return why;
	if (too_long(s, f))
		return SW_DROP_size;
	if (frame_src(f)[0] & 1)
		return SW_DROP_source;
	if (reserved_group(f->head))
		return SW_DROP_reserved;
	if (from->blocked_until_ns > s->now_ns)
		return SW_DROP_loop;
	if (!dry && !sw_bucket_take(&from->in, s->now_ns, frame_len(f)))
		return SW_DROP_rate;
	return s->hooks.in ? s->hooks.in(s, from, f, dry) : SW_PASS;
}

/* An address of a guarded port stays there, whoever else claims it. */
static bool pinned(const struct sw_port *p, const uint8_t *mac)
{
	return p->c.guard && !memcmp(p->c.mac, mac, 6);
}

static enum sw_drop move(struct sw *s, struct fdb_entry *e, struct sw_port *from, const struct frame *f)
{
	struct sw_port *old = s->ports[e->port];
	if (old && pinned(old, frame_src(f)))
		return SW_DROP_source;
	if (++from->moves > SW_MOVES_PER_SECOND) {
		from->blocked_until_ns = s->now_ns + SW_LOOP_SECONDS * SECOND_NS;
		return SW_DROP_loop;
	}
	if (old)
		old->stations--;
	from->stations++;
	e->port = from->index;
	return SW_PASS;
}

static enum sw_drop learn(struct sw *s, struct sw_port *from, const struct frame *f)
{
	uint64_t key = fdb_key(f->vid, mac_key(frame_src(f)));
	struct fdb_entry *e = fdb_find(&s->fdb, key);
	if (likely(e && e->port == from->index)) {
		e->seen = seconds(s);
		return SW_PASS;
	}
	if (!e) {
		if (from->stations >= (from->c.uplink ? SW_UPLINK_MACS : SW_PORT_MACS) || !(e = fdb_add(&s->fdb, key)))
			return SW_PASS;      /* unknown, yet welcome */
		e->port = from->index;
		from->stations++;
	} else {
		enum sw_drop why = move(s, e, from, f);
		if (why)
			return why;
	}
	e->seen = seconds(s);
	return SW_PASS;
}

struct sw_port *sw_lookup(struct sw *s, uint16_t vid, const uint8_t mac[6])
{
	struct fdb_entry *e = fdb_find(&s->fdb, fdb_key(vid, mac_key(mac)));
	return e ? s->ports[e->port] : NULL;
}

/* ---- out ---- */

enum sw_drop sw_check_out(struct sw_port *from, struct sw_port *to, struct frame *f, bool dry)
{
	struct sw *s = to->sw;
	if (!sw_in_vlan(to, f->vid))
		return SW_DROP_vlan;
	if (from && from->c.isolated && to->c.isolated)
		return SW_DROP_isolated;
	if (s->hooks.out) {
		enum sw_drop why = s->hooks.out(s, from, to, f, dry);
		if (why)
			return why;
	}
	return dry || sw_bucket_take(&to->out, s->now_ns, frame_len(f)) ? SW_PASS : SW_DROP_rate;
}

static void put(struct sw_port *to, const struct frame *f)
{
	struct sw *s = to->sw;
	if (s->hooks.seen)
		s->hooks.seen(s, to, true, f, SW_PASS);
	if (!to->dirty) {
		to->dirty = true;
		s->dirty[s->ndirty++] = to;
	}
	if (unlikely(!to->ops->put(to, f, to->c.trunk && f->vid != to->c.vid))) {
		sw_count_drop(to, SW_DROP_full);
		return;
	}
	to->tx_frames++;
	to->tx_bytes += frame_len(f);
}

static enum sw_drop send_to(struct sw_port *from, struct sw_port *to, struct frame *f)
{
	enum sw_drop why = sw_check_out(from, to, f, false);
	if (likely(!why))
		put(to, f);
	return why;
}

void sw_output(struct sw_port *to, struct frame *f)
{
	send_to(NULL, to, f);
}

static enum sw_drop flood(struct sw *s, struct sw_port *from, struct frame *f)
{
	bool sent = false;
	if (!sw_bucket_take(&from->flood, s->now_ns, 1))
		return SW_DROP_storm;
	const uint64_t *only = frame_group(f) && s->hooks.listeners ? s->hooks.listeners(s, f) : NULL;
	enum sw_drop why = SW_DROP_nowhere;
	for (unsigned i = 0; i < s->nports; i++) {
		struct sw_port *to = s->ports[i];
		if (!to || to == from || !sw_in_vlan(to, f->vid) || (only && !(only[i / 64] >> (i % 64) & 1)))
			continue;
		enum sw_drop one = send_to(from, to, f);
		sent |= !one;
		why = one ? one : why;
	}
	return sent ? SW_PASS : why;
}

static enum sw_drop forward(struct sw *s, struct sw_port *from, struct frame *f)
{
	struct sw_port *to = frame_group(f) ? NULL : sw_lookup(s, f->vid, frame_dst(f));
	if (likely(to != NULL))
		return to == from ? SW_DROP_nowhere : send_to(from, to, f);
	return flood(s, from, f);
}

void sw_input(struct sw_port *from, struct frame *f)
{
	struct sw *s = from->sw;
	from->rx_frames++;
	from->rx_bytes += frame_len(f);
	enum sw_drop why = sw_check_in(from, f, false);
	if (likely(!why))
		why = learn(s, from, f);
	if (!why && !(s->hooks.local && s->hooks.local(s, from, f)))
		why = forward(s, from, f);
	if (unlikely(s->hooks.seen != NULL))
		s->hooks.seen(s, from, false, f, why);
	if (unlikely(why))
		sw_count_drop(from, why);
}

void sw_flush(struct sw *s)
{
	for (unsigned i = 0; i < s->ndirty; i++) {
		s->dirty[i]->dirty = false;
		s->dirty[i]->ops->flush(s->dirty[i]);
	}
	s->ndirty = 0;
}

void sw_tick(struct sw *s)
{
	uint32_t now = seconds(s);
	for (unsigned i = 0; i < s->nports; i++)
		if (s->ports[i])
			s->ports[i]->moves = 0;
	if (now >= SW_AGE_SECONDS)
		fdb_expire(&s->fdb, now - SW_AGE_SECONDS, FDB_NONE, station_gone, s);
}

/* ---- offloads resolved at the edge ---- */

bool sw_finish(struct sw *s, const struct frame *f, bool tagged,
	       uint8_t *(*room)(void *opaque, size_t most), void (*emit)(void *opaque, size_t len), void *opaque)
{
	struct net_split split;
	uint8_t vnet[NET_HDR];
	frame_vnet(f, tagged, vnet);
	size_t len = frame_write(f, tagged, s->scratch);
	if (!net_split_begin(&split, vnet, s->scratch, len))
		return false;
	for (;;) {
		size_t most = split.gso_size ? split.payload + split.gso_size : len;
		if (split.done >= split.len - split.payload)
			return true;
		uint8_t *out = room(opaque, most);
		if (!out)
			return false;
		emit(opaque, net_split_next(&split, out));
	}
}
