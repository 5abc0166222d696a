/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The "standard VGA" (1234:1111) that firmware and operating systems have
 * drivers for: IBM VGA registers at ports 0x3c0..0x3df, the Bochs display
 * interface at 0x1ce/0x1cf for linear modes, 16 MiB of memory in BAR 0, and a
 * video BIOS in the ROM BAR.  Under the board lock, but BAR 0, which is memory.
 */
#include "device/vga/vga.h"

#include "device/chipset.h"
#include "device/pci_regs.h"
#include "device/vga/screen.h"
#include "machine/machine.h"

enum { PORTS = 0x3c0, NPORTS = 0x20, DISPI_PORTS = 0x1ce };
enum { DISPI_MAX_X = 2560, DISPI_MAX_Y = 1600, DISPI_MIN_ID = 0xb0c0, DISPI_MAX_ID = 0xb0c5 };

static struct vga *from_device(struct device *d) { return container_of(d, struct vga, fn.dev); }

/* --- VGA registers ------------------------------------------------------------------- */
static uint8_t status_1(struct vga *v)
{
	uint64_t in_frame = clock_now(v->fn.dev.machine->clock) % 16666667;
	v->attr_data = false;
	/* vertical retrace for the last 8 % of a frame; else lines of 32 us */
	return in_frame > 15300000 ? 9 : in_frame % 32000 > 26000 ? 1 : 0;
}

static void write_attribute(struct vga *v, uint8_t x)
{
	if (!v->attr_data)
		v->attr_index = x & 0x3f;
	else if ((v->attr_index & 0x1f) < 0x15)
		v->attr[v->attr_index & 0x1f] = x;
	v->attr_data = !v->attr_data;
}

static void write_dac(struct vga *v, uint8_t x)
{
	v->dac[v->dac_write * 3 + v->dac_part] = x;
	if (++v->dac_part == 3) {
		v->dac_part = 0;
		v->dac_write++;
	}
}

static uint8_t read_dac(struct vga *v)
{
	uint8_t x = v->dac[v->dac_read * 3 + v->dac_part];
	if (++v->dac_part == 3) {
		v->dac_part = 0;
		v->dac_read++;
	}
	return x;
}

static void write_crtc(struct vga *v, uint8_t x)
{
	unsigned i = v->crtc_index & 31;
	if (i == 7 && v->crtc[0x11] & 0x80)   /* protected, but for the line compare bit */
		v->crtc[7] = (v->crtc[7] & 0xef) | (x & 0x10);
	else if (i > 7 || !(v->crtc[0x11] & 0x80))
		v->crtc[i] = x;
}

static uint64_t vga_read(void *opaque, uint64_t at, unsigned size)
{
	struct vga *v = opaque;
	switch (at) {
	case 0x00: return v->attr_index;
	case 0x01: return v->attr[v->attr_index & 31];
	case 0x02: return 0x10;           /* a colour monitor */
	case 0x04: return v->seq_index;
	case 0x05: return v->seq[v->seq_index & 7];
	case 0x06: return 0xff;
	case 0x07: return 0;
	case 0x08: return v->dac_write;
	case 0x09: return read_dac(v);
	case 0x0a: return v->feature;
	case 0x0c: return v->misc;
	case 0x0e: return v->gfx_index;
	case 0x0f: return v->gfx[v->gfx_index & 15];
	case 0x14: return v->crtc_index;
	case 0x15: return v->crtc[v->crtc_index & 31];
	case 0x1a: return status_1(v);
	}
	return 0xff;
}

static void vga_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct vga *v = opaque;
	uint8_t x = (uint8_t)value;
	switch (at) {
	case 0x00:
		write_attribute(v, x);
		break;
	case 0x02:
		v->misc = x;
		break;
	case 0x04:
		v->seq_index = x;
		break;
	case 0x05:
		v->seq[v->seq_index & 7] = x;
		break;
	case 0x06:
		break;
	case 0x07:
		v->dac_read = x;
		v->dac_part = 0;
		break;
	case 0x08:
		v->dac_write = x;
		v->dac_part = 0;
		break;
	case 0x09:
		write_dac(v, x);
		break;
	case 0x0e:
		v->gfx_index = x;
		break;
	case 0x0f:
		v->gfx[v->gfx_index & 15] = x;
		break;
	case 0x14:
		v->crtc_index = x;
		break;
	case 0x15:
		write_crtc(v, x);
		break;
	case 0x1a:
		v->feature = x;
	}
}

