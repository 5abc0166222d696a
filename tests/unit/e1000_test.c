/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 82540EM as a driver sees it: EEPROM, rings, segments, filters, rings that
 * lie nowhere, and its state. */
#include "board_fixture.h"

#include "device/net.h"
#include "net/port.h"

enum { BAR = 0xc8000000, TX_RING = 0x10000, RX_RING = 0x11000, DATA = 0x20000, RX_DATA = 0x40000 };
enum { CTRL = 0, STATUS = 8, EECD = 0x10, EERD = 0x14, ICR = 0xc0, IMS = 0xd0, RCTL = 0x100,
       TCTL = 0x400, RDBAL = 0x2800, RDLEN = 0x2808, RDH = 0x2810, RDT = 0x2818, TDBAL = 0x3800,
       TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818 };
static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

/* The other end: keeps what it is sent. */
static struct wire { struct net_port port; unsigned frames; size_t len; uint8_t data[NET_FRAME_MAX]; bool full; } wire;

static bool wire_receive(struct net_port *p, const struct iovec *iov, unsigned n, size_t len)
{
	if (wire.full)
		return false;
	wire.frames++;
	wire.len = 0;
	for (unsigned i = 0; i < n; i++) {
		memcpy(wire.data + wire.len, iov[i].iov_base, iov[i].iov_len);
		wire.len += iov[i].iov_len;
	}
	assert_int_equal(wire.len, len);
	return true;
}
static void wire_destroy(struct net_port *p) { }
static const struct net_port_ops wire_ops = { .receive = wire_receive, .destroy = wire_destroy };

static struct device *card;
static uint32_t reg(unsigned at) { return mmio_in(BAR + at); }
static void set_reg(unsigned at, uint32_t v) { mmio_out(BAR + at, v); }

static struct machine *board(void)
{
	struct machine *m = fixture_new(4 * MiB);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL));
	memset(&wire, 0, sizeof(wire));
	wire.port.ops = &wire_ops;
	wire.port.link_up = true;
	assert_true(e1000_create(m, 0, &wire.port, mac, NULL));
	for (card = m->devices; card->next; card = card->next)
		;
	pci_config_write(m, 2 << 3, 0x10, BAR, 4);
	pci_config_write(m, 2 << 3, 0x14, 0xc001, 4);
	pci_config_write(m, 2 << 3, 0x04, 7, 2);
	set_reg(TDBAL, TX_RING);
	set_reg(TDLEN, 128);
	set_reg(TCTL, 2);
	set_reg(RDBAL, RX_RING);
	set_reg(RDLEN, 128);
	for (unsigned i = 0; i < 8; i++)
		memory_store(m->memory, RX_RING + i * 16, RX_DATA + i * 2048, 8);
	set_reg(RDT, 7);
	set_reg(RCTL, 0x8002);
	reg(ICR);
	return m;
}

/* --- EEPROM ------------------------------------------------------------------- */
static void clock_bit(bool bit)
{
	set_reg(EECD, 0x42 | (bit ? 4 : 0));
	set_reg(EECD, 0x43 | (bit ? 4 : 0));
	set_reg(EECD, 0x42 | (bit ? 4 : 0));
}

static uint16_t microwire(unsigned word)
{
	uint16_t v = 0;
	set_reg(EECD, 0x40);
	set_reg(EECD, 0x42);
	for (unsigned bits = 6 << 6 | word, i = 9; i--; )
		clock_bit(bits >> i & 1);
	for (unsigned i = 0; i < 16; i++) {
		set_reg(EECD, 0x43);
		v = (uint16_t)(v << 1 | (reg(EECD) >> 3 & 1));
		set_reg(EECD, 0x42);
	}
	set_reg(EECD, 0x40);
	return v;
}

static void eeprom(void **unused)
{
	struct machine *m = board();
	uint16_t sum = 0;
	for (unsigned i = 0; i < 64; i++) {
		uint16_t v = microwire(i);
		set_reg(EERD, i << 8 | 1);
		assert_int_equal(reg(EERD) >> 16, v);
		sum = (uint16_t)(sum + v);
	}
	assert_int_equal(sum, 0xbaba);
	assert_int_equal(microwire(0), 0x5452);
	assert_int_equal(reg(STATUS) & 3, 3);
	set_reg(0x20, 2 << 26 | 1 << 21 | 2 << 16);
	assert_int_equal(reg(0x20) & 0xffff, 0x0141);
	out(0xc000, STATUS, 4);
	assert_int_equal(in(0xc004, 4), reg(STATUS));
	fixture_free(m);
}

/* --- sending ------------------------------------------------------------------ */
static void descriptor(unsigned n, uint64_t address, uint64_t rest)
{
	memory_store(fx.m.memory, TX_RING + n * 16, address, 8);
	memory_store(fx.m.memory, TX_RING + n * 16 + 8, rest, 8);
}

static void sends(void **unused)
{
	struct machine *m = board();
	for (unsigned i = 0; i < 200; i++)
		memory_store(m->memory, DATA + i, i, 1);
	set_reg(IMS, 1);
	descriptor(0, DATA, 60);                          /* two pieces */
	descriptor(1, DATA + 60, 40 | 9ull << 24);
	set_reg(TDT, 2);
	fixture_turn(m);
	assert_int_equal(wire.frames, 1);
	assert_int_equal(wire.len, NET_HDR + 100);
	assert_int_equal(wire.data[NET_HDR + 99], 99);
	assert_int_equal(reg(TDH), 2);
	assert_int_equal(memory_load(m->memory, TX_RING + 28, 1) & 1, 1);
	assert_int_equal(reg(ICR), 0x80000003);
	assert_int_equal(reg(ICR), 0);
	/* a full wire keeps the frame, and takes it later */
	wire.full = true;
	descriptor(2, DATA, 64 | 9ull << 24);
	set_reg(TDT, 3);
	fixture_turn(m);
	assert_int_equal(wire.frames, 1);
	fixture_state_round_trip(card);
	wire.full = false;
	net_port_room(&wire.port);
	assert_int_equal(wire.frames, 2);
	assert_int_equal(wire.len, NET_HDR + 64);
	fixture_free(m);
}

