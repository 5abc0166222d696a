/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel's 82540EM: registers, interrupts, life.
 *
 * Threading: registers under a lock of its own, a leaf below the board lock; the
 * rings are worked through on the I/O loop's thread, where frames come and go.
 * Interrupt moderation (ITR, RADV...) is accepted and not done: what waits for
 * the guest is gathered by the level of the line anyway.
 */
#include "device/e1000/e1000.h"

#include <stdio.h>

#include "device/net.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { STATUS = 0x0008, EECD = 0x0010, ICR = 0x00c0, ICS = 0x00c8,
       IMS = 0x00d0, IMC = 0x00d8 };
enum { MTA = 0x5200, RA = 0x5400, VFTA = 0x5600, STATISTICS = 0x4000, STATISTICS_END = 0x4100 };
enum { CTRL_PHY_RST = 1u << 31, CTRL_EXT_EE_RST = 1 << 13, ST_FULL = 1, ST_UP = 2,
       ST_1000 = 0x80 };

static struct e1000 *from_device(struct device *d) { return container_of(d, struct e1000, fn.dev); }

/* --- interrupts ------------------------------------------------------------------ */
static void update_irq(struct e1000 *e)
{
	pci_intx(&e->fn, e->icr & e->ims);
}

void e1000_raise(struct e1000 *e, uint32_t causes)
{
	e->icr |= causes;
	update_irq(e);
}

static uint32_t read_icr(struct e1000 *e)
{
	uint32_t v = e->icr | (e->icr & e->ims ? 1u << 31 : 0);
	e->icr = 0;
	update_irq(e);
	return v;
}

/* --- work ------------------------------------------------------------------------- */
static void work(void *opaque)
{
	struct e1000 *e = opaque;
	pthread_mutex_lock(&e->lock);
	e->work_posted = false;
	bool room = e->starved && !e->drained;
	e->starved = e->starved && !room;
	pthread_mutex_unlock(&e->lock);
	e1000_transmit(e);
	if (room)
		net_port_room(&e->port);
}

void e1000_post(struct e1000 *e)
{
	if (e->work_posted)
		return;
	e->work_posted = true;
	loop_post(e->fn.dev.machine->loop, work, e);
}

/* --- registers -------------------------------------------------------------------- */
static void soft_reset(struct e1000 *e)
{
	memset(e->word, 0, sizeof(e->word));
	memset(e->mta, 0, sizeof(e->mta));
	memset(e->vfta, 0, sizeof(e->vfta));
	memset(e->ra, 0, sizeof(e->ra));
	e->word[W_CTRL] = 0x9;            /* full duplex, not to be disturbed by link loss */
	e->word[W_PBA] = 0x00100030;
	e->word[W_VET] = 0x8100;
	e->word[W_LEDCTL] = 0x07061302;
	e->word[W_TIPG] = 0x00602008;
	e->ra[0] = le32_get(e->mac);
	e->ra[1] = le16_get(e->mac + 4) | 1u << 31;
	e->icr = e->ims = e->eecd = 0;
	e->ee_count = 0;
	e->ee_in = e->ee_out = 0;
	e->tx_reset = true;
	e->starved = false;
	e1000_phy_reset(e);
	e->icr = 0;
	update_irq(e);
}

static int word_at(uint32_t at)
{
	static const uint16_t offsets[] = {
#define X(name, offset) offset,
		E1000_WORDS(X)
#undef X
	};
	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++)
		if (offsets[i] == at)
			return (int)i;
	return -1;
}