/* --- linear modes ----------------------------------------------------------------------- */
static uint16_t read_dispi(const struct vga *v)
{
	static const uint16_t caps[] = { [DISPI_XRES] = DISPI_MAX_X, [DISPI_YRES] = DISPI_MAX_Y,
					 [DISPI_BPP] = 32 };
	if (v->dispi_index >= DISPI_REGS)
		return 0;
	if (v->dispi[DISPI_ENABLE] & DISPI_CAPS && v->dispi_index >= DISPI_XRES &&
	    v->dispi_index <= DISPI_BPP)
		return caps[v->dispi_index];
	return v->dispi[v->dispi_index];
}

static void clear(struct vga *v, size_t n)
{
	memset(v->memory, 0, n);
	memory_page_written(v->fn.dev.machine->memory, v->ram, 0, n);
}

/* A mode is only entered whole: what does not fit in memory is made to. */
static void enter_mode(struct vga *v, uint16_t enable)
{
	uint16_t *d = v->dispi, bytes = (uint16_t)((d[DISPI_BPP] + 7) / 8);
	bool was = vga_linear(v);
	d[DISPI_ENABLE] = enable;
	if (!(enable & DISPI_ON) || was)
		return;
	d[DISPI_X] = d[DISPI_Y] = d[DISPI_BANK] = 0;
	d[DISPI_VIRT_WIDTH] = d[DISPI_XRES];
	d[DISPI_VIRT_HEIGHT] = d[DISPI_XRES] && bytes ?
		(uint16_t)MIN(VGA_MEMORY / (d[DISPI_XRES] * bytes), 0xffff) : 0;
	if (!(enable & DISPI_NOCLEAR))
		clear(v, MIN((size_t)d[DISPI_XRES] * d[DISPI_YRES] * bytes, (size_t)VGA_MEMORY));
}

static void write_dispi(struct vga *v, uint16_t x)
{
	uint16_t *d = v->dispi;
	switch (v->dispi_index) {
	case DISPI_ID:
		if (x >= DISPI_MIN_ID && x <= DISPI_MAX_ID)
			d[DISPI_ID] = x;
		break;
	case DISPI_XRES:
		d[DISPI_XRES] = (uint16_t)MIN(x & ~7, DISPI_MAX_X);
		break;
	case DISPI_YRES:
		d[DISPI_YRES] = (uint16_t)MIN(x, DISPI_MAX_Y);
		break;
	case DISPI_BPP:
		if (x == 8 || x == 15 || x == 16 || x == 24 || x == 32)
			d[DISPI_BPP] = x;
		break;
	case DISPI_ENABLE:
		enter_mode(v, x);
		break;
	case DISPI_VIRT_WIDTH:
		d[DISPI_VIRT_WIDTH] = MAX(x, d[DISPI_XRES]);
		break;
	case DISPI_BANK: case DISPI_X: case DISPI_Y:
		d[v->dispi_index] = x;
	}
}

/* The data port is odd, so the bus makes two accesses of a word: low half at
 * offset 1, high half, which counts, at offset 2. */
static uint64_t dispi_read(void *opaque, uint64_t at, unsigned size)
{
	struct vga *v = opaque;
	if (at == 0)
		return v->dispi_index;
	return at == 1 ? read_dispi(v) & 0xff : read_dispi(v) >> (size == 1 ? 8 : 0);
}

static void dispi_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct vga *v = opaque;
	if (at == 0)
		v->dispi_index = (uint16_t)value;
	else if (at == 1)
		v->dispi_low = (uint8_t)value;
	else
		write_dispi(v, size == 1 ? (uint16_t)(value << 8 | v->dispi_low) : (uint16_t)value);
}

