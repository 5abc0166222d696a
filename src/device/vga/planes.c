/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA's window at 0xa0000 (IBM PS/2 Video Subsystem reference; FreeVGA): four
 * planes behind latches, odd/even addressing for text, chain-4 for 256 colours,
 * or one bank of the linear framebuffer.
 */
#include "device/vga/vga.h"

#include "machine/machine.h"

enum { PLANE_BYTES = VGA_MEMORY / 4, CHAIN4 = 8, ODD_EVEN = 0x10, READ_COMPARE = 8 };

/* Address within video memory, or -1 where the window is not mapped. */
static int64_t window_offset(const struct vga *v, uint64_t at)
{
	static const struct { uint32_t base, size; } map[4] = {
		{ 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 },
	};
	unsigned m = v->gfx[GFX_MISC] >> 2 & 3;
	if (at < map[m].base || at - map[m].base >= map[m].size)
		return -1;
	return (int64_t)(at - map[m].base);
}

static uint8_t *banked(struct vga *v, uint64_t offset)
{
	uint64_t at = v->dispi[DISPI_BANK] * 0x10000ull + (offset & 0xffff);
	return at < VGA_MEMORY ? v->memory + at : NULL;
}

static uint32_t *cell(struct vga *v, uint64_t n)
{
	return (uint32_t *)(void *)(v->memory + n % PLANE_BYTES * 4);
}

/* Each plane's byte in one bit: all ones where bit p is set. */
static uint32_t spread(unsigned bits)
{
	return (bits & 1 ? 0xffu : 0) | (bits & 2 ? 0xff00u : 0) | (bits & 4 ? 0xff0000u : 0) |
	       (bits & 8 ? 0xff000000u : 0);
}

static uint8_t read_planes(struct vga *v, uint64_t n)
{
	v->latch = le32toh(*cell(v, n));
	if (!(v->gfx[GFX_MODE] & READ_COMPARE))
		return (uint8_t)(v->latch >> (v->gfx[GFX_READ_MAP] & 3) * 8);
	uint32_t diff = (v->latch ^ spread(v->gfx[GFX_COMPARE])) & spread(v->gfx[GFX_DONT_CARE]);
	return (uint8_t)~(diff | diff >> 8 | diff >> 16 | diff >> 24);
}

static uint8_t read_byte(struct vga *v, uint64_t at)
{
	int64_t off = window_offset(v, at);
	if (off < 0)
		return 0xff;
	if (vga_linear(v)) {
		uint8_t *p = banked(v, (uint64_t)off);
		return p ? *p : 0xff;
	}
	if (v->seq[SEQ_MODE] & CHAIN4)
		return v->memory[off];
	if (v->gfx[GFX_MODE] & ODD_EVEN)
		return v->memory[(off & ~1ll) * 2 + ((v->gfx[GFX_READ_MAP] & 2) | (off & 1))];
	return read_planes(v, (uint64_t)off);
}

/* The same memory may be seen through BAR 0, and be watched there. */
static void touched(struct vga *v, uint64_t offset)
{
	memory_page_written(v->fn.dev.machine->memory, v->ram, ALIGN_DOWN(offset, 4), 4);
}

static uint32_t logic(const struct vga *v, uint32_t value)
{
	switch (v->gfx[GFX_ROTATE] >> 3 & 3) {
	case 1:
		return value & v->latch;
	case 2:
		return value | v->latch;
	case 3:
		return value ^ v->latch;
	}
	return value;
}

/* Write modes 0 to 3. */
static void write_planes(struct vga *v, uint64_t n, uint8_t byte)
{
	unsigned mode = v->gfx[GFX_MODE] & 3, turn = v->gfx[GFX_ROTATE] & 7;
	uint8_t mask = v->gfx[GFX_BIT_MASK];
	uint8_t rotated = (uint8_t)(byte >> turn | byte << (8 - turn));
	uint32_t enable = spread(v->gfx[GFX_ENABLE_SR]), set = spread(v->gfx[GFX_SET_RESET]);
	uint32_t value = v->latch;
	if (mode == 0)
		value = logic(v, (rotated * 0x01010101u & ~enable) | (set & enable));
	else if (mode == 2)
		value = logic(v, spread(byte));
	else if (mode == 3)
		value = logic(v, set);
	if (mode == 3)
		mask &= rotated;
	if (mode != 1)
		value = (value & mask * 0x01010101u) | (v->latch & ~(mask * 0x01010101u));
	uint32_t planes = spread(v->seq[SEQ_MASK]);
	*cell(v, n) = htole32((le32toh(*cell(v, n)) & ~planes) | (value & planes));
	touched(v, n % PLANE_BYTES * 4);
}

static void write_byte(struct vga *v, uint64_t at, uint8_t byte)
{
	int64_t off = window_offset(v, at);
	if (off < 0)
		return;
	if (vga_linear(v)) {
		uint8_t *p = banked(v, (uint64_t)off);
		if (p) {
			*p = byte;
			touched(v, (uint64_t)(p - v->memory));
		}
	} else if (v->seq[SEQ_MODE] & CHAIN4) {
		if (v->seq[SEQ_MASK] >> (off & 3) & 1)
			v->memory[off] = byte;
		touched(v, (uint64_t)off);
	} else if (v->gfx[GFX_MODE] & ODD_EVEN) {
		unsigned plane = (v->gfx[GFX_READ_MAP] & 2) | (off & 1);
		if (v->seq[SEQ_MASK] >> plane & 1)
			v->memory[(off & ~1ll) * 2 + plane] = byte;
		touched(v, (uint64_t)(off & ~1ll) * 2);
	} else {
		write_planes(v, (uint64_t)off, byte);
	}
}

static uint64_t window_read(void *opaque, uint64_t at, unsigned size)
{
	return read_byte(opaque, at);
}

static void window_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	write_byte(opaque, at, (uint8_t)value);
}

const struct io_ops vga_window_ops = { window_read, window_write, 1, 1 };