/* The tables of addresses, by offset; NULL: none is there. */
static uint32_t *table_at(struct e1000 *e, uint32_t at)
{
	const struct { uint32_t base, count; uint32_t *words; } tables[] = {
		{ MTA, ARRAY_SIZE(e->mta), e->mta }, { RA, ARRAY_SIZE(e->ra), e->ra },
		{ VFTA, ARRAY_SIZE(e->vfta), e->vfta },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		if (at >= tables[i].base && at - tables[i].base < tables[i].count * 4)
			return &tables[i].words[(at - tables[i].base) / 4];
	return NULL;
}

static uint32_t take_low(uint64_t *count)
{
	uint32_t v = (uint32_t)MIN(*count, (uint64_t)UINT32_MAX);
	*count = 0;
	return v;
}

/* 13.7: those that this card counts; reading clears, of the pairs the high half. */
static uint32_t read_statistics(struct e1000 *e, uint32_t at)
{
	uint32_t high;
	switch (at) {
	case 0x4074: case 0x40d0: return take_low(&e->good_rx);
	case 0x4080: case 0x40d4: return take_low(&e->good_tx);
	case 0x4088: case 0x40c0: return (uint32_t)e->octets_rx;
	case 0x4090: case 0x40c8: return (uint32_t)e->octets_tx;
	case 0x408c: case 0x40c4:
		high = (uint32_t)(e->octets_rx >> 32);
		e->octets_rx = 0;
		return high;
	case 0x4094: case 0x40cc:
		high = (uint32_t)(e->octets_tx >> 32);
		e->octets_tx = 0;
		return high;
	}
	return 0;
}

static uint32_t read_register(struct e1000 *e, uint32_t at)
{
	int w = word_at(at);
	uint32_t *t = table_at(e, at);
	if (w >= 0)
		return e->word[w];
	if (t)
		return *t;
	if (at >= STATISTICS && at < STATISTICS_END)
		return read_statistics(e, at);
	switch (at) {
	case STATUS:
		return ST_FULL | ST_1000 | (e1000_link_up(e) ? ST_UP : 0);
	case EECD:
		return e1000_eecd_read(e);
	case ICR:
		return read_icr(e);
	case ICS: case IMS:
		return e->ims;
	}
	return 0;
}

static void write_ctrl(struct e1000 *e, uint32_t v)
{
	if (v & CTRL_RST) {
		soft_reset(e);
		return;
	}
	if (v & CTRL_PHY_RST)
		e1000_phy_reset(e);
	e->word[W_CTRL] = v & ~(uint32_t)CTRL_PHY_RST;
}

static void write_word(struct e1000 *e, enum e1000_word w, uint32_t v)
{
	e->word[w] = v;
	switch (w) {
	case W_CTRL:
		write_ctrl(e, v);
		break;
	case W_CTRL_EXT:
		e->word[w] = v & ~(uint32_t)CTRL_EXT_EE_RST;
		break;
	case W_EERD:
		e->word[w] = e1000_eerd(e, v);
		break;
	case W_MDIC:
		e1000_mdic(e, v);
		break;
	case W_TDH: case W_TDT: case W_RDH: case W_RDT:
		e->word[w] = v & 0xffff;
		/* fallthrough */
	case W_TCTL: case W_RCTL:
		e1000_post(e);
		break;
	default:
		break;
	}
}

static void write_register(struct e1000 *e, uint32_t at, uint32_t v)
{
	int w = word_at(at);
	uint32_t *t = table_at(e, at);
	if (w >= 0)
		write_word(e, (enum e1000_word)w, v);
	else if (t)
		*t = v;
	else if (at == EECD)
		e1000_eecd_write(e, v & 0x7f);
	else if (at == ICS)
		e1000_raise(e, v & 0x1ffff);
	else if (at == ICR)
		e->icr &= ~v;
	else if (at == IMS)
		e->ims |= v & 0x1ffff;
	else if (at == IMC)
		e->ims &= ~v;
	update_irq(e);
}

static uint64_t mmio_read(void *opaque, uint64_t at, unsigned size)
{
	struct e1000 *e = opaque;
	pthread_mutex_lock(&e->lock);
	uint32_t v = read_register(e, (uint32_t)at);
	pthread_mutex_unlock(&e->lock);
	return v;
}

static void mmio_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct e1000 *e = opaque;
	pthread_mutex_lock(&e->lock);
	write_register(e, (uint32_t)at, (uint32_t)value);
	pthread_mutex_unlock(&e->lock);
}

/* The same registers through an address and a data port (13.1.2). */
static uint64_t port_read(void *opaque, uint64_t at, unsigned size)
{
	struct e1000 *e = opaque;
	if (at == 0)
		return e->io_address;
	return at == 4 && e->io_address < E1000_REGS ? mmio_read(e, e->io_address, 4) : 0;
}

static void port_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct e1000 *e = opaque;
	if (at == 0)
		e->io_address = (uint32_t)value & ~3u;
	else if (at == 4 && e->io_address < E1000_REGS)
		mmio_write(e, e->io_address, value, 4);
}

/* --- the port's side ----------------------------------------------------------------- */
static void port_room(struct net_port *p)
{
	e1000_transmit(container_of(p, struct e1000, port));
}

static void port_link(struct net_port *p)
{
	struct e1000 *e = container_of(p, struct e1000, port);
	pthread_mutex_lock(&e->lock);
	e1000_link_changed(e);
	pthread_mutex_unlock(&e->lock);
}

static void port_destroy(struct net_port *p) { }
static const struct net_port_ops port_ops = {
	.receive = e1000_receive, .room = port_room, .link = port_link, .destroy = port_destroy,
};

/* --- device -------------------------------------------------------------------------- */
static void e1000_reset(struct device *d)
{
	struct e1000 *e = from_device(d);
	pthread_mutex_lock(&e->lock);
	soft_reset(e);
	e->io_address = 0;
	pthread_mutex_unlock(&e->lock);
	pci_function_reset(&e->fn);
}

