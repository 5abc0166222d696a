/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch against an executable model: random frames through both, the same
 * outputs.  The model is written from the rules (who may send, who learns, who
 * gets it) with lists and loops, not from the switch's code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "net/switch/switch.h"

enum { PORTS = 8, STATIONS = 24, FRAMES = 100000, MAX_OUT = PORTS };

/* ---- what comes out ---- */

struct out { unsigned port; bool tagged; size_t len; uint8_t bytes[2048]; };
static struct out outs[64];
static unsigned nouts;

static bool record(struct sw_port *p, const struct frame *f, bool tagged)
{
	struct out *o = &outs[nouts++];
	o->port = p->index;
	o->tagged = tagged;
	o->len = frame_write(f, tagged, o->bytes);
	return true;
}
static void no_flush(struct sw_port *p) { }
static const struct sw_link_ops ops = { .put = record, .flush = no_flush };

static uint32_t seed = 42;
static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

static void station(uint8_t mac[6], unsigned n)
{
	const uint8_t m[6] = { 2, 0, 0, 0, 1, (uint8_t)n };
	memcpy(mac, m, 6);
}

/* ---- the model ---- */

struct model_station { bool known; unsigned vid, port; uint64_t seen; };
static struct model {
	struct sw_port_config c[PORTS];
	struct model_station at[4096][STATIONS];
	unsigned moves[PORTS];
	uint64_t blocked[PORTS], now_s;
	double flood[PORTS];
} model;

static bool member(const struct sw_port_config *c, unsigned vid)
{
	return vid == c->vid || (c->trunk && c->vlans[vid / 64] >> (vid % 64) & 1);
}

/* Which ports get it; 0: none. */
static unsigned expect(unsigned from, const uint8_t *b, size_t len, unsigned *vid_out)
{
	const struct sw_port_config *c = &model.c[from];
	unsigned vid = c->vid, targets = 0, tag = 0;
	if (len < 14)
		return 0;
	if (b[12] == 0x81 && b[13] == 0) {
		if (len < 18)
			return 0;
		unsigned v = (b[14] << 8 | b[15]) & 0xfff;
		tag = 4;
		if (v && !c->trunk)
			return 0;
		vid = v ? v : vid;
	}
	*vid_out = vid;
	if (!vid || vid == 4095 || !member(c, vid) || len - tag > 1514 || b[6] & 1)
		return 0;
	if (!memcmp(b, "\x01\x80\xc2\0\0", 5) && b[5] < 16)
		return 0;
	if (model.blocked[from] > model.now_s)
		return 0;
	struct model_station *s = &model.at[vid][b[11] % STATIONS];
	if (s->known && s->port != from) {
		const struct sw_port_config *old = &model.c[s->port];
		if (old->guard && !memcmp(old->mac, b + 6, 6))
			return 0;
		if (++model.moves[from] > SW_MOVES_PER_SECOND) {
			model.blocked[from] = model.now_s + SW_LOOP_SECONDS;
			return 0;
		}
	}
	*s = (struct model_station){ true, vid, from, model.now_s };
	const struct model_station *d = b[0] & 1 ? NULL : &model.at[vid][b[5] % STATIONS];
	for (unsigned i = 0; i < PORTS; i++)
		if (i != from && member(&model.c[i], vid) && !(c->isolated && model.c[i].isolated) &&
		    (!d || !d->known || d->port == i))
			targets |= 1u << i;
	return targets;
}

static void model_tick(void)
{
	memset(model.moves, 0, sizeof(model.moves));
	for (unsigned v = 0; v < 4096; v++)
		for (unsigned i = 0; i < STATIONS; i++)
			if (model.at[v][i].known && model.at[v][i].seen + SW_AGE_SECONDS < model.now_s)
				model.at[v][i].known = false;
}

/* ---- random networks and frames ---- */

static void random_port(struct sw_port_config *c, unsigned i)
{
	*c = (struct sw_port_config){ .vid = (uint16_t)(1 + rnd(3)), .trunk = i >= 5, .isolated = i == 1 || i == 2,
				      .guard = i == 3, .uplink = i == 7 };
	if (c->trunk) {
		c->vid = (uint16_t)rnd(2);
		c->vlans[0] = 2 | (rnd(2) ? 4 : 0) | (rnd(2) ? 8 : 0);
		c->vlans[63] = 1ull << 62;
	}
	station(c->mac, i);
	snprintf(c->name, sizeof(c->name), "p%u", i);
}