static uint32_t sum_words(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void segments(void **unused)
{
	struct machine *m = board();
	uint8_t f[54 + 2500] = { [12] = 8, [14] = 0x45, [23] = 6, [26] = 10, [29] = 1, [30] = 10, [33] = 2,
				 [41] = 7, [46] = 0x50, [47] = 0x19 };
	for (unsigned i = 54; i < sizeof(f); i++)
		f[i] = (uint8_t)(i * 7);
	uint32_t pseudo = sum_words(f + 26, 8, 6);
	f[50] = (uint8_t)(pseudo >> 8);
	f[51] = (uint8_t)pseudo;
	memory_write(m->memory, DATA, f, sizeof(f));
	descriptor(0, 14 | 24 << 8 | 33ull << 16 | 34ull << 32 | 50ull << 40,
		   2500 | 0x27ull << 24 | 54ull << 40 | 1000ull << 48);
	descriptor(1, DATA, sizeof(f) | 1u << 20 | 0x2dull << 24 | 3ull << 40);
	set_reg(TDT, 2);
	fixture_turn(m);
	assert_int_equal(wire.frames, 3);
	const uint8_t *g = wire.data + NET_HDR;
	assert_int_equal(wire.len, NET_HDR + 54 + 500);
	assert_int_equal(g[16] << 8 | g[17], 540);                /* IP length */
	assert_int_equal(g[19], 2);                               /* its number */
	assert_int_equal(g[40] << 8 | g[41], 2007);               /* sequence */
	assert_int_equal(g[47], 0x19);
	assert_int_equal(sum_words(g + 14, 20, 0), 0xffff);
	assert_int_equal(sum_words(g + 34, 520, sum_words(g + 26, 8, 6 + 520)), 0xffff);
	fixture_free(m);
}

/* --- receiving ------------------------------------------------------------------ */
static bool arrive(const uint8_t *to, size_t len)
{
	uint8_t f[NET_HDR + 9000] = { 0 };
	memcpy(f + NET_HDR, to, 6);
	memset(f + NET_HDR + 6, 0x5a, len - 6);
	struct iovec v = { f, NET_HDR + len };
	return net_port_send(&wire.port, &v, 1, v.iov_len);
}

static void receives(void **unused)
{
	struct machine *m = board();
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 }, other[6] = { 2, 2 }, group[6] = { 1, 0, 0x5e };
	set_reg(IMS, 0x80);
	assert_true(arrive(mac, 100) && arrive(all, 20));
	assert_int_equal(reg(RDH), 2);
	assert_int_equal(memory_load(m->memory, RX_RING + 8, 2), 104);
	assert_int_equal(memory_load(m->memory, RX_RING + 12, 1), 7);
	assert_int_equal(memory_load(m->memory, RX_RING + 24, 2), 64);
	assert_int_equal(memory_load(m->memory, RX_DATA + 99, 1), 0x5a);
	assert_int_equal(reg(ICR) & 0x80, 0x80);
	assert_true(arrive(other, 100) && arrive(group, 100));
	assert_int_equal(reg(RDH), 2);
	set_reg(RCTL, 0x801a);                            /* promiscuous */
	assert_true(arrive(other, 100) && arrive(group, 100));
	assert_int_equal(reg(RDH), 4);
	set_reg(RCTL, 0x803a);                            /* a long one takes three */
	assert_true(arrive(mac, 4500));
	assert_int_equal(reg(RDH), 7);
	assert_int_equal(memory_load(m->memory, RX_RING + 6 * 16 + 12, 1) & 3, 3);
	assert_false(arrive(mac, 100));                   /* no room: the sender keeps it */
	set_reg(RDT, 6);
	fixture_turn(m);
	assert_true(arrive(mac, 100));
	fixture_state_round_trip(card);
	fixture_free(m);
}

static void wild_rings_harm_nobody(void **unused)
{
	struct machine *m = board();
	uint64_t seed = 88172645463325252ull;
	static const uint16_t at[] = { TDBAL, TDBAL + 4, TDLEN, TDH, TDT, RDBAL, RDBAL + 4, RDLEN, RDH, RDT,
				       TCTL, RCTL, CTRL, EECD, 0x20, IMS, ICR, 0xc8, 0x5000 };
	for (unsigned i = 0; i < 20000; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		set_reg(at[seed % ARRAY_SIZE(at)], (uint32_t)(seed >> 20) & (i & 1 ? 0x3ff : UINT32_MAX));
		if (i % 8 == 0)
			memory_store(m->memory, (seed >> 30) % 0x2000, seed, 8);
		if (i % 32 == 0)
			fixture_turn(m);
		arrive(mac, 60 + seed % 3000);
	}
	fixture_state_round_trip(card);
	set_reg(CTRL, 1 << 26);
	set_reg(TDBAL, BAR);                              /* the ring in the card itself */
	set_reg(TDLEN, 128);
	set_reg(TCTL, 2);
	set_reg(TDT, 5);
	fixture_turn(m);
	assert_int_equal(reg(TDH), 5);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eeprom),
		cmocka_unit_test(sends),
		cmocka_unit_test(segments),
		cmocka_unit_test(receives),
		cmocka_unit_test(wild_rings_harm_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
