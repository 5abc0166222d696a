/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the 82540EM reaches through serial wires: the Microwire EEPROM, 64 words
 * (5.), and the PHY, a Marvell 88E1011 (8.; IEEE 802.3 clause 22).
 */
#include "device/e1000/e1000.h"

enum { EE_SK = 1, EE_CS = 2, EE_DI = 4, EE_DO = 8, EE_REQUEST = 0x40, EE_GRANT = 0x80,
       EE_PRESENT = 0x100 };
enum { EE_OPCODE_READ = 6, EE_COMMAND_BITS = 9, EE_CHECKSUM = 0x3f };
enum { PHY_CONTROL = 0, PHY_STATUS = 1, PHY_ID1 = 2, PHY_ID2 = 3, PHY_ADVERTISE = 4, PHY_PARTNER = 5,
       PHY_1000_CONTROL = 9, PHY_1000_STATUS = 10, PHY_EXTENDED = 15, PHY_SPECIFIC = 16,
       PHY_SPECIFIC_STATUS = 17, PHY_SPECIFIC_CONTROL2 = 20 };
enum { MDIC_WRITE = 1, MDIC_READ = 2, MDIC_READY = 1 << 28, MDIC_INTERRUPT = 1 << 29,
       MDIC_ERROR = 1 << 30 };

/* --- EEPROM -------------------------------------------------------------------- */
void e1000_eeprom_init(struct e1000 *e, uint16_t sub_vendor, uint16_t sub_device)
{
	uint16_t sum = 0;
	for (unsigned i = 0; i < 3; i++)
		e->eeprom[i] = le16_get(e->mac + i * 2);
	e->eeprom[0x0a] = 0x4040;         /* initialization control 1, without IDs of its own */
	e->eeprom[0x0b] = sub_device;
	e->eeprom[0x0c] = sub_vendor;
	e->eeprom[0x0d] = 0x100e;
	e->eeprom[0x0e] = 0x8086;
	e->eeprom[0x0f] = 0x3040;
	for (unsigned i = 0; i < EE_CHECKSUM; i++)
		sum = (uint16_t)(sum + e->eeprom[i]);
	e->eeprom[EE_CHECKSUM] = (uint16_t)(0xbaba - sum);
}

static bool eeprom_reading(const struct e1000 *e)
{
	return e->ee_count == EE_COMMAND_BITS && e->ee_in >> 6 == EE_OPCODE_READ;
}

uint32_t e1000_eecd_read(const struct e1000 *e)
{
	uint32_t v = (e->eecd & (EE_SK | EE_CS | EE_DI | EE_REQUEST)) | EE_PRESENT;
	if (e->eecd & EE_REQUEST)
		v |= EE_GRANT;
	bool bit = !eeprom_reading(e) || e->eeprom[e->ee_out / 16 & 63] >> (15 - e->ee_out % 16) & 1;
	return v | (bit ? EE_DO : 0);
}

/* Bits go in at rising edges and move on at falling ones. */
void e1000_eecd_write(struct e1000 *e, uint32_t v)
{
	bool was = e->eecd & EE_SK, is = v & EE_SK, selected = v & EE_CS;
	if (!selected || !(e->eecd & EE_CS))
		e->ee_count = e->ee_in = 0;
	e->eecd = v;
	if (!selected || was == is)
		return;
	if (is && e->ee_count < EE_COMMAND_BITS) {
		e->ee_in = (uint16_t)(e->ee_in << 1 | !!(v & EE_DI));
		if (e->ee_in)             /* zeros before the start bit do not count */
			e->ee_count++;
		e->ee_out = (uint16_t)((e->ee_in & 63) * 16 - 1);
	} else if (!is && eeprom_reading(e)) {
		e->ee_out++;
	}
}

/* Reading a word in one access (13.4.4): start is bit 0, done bit 4. */
uint32_t e1000_eerd(const struct e1000 *e, uint32_t v)
{
	unsigned word = v >> 8 & 0xff;
	uint16_t data = word < ARRAY_SIZE(e->eeprom) ? e->eeprom[word] : 0xffff;
	return v & 1 ? (uint32_t)data << 16 | (v & 0xff00) | 0x10 : v;
}

/* --- PHY ------------------------------------------------------------------------- */
bool e1000_link_up(const struct e1000 *e)
{
	return e->port.peer && e->port.peer->link_up && !(e->phy[PHY_CONTROL] & 0x0800);
}

void e1000_link_changed(struct e1000 *e)
{
	bool up = e1000_link_up(e);
	e->phy[PHY_STATUS] = (uint16_t)((e->phy[PHY_STATUS] & ~0x24) | (up ? 0x24 : 0));
	e->phy[PHY_SPECIFIC_STATUS] = up ? 0xac00 : 0;    /* 1000 Mb/s, full duplex, resolved */
	e->phy[PHY_1000_STATUS] = up ? 0x3c00 : 0;
	e1000_raise(e, IRQ_LSC);
}

void e1000_phy_reset(struct e1000 *e)
{
	memset(e->phy, 0, sizeof(e->phy));
	e->phy[PHY_CONTROL] = 0x1140;
	e->phy[PHY_STATUS] = 0x7949;
	e->phy[PHY_ID1] = 0x0141;
	e->phy[PHY_ID2] = 0x0c20;
	e->phy[PHY_ADVERTISE] = 0x0de1;
	e->phy[PHY_PARTNER] = 0xcde1;
	e->phy[PHY_1000_CONTROL] = 0x0e00;
	e->phy[PHY_EXTENDED] = 0x3000;
	e->phy[PHY_SPECIFIC] = 0x0360;
	e->phy[PHY_SPECIFIC_CONTROL2] = 0x0d60;
	e1000_link_changed(e);
}

static void phy_write(struct e1000 *e, unsigned reg, uint16_t v)
{
	switch (reg) {
	case PHY_CONTROL:
		if (v & 0x8000)
			e1000_phy_reset(e);
		else
			e->phy[reg] = v & 0x3d40;   /* negotiation ends at once */
		e1000_link_changed(e);
		break;
	case PHY_ADVERTISE: case PHY_1000_CONTROL: case PHY_SPECIFIC: case PHY_SPECIFIC_CONTROL2:
	case 18: case 24: case 29: case 30:
		e->phy[reg] = v;
	}
}

void e1000_mdic(struct e1000 *e, uint32_t v)
{
	unsigned reg = v >> 16 & 31, phy = v >> 21 & 31, op = v >> 26 & 3;
	if (phy != 1 || (op != MDIC_WRITE && op != MDIC_READ))
		v |= MDIC_ERROR;
	else if (op == MDIC_READ)
		v = (v & 0xffff0000) | e->phy[reg];
	else
		phy_write(e, reg, (uint16_t)v);
	e->word[W_MDIC] = v | MDIC_READY;
	if (v & MDIC_INTERRUPT)
		e1000_raise(e, IRQ_MDAC);
}