static void e1000_drain(struct device *d)
{
	struct e1000 *e = from_device(d);
	pthread_mutex_lock(&e->lock);
	e->drained = true;
	pthread_mutex_unlock(&e->lock);
}

static void e1000_undrain(struct device *d)
{
	struct e1000 *e = from_device(d);
	pthread_mutex_lock(&e->lock);
	e->drained = false;
	e->starved = true;                /* a frame may have been refused meanwhile */
	e1000_post(e);
	pthread_mutex_unlock(&e->lock);
}

/* A frame that waits for the network or for its last descriptor travels too. */
static void xfer_tx(struct e1000 *e, struct state *s)
{
	struct e1000_tx *t = &e->tx;
	struct e1000_context *c = &t->context;
	uint8_t *bytes[] = { &c->ipcss, &c->ipcso, &c->tucss, &c->tucso, &c->tucmd, &c->hdrlen,
			     &t->options, &t->sum_start, &t->sum_at };
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		xfer_u8(s, bytes[i]);
	uint16_t *words[] = { &c->ipcse, &c->tucse, &c->mss, &t->tag };
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		xfer_u16(s, words[i]);
	bool *flags[] = { &t->segment, &t->sum, &t->vlan, &t->whole };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	xfer_u32(s, &c->paylen);
	xfer_u32_max(s, &t->sent, TX_FRAME_MAX);
	xfer_blob(s, t->data, &t->len, TX_FRAME_MAX);
}

static bool e1000_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct e1000 *e = from_device(d);
	if (e->tx_reset)
		e->tx.len = e->tx.whole = 0;
	pci_xfer(&e->fn, s);
	xfer_bytes(s, e->mac, 6);
	for (unsigned i = 0; i < W_COUNT; i++)
		xfer_u32(s, &e->word[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(e->ra); i++)
		xfer_u32(s, &e->ra[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(e->mta); i++)
		xfer_u32(s, &e->mta[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(e->vfta); i++)
		xfer_u32(s, &e->vfta[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(e->phy); i++)
		xfer_u16(s, &e->phy[i]);
	uint32_t *regs[] = { &e->icr, &e->ims, &e->eecd, &e->io_address };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u32(s, regs[i]);
	uint64_t *counts[] = { &e->good_rx, &e->good_tx, &e->octets_rx, &e->octets_tx };
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
		xfer_u64(s, counts[i]);
	xfer_u16(s, &e->ee_in);
	xfer_u16(s, &e->ee_out);
	xfer_u8_max(s, &e->ee_count, 9);
	xfer_tx(e, s);
	if (state_loading(s) && state_ok(s)) {
		e->tx_reset = false;
		e1000_eeprom_init(e, le16_get(e->fn.config + PCI_SUB_VENDOR),
				  le16_get(e->fn.config + PCI_SUB_DEVICE));
	}
	return state_ok(s);
}

static void e1000_loaded(struct device *d)
{
	struct e1000 *e = from_device(d);
	pthread_mutex_lock(&e->lock);
	update_irq(e);
	pthread_mutex_unlock(&e->lock);
	e1000_undrain(d);
}

static void e1000_destroy(struct device *d)
{
	struct e1000 *e = from_device(d);
	struct net_port *peer = e->port.peer;
	net_port_destroy(&e->port);
	net_port_destroy(peer);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static const struct io_ops mmio = { mmio_read, mmio_write, 4, 4, true };
static const struct io_ops ports = { port_read, port_write, 4, 4 };
static const struct device_ops e1000_ops = {
	.name = "e1000", .version = 1, .reset = e1000_reset, .xfer = e1000_xfer, .loaded = e1000_loaded,
	.drain = e1000_drain, .undrain = e1000_undrain, .destroy = e1000_destroy,
};

bool e1000_create(struct machine *m, unsigned index, struct net_port *peer, const uint8_t mac[6],
		  struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x100e, 0x8086, 0x001e, 0x02000002 };
	struct e1000 *e = xnew(struct e1000);
	char id[16];
	snprintf(id, sizeof(id), "e1000.%u", index);
	pthread_mutex_init(&e->lock, NULL);
	memcpy(e->mac, mac, 6);
	if (!pci_function_init(m, &e->fn, -1, &ids, &e1000_ops, id, err)) {
		free(e);
		return false;
	}
	pci_bar_add(&e->fn, 0, E1000_REGS, 0, &mmio, e);
	pci_bar_add(&e->fn, 1, 64, PCI_BAR_IO, &ports, e);
	e1000_eeprom_init(e, ids.sub_vendor, ids.sub_device);
	e->port.ops = &port_ops;
	e->port.link_up = true;
	if (peer)
		net_port_connect(&e->port, peer);
	pthread_mutex_lock(&e->lock);
	soft_reset(e);
	pthread_mutex_unlock(&e->lock);
	return true;
}
