/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 8237A DMA controllers, the PC's cascaded pair with page registers (ports
 * 0x00, 0xc0, 0x80; datasheet 231466).  Only channels 0..3 have somebody who asks;
 * the others are programmed and stay idle.  Under the board lock.
 */
#include "device/i8237.h"

#include "device/chipset.h"
#include "machine/machine.h"

enum { CHANNELS = 4, PAGES = 16, ABOVE_HOLES = 1 };
enum { R_STATUS = 8, R_COMMAND = 8, R_REQUEST, R_MASK_ONE, R_MODE, R_CLEAR_FLIP_FLOP, R_MASTER_CLEAR,
       R_CLEAR_MASK, R_MASK_ALL };
enum { MODE_WRITE = 4 /* to memory */, MODE_READ = 8, MODE_TYPE = 12, MODE_AUTO = 16, MODE_DOWN = 32 };
enum { COMMAND_OFF = 4 };

struct chip {
	struct i8237 *pair;
	uint16_t base[CHANNELS], base_count[CHANNELS];
	uint16_t at[CHANNELS], count[CHANNELS];
	uint8_t mode[CHANNELS];
	uint8_t command, status, mask;
	bool high;                /* the flip-flop: the next byte is a high one */
};

struct i8237 {
	struct device dev;
	struct chip chip[2];      /* 8-bit channels 0..3, 16-bit ones 4..7 */
	uint8_t page[PAGES];
};

static void master_clear(struct chip *c)
{
	c->command = c->status = 0;
	c->mask = 15;
	c->high = false;
}

static uint8_t byte_of(struct chip *c, uint16_t v)
{
	c->high = !c->high;
	return (uint8_t)(c->high ? v : v >> 8);
}

static uint64_t chip_read(void *opaque, uint64_t at, unsigned size)
{
	struct chip *c = opaque;
	at >>= c == &c->pair->chip[1];    /* its registers lie at even ports */
	if (at < 8)
		return byte_of(c, at & 1 ? c->count[at >> 1] : c->at[at >> 1]);
	if (at != R_STATUS)
		return 0;
	uint8_t v = c->status;
	c->status &= 0xf0;                /* terminal counts are cleared by reading */
	return v;
}

static void put_byte(struct chip *c, uint16_t *base, uint16_t *now, uint8_t v)
{
	*base = c->high ? (uint16_t)((*base & 0xff) | v << 8) : (uint16_t)((*base & 0xff00) | v);
	*now = *base;
	c->high = !c->high;
}

static void chip_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct chip *c = opaque;
	uint8_t v = (uint8_t)value, bit = (uint8_t)BIT(v & 3);
	at >>= c == &c->pair->chip[1];
	if (at < 8 && at & 1)
		put_byte(c, &c->base_count[at >> 1], &c->count[at >> 1], v);
	else if (at < 8)
		put_byte(c, &c->base[at >> 1], &c->at[at >> 1], v);
	switch (at) {
	case R_COMMAND:
		c->command = v;
		break;
	case R_MASK_ONE:
		c->mask = v & 4 ? c->mask | bit : c->mask & (uint8_t)~bit;
		break;
	case R_MODE:
		c->mode[v & 3] = v;
		break;
	case R_CLEAR_FLIP_FLOP:
		c->high = false;
		break;
	case R_MASTER_CLEAR:
		master_clear(c);
		break;
	case R_CLEAR_MASK:
		c->mask = 0;
		break;
	case R_MASK_ALL:
		c->mask = v & 15;
	}
}

static uint64_t page_read(void *opaque, uint64_t at, unsigned size) { return ((struct i8237 *)opaque)->page[at]; }

static void page_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	((struct i8237 *)opaque)->page[at] = (uint8_t)value;
}

/* --- for who asks ---------------------------------------------------------------- */
uint32_t i8237_wanted(struct machine *m, unsigned channel, bool to_memory)
{
	const struct chip *c = &m->board_data->dma->chip[0];
	if (c->command & COMMAND_OFF || c->mask >> channel & 1 ||
	    (c->mode[channel] & MODE_TYPE) != (to_memory ? MODE_WRITE : MODE_READ))
		return 0;
	return c->count[channel] + 1u;
}

/* The page register stands still while the address wraps within its 64 KiB. */
static void move_one(struct machine *m, const struct chip *c, unsigned channel, bool to_memory, uint8_t *p)
{
	static const uint8_t page_of[CHANNELS] = { 7, 3, 1, 2 };
	uint64_t gpa = (uint64_t)c->pair->page[page_of[channel]] << 16 | c->at[channel];
	if (to_memory)
		memory_dma_write(m->memory, gpa, p, 1);
	else
		memory_dma_read(m->memory, gpa, p, 1);
}

bool i8237_move(struct machine *m, unsigned channel, bool to_memory, void *data, uint32_t n)
{
	struct chip *c = &m->board_data->dma->chip[0];
	uint8_t *p = data;
	for (uint32_t i = 0; i < n; i++) {
		move_one(m, c, channel, to_memory, p + i);
		c->at[channel] += c->mode[channel] & MODE_DOWN ? 0xffff : 1;
		if (c->count[channel]--)
			continue;
		c->status |= (uint8_t)BIT(channel);
		if (c->mode[channel] & MODE_AUTO) {
			c->at[channel] = c->base[channel];
			c->count[channel] = c->base_count[channel];
		} else {
			c->mask |= (uint8_t)BIT(channel);
		}
		return true;
	}
	return false;
}

/* --- device ------------------------------------------------------------------------ */
static struct i8237 *from_device(struct device *d) { return container_of(d, struct i8237, dev); }

static void i8237_reset(struct device *d)
{
	master_clear(&from_device(d)->chip[0]);
	master_clear(&from_device(d)->chip[1]);
}

static void xfer_chip(struct chip *c, struct state *s)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		uint16_t *words[] = { &c->base[i], &c->base_count[i], &c->at[i], &c->count[i] };
		for (unsigned k = 0; k < ARRAY_SIZE(words); k++)
			xfer_u16(s, words[k]);
		xfer_u8(s, &c->mode[i]);
	}
	xfer_u8(s, &c->command);
	xfer_u8(s, &c->status);
	xfer_u8_max(s, &c->mask, 15);
	xfer_bool(s, &c->high);
}

static bool i8237_xfer(struct device *d, struct state *s, uint32_t version)
{
	xfer_chip(&from_device(d)->chip[0], s);
	xfer_chip(&from_device(d)->chip[1], s);
	xfer_bytes(s, from_device(d)->page, PAGES);
	return state_ok(s);
}

static void i8237_destroy(struct device *d) { free(from_device(d)); }

static const struct io_ops chip_io = { chip_read, chip_write, 1, 1 };
static const struct io_ops page_io = { page_read, page_write, 1, 1 };
static const struct device_ops i8237_ops = {
	.name = "i8237", .version = 1, .reset = i8237_reset, .xfer = i8237_xfer, .destroy = i8237_destroy,
};

bool i8237_create(struct machine *m, struct error *err)
{
	struct i8237 *d = xnew(struct i8237);
	m->board_data->dma = d;
	d->chip[0].pair = d->chip[1].pair = d;
	device_add(m, &d->dev, &i8237_ops, "i8237");
	i8237_reset(&d->dev);
	memory_add_io(m->ports, "dma1", 0x00, 0x10, 0, &chip_io, &d->chip[0]);
	memory_add_io(m->ports, "dma2", 0xc0, 0x20, 0, &chip_io, &d->chip[1]);
	memory_add_io(m->ports, "dma-pages", 0x80, PAGES, ABOVE_HOLES, &page_io, d);
	return true;
}