static size_t random_frame(uint8_t *b, unsigned from)
{
	static const uint16_t vids[] = { 0, 1, 2, 3, 4, 4094, 4095 };
	size_t len = rnd(20) ? 60 + rnd(1455) : rnd(2) ? rnd(20) : 1500 + rnd(500);
	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(i * 7);
	if (len < 14)
		return len;
	station(b, rnd(STATIONS));
	station(b + 6, rnd(60) ? from * 3 + rnd(3) : rnd(STATIONS));
	if (!rnd(12))
		memset(b, 0xff, 6);
	else if (!rnd(20))
		memcpy(b, "\x01\x80\xc2\0\0", 5), b[5] = (uint8_t)rnd(32);
	if (!rnd(40))
		b[6] |= 1;
	be16_put(b + 12, 0x88b5);
	if (rnd(3) == 0 && len >= 16) {
		be16_put(b + 12, 0x8100);
		be16_put(b + 14, (uint16_t)(rnd(8) << 13 | vids[rnd(ARRAY_SIZE(vids))]));
	}
	return len;
}

static void check_outputs(const struct frame *f, unsigned want, unsigned vid, const uint8_t *b, size_t len)
{
	unsigned got = 0, tag = len >= 18 && b[12] == 0x81 && b[13] == 0 ? 4 : 0;
	for (unsigned i = 0; i < nouts; i++) {
		const struct out *o = &outs[i];
		const struct sw_port_config *c = &model.c[o->port];
		bool tagged = c->trunk && vid != c->vid;
		got |= 1u << o->port;
		assert_int_equal(o->tagged, tagged);
		assert_int_equal(o->len, len - tag + (tagged ? 4 : 0));
		assert_memory_equal(o->bytes, b, 12);
		assert_memory_equal(o->bytes + (tagged ? 16 : 12), b + 12 + tag, len - 12 - tag);
		if (tagged)
			assert_int_equal((o->bytes[14] << 8 | o->bytes[15]) & 0xfff, vid);
	}
	assert_int_equal(got, want);
	assert_int_equal(nouts, (unsigned)__builtin_popcount(want));
}

static void agrees_with_the_model(void **state)
{
	struct sw *s = sw_new(rnd(1u << 28), 1500);
	struct sw_port *p[PORTS];
	uint8_t b[2048], vnet[NET_HDR] = { 0 };
	unsigned delivered = 0, dropped = 0;
	for (unsigned i = 0; i < PORTS; i++) {
		random_port(&model.c[i], i);
		p[i] = sw_port_add(s, &model.c[i], &ops, NULL);
		sw_bucket_set(&p[i]->flood, 0, 0);      /* storms have a test of their own */
	}
	model.now_s = 1000;
	for (unsigned n = 0; n < FRAMES; n++) {
		struct frame f;
		unsigned from = rnd(PORTS), vid = 0;
		size_t len = random_frame(b, from);
		s->now_ns = model.now_s * 1000000000ull;
		unsigned want = expect(from, b, len, &vid);
		nouts = 0;
		if (frame_begin(&f, vnet, b, len))
			sw_input(p[from], &f);
		check_outputs(&f, want, vid, b, len);
		delivered += want != 0;
		dropped += want == 0;
		if (!rnd(25)) {
			model.now_s += rnd(60) ? 1 : 120 + rnd(400);
			s->now_ns = model.now_s * 1000000000ull;
			sw_tick(s);
			model_tick();
		}
		sw_flush(s);
	}
	assert_true(delivered > FRAMES / 3 && dropped > FRAMES / 20);
	sw_free(s);
}

/* ---- single rules ---- */

static struct sw *two_ports(struct sw_port *p[2])
{
	struct sw *s = sw_new(1, 1500);
	s->now_ns = 5000000000ull;
	for (unsigned i = 0; i < 2; i++) {
		struct sw_port_config c = { .vid = 1 };
		station(c.mac, i);
		p[i] = sw_port_add(s, &c, &ops, NULL);
	}
	return s;
}

static void send_simple(struct sw_port *from, unsigned src, unsigned dst, size_t len)
{
	uint8_t b[2048] = { 0 }, vnet[NET_HDR] = { 0 };
	struct frame f;
	station(b, dst);
	station(b + 6, src);
	if (dst == 255)
		memset(b, 0xff, 6);
	assert_true(frame_begin(&f, vnet, b, len));
	sw_input(from, &f);
}

static void bounds_storms(void **state)
{
	struct sw_port *p[2];
	struct sw *s = two_ports(p);
	nouts = 0;
	for (unsigned i = 0; i < SW_FLOOD_BURST + 1000; i++) {
		nouts = 0;
		send_simple(p[0], 0, 255, 60);
	}
	assert_int_equal(p[0]->drops[SW_DROP_storm], 1000);
	s->now_ns += 500000000;
	send_simple(p[0], 0, 255, 60);
	assert_int_equal(p[0]->drops[SW_DROP_storm], 1000);
	sw_free(s);
}

static void limits_rates(void **state)
{
	struct sw_port *p[2];
	struct sw *s = two_ports(p);
	struct sw_port_config c = p[0]->c;
	c.rate_in = 100000;
	c.burst_in = 10000;
	sw_port_configure(p[0], &c);
	send_simple(p[1], 1, 0, 60);
	uint64_t passed = 0;
	for (unsigned ms = 0; ms < 10000; ms++) {
		s->now_ns += 1000000;
		nouts = 0;
		send_simple(p[0], 0, 1, 1000);
		passed += nouts * 1000;
	}
	assert_in_range(passed, 990000, 1020000);
	sw_free(s);
}