/* --- device --------------------------------------------------------------------------------- */
static void vga_reset(struct device *d)
{
	struct vga *v = from_device(d);
	v->misc = v->feature = v->seq_index = v->gfx_index = v->crtc_index = v->attr_index = 0;
	v->attr_data = false;
	memset(v->seq, 0, sizeof(v->seq));
	memset(v->gfx, 0, sizeof(v->gfx));
	memset(v->crtc, 0, sizeof(v->crtc));
	memset(v->attr, 0, sizeof(v->attr));
	memset(v->dispi, 0, sizeof(v->dispi));
	v->dac_part = 0;
	v->dispi_index = 0;
	v->dispi[DISPI_ID] = DISPI_MAX_ID;
	v->dispi[DISPI_BPP] = 8;
	v->dispi[DISPI_MEMORY] = VGA_MEMORY / 65536;
	pci_function_reset(&v->fn);
}

/* Memory up to its last byte that is not zero. */
static void xfer_memory(struct vga *v, struct state *s)
{
	uint32_t n = VGA_MEMORY;
	while (!state_loading(s) && n >= PAGE_SIZE &&
	       !v->memory[n - PAGE_SIZE] && !memcmp(v->memory + n - PAGE_SIZE,
						   v->memory + n - PAGE_SIZE + 1, PAGE_SIZE - 1))
		n -= PAGE_SIZE;
	xfer_u32_max(s, &n, VGA_MEMORY);
	if (state_loading(s) && state_ok(s))
		clear(v, VGA_MEMORY);
	xfer_bytes(s, v->memory, state_ok(s) ? n : 0);
}

static bool vga_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct vga *v = from_device(d);
	pci_xfer(&v->fn, s);
	uint8_t *regs[] = { &v->misc, &v->feature, &v->seq_index, &v->gfx_index, &v->crtc_index,
			    &v->attr_index, &v->dac_read, &v->dac_write, &v->dispi_low };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u8(s, regs[i]);
	xfer_u8_max(s, &v->dac_part, 2);
	xfer_bool(s, &v->attr_data);
	xfer_bytes(s, v->seq, sizeof(v->seq));
	xfer_bytes(s, v->gfx, sizeof(v->gfx));
	xfer_bytes(s, v->crtc, sizeof(v->crtc));
	xfer_bytes(s, v->attr, sizeof(v->attr));
	xfer_bytes(s, v->dac, sizeof(v->dac));
	xfer_u32(s, &v->latch);
	xfer_u16(s, &v->dispi_index);
	for (unsigned i = 0; i < DISPI_REGS; i++)
		xfer_u16(s, &v->dispi[i]);
	xfer_memory(v, s);
	return state_ok(s);
}

static void vga_destroy(struct device *d)
{
	struct vga *v = from_device(d);
	free(v);     /* its memory belongs to the address space */
}

static const struct io_ops ports_io = { vga_read, vga_write, 1, 1 };
static const struct io_ops dispi_io = { dispi_read, dispi_write, 1, 2 };
static const struct device_ops vga_ops = {
	.name = "vga", .version = 1, .reset = vga_reset, .xfer = vga_xfer, .destroy = vga_destroy,
};

static bool render(void *opaque, struct image *img) { return vga_render(opaque, img); }
static char *text(void *opaque) { return vga_text(opaque); }
static const struct screen_ops screen = { render, vga_watch, text };

bool vga_create(struct machine *m, struct error *err)
{
	static const struct pci_ids ids = { 0x1234, 0x1111, 0x1af4, 0x1100, 0x03000002 };
	struct vga *v = xnew(struct vga);
	v->ram = memory_add_hidden(m->memory, "vga", BOARD_VIDEO_RAM, VGA_MEMORY, err);
	if (!v->ram || !pci_function_init_at(m, &v->fn, 1 << 3, &ids, &vga_ops, "vga", err)) {
		free(v);
		return false;
	}
	v->memory = v->ram->host;
	screen_register(m, &screen, v);
	pci_bar_add_ram(&v->fn, 0, PCI_BAR_PREFETCH, v->ram);
	memory_add_io(m->memory, "vga-window", 0xa0000, 0x20000, 2, &vga_window_ops, v);
	memory_add_io(m->ports, "vga", PORTS, NPORTS, 0, &ports_io, v);
	memory_add_io(m->ports, "vga-dispi", DISPI_PORTS, 4, 0, &dispi_io, v);
	vga_reset(&v->fn.dev);
	/* the video BIOS is optional: systems with drivers of their own need none */
	return m->config->video_rom_fd < 0 || pci_rom_add(&v->fn, m->config->video_rom_fd, err);
}