static void bounds_stations(void **state)
{
	struct sw_port *p[2];
	struct sw *s = two_ports(p);
	uint8_t b[64] = { 2 }, vnet[NET_HDR] = { 0 };
	struct frame f;
	for (unsigned i = 0; i < 5000; i++) {
		nouts = 0;
		b[6] = 2;
		b[10] = (uint8_t)(i >> 8);
		b[11] = (uint8_t)i;
		assert_true(frame_begin(&f, vnet, b, 60));
		s->now_ns += 1000000;
		sw_input(p[0], &f);
	}
	assert_int_equal(p[0]->stations, SW_PORT_MACS);
	assert_int_equal(s->fdb.used, SW_PORT_MACS);
	sw_port_remove(p[0]);
	assert_int_equal(s->fdb.used, 0);
	sw_free(s);
}

/* 1,000 ports, and a broadcast reaches each of the others once. */
static bool tally(struct sw_port *p, const struct frame *f, bool tagged)
{
	(*(unsigned *)p->link)++;
	return true;
}
static const struct sw_link_ops tally_ops = { .put = tally, .flush = no_flush };

static void a_thousand_ports(void **state)
{
	struct sw *s = sw_new(3, 1500);
	static unsigned got[1000];
	struct sw_port *first = NULL;
	for (unsigned i = 0; i < 1000; i++) {
		struct sw_port_config c = { .vid = 1 };
		struct sw_port *p = sw_port_add(s, &c, &tally_ops, &got[i]);
		first = first ? first : p;
	}
	send_simple(first, 0, 255, 60);
	assert_int_equal(got[0], 0);
	for (unsigned i = 1; i < 1000; i++)
		assert_int_equal(got[i], 1);
	sw_free(s);
}

/* Ports come and go 10,000 times; nothing of them stays. */
static void ports_come_and_go(void **state)
{
	struct sw *s = sw_new(3, 1500);
	struct sw_port *p[16] = { NULL };
	unsigned sink;
	for (unsigned i = 0; i < 10000; i++) {
		struct sw_port_config c = { .vid = 1 };
		unsigned k = rnd(16);
		if (p[k])
			sw_port_remove(p[k]);
		p[k] = sw_port_add(s, &c, &tally_ops, &sink);
		send_simple(p[k], rnd(STATIONS), rnd(STATIONS), 60);
	}
	for (unsigned i = 0; i < 16; i++)
		if (p[i])
			sw_port_remove(p[i]);
	assert_int_equal(s->nports, 0);
	assert_int_equal(s->fdb.used, 0);
	sw_free(s);
}

/* An unfinished frame for a port that takes finished ones, tag and all. */
static unsigned pieces;
static uint8_t piece[2048];
static uint8_t *piece_room(void *opaque, size_t most) { return most <= sizeof(piece) ? piece : NULL; }
static void piece_emit(void *opaque, size_t len)
{
	struct addr a = addr_v4(0x0a000001), b = addr_v4(0x0a000002);
	pieces++;
	assert_int_equal(be16_get(piece + 12), 0x8100);
	assert_int_equal(inet_sum(piece + 18, 20, 0), 0);
	assert_int_equal(inet_sum(piece + 38, len - 38, inet_pseudo(&a, &b, 6, len - 38)), 0);
}

static void finishes_segments(void **state)
{
	struct sw_port *p[2];
	struct sw *s = two_ports(p);
	uint8_t b[5054] = { 0 }, vnet[NET_HDR] = { VNET_NEEDS_CSUM, VNET_TCPV4 };
	struct frame f;
	le16_put(vnet + 4, 1000);
	le16_put(vnet + 6, 34);
	le16_put(vnet + 8, 16);
	be16_put(b + 12, 0x800);
	b[14] = 0x45;
	b[23] = 6;
	be32_put(b + 26, 0x0a000001);
	be32_put(b + 30, 0x0a000002);
	b[46] = 0x50;
	for (unsigned i = 54; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 13);
	assert_true(frame_begin(&f, vnet, b, sizeof(b)));
	assert_false(frame_fits(&f, NET_CAP_CSUM));
	assert_true(frame_fits(&f, NET_CAP_CSUM | NET_CAP_TSO4));
	f.vid = 7;
	assert_true(sw_finish(s, &f, true, piece_room, piece_emit, NULL));
	assert_int_equal(pieces, 5);
	vnet[6] = 0xff;
	vnet[7] = 0xff;
	assert_false(frame_begin(&f, vnet, b, sizeof(b)));
	sw_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_model), cmocka_unit_test(bounds_storms), cmocka_unit_test(limits_rates),
		cmocka_unit_test(bounds_stations), cmocka_unit_test(a_thousand_ports), cmocka_unit_test(ports_come_and_go),
		cmocka_unit_test(finishes_segments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
