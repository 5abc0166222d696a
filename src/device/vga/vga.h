/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA's state, shared by its files: registers (vga.c), the window at
 * 0xa0000 (planes.c), and turning all of it into a picture (render.c).
 */
#ifndef DEVICE_VGA_VGA_H
#define DEVICE_VGA_VGA_H

#include "device/pci.h"
#include "display/image.h"

enum { VGA_MEMORY = 16 << 20, DISPI_REGS = 11 };
enum { SEQ_CLOCKING = 1, SEQ_MASK = 2, SEQ_FONT = 3, SEQ_MODE = 4 };
enum { GFX_SET_RESET = 0, GFX_ENABLE_SR = 1, GFX_COMPARE = 2, GFX_ROTATE = 3, GFX_READ_MAP = 4,
       GFX_MODE = 5, GFX_MISC = 6, GFX_DONT_CARE = 7, GFX_BIT_MASK = 8 };
enum { DISPI_ID, DISPI_XRES, DISPI_YRES, DISPI_BPP, DISPI_ENABLE, DISPI_BANK, DISPI_VIRT_WIDTH,
       DISPI_VIRT_HEIGHT, DISPI_X, DISPI_Y, DISPI_MEMORY };
enum { DISPI_ON = 1, DISPI_CAPS = 2, DISPI_8BIT_DAC = 0x20, DISPI_NOCLEAR = 0x80 };

struct vga {
	struct pci_function fn;
	struct ram_slot *ram;     /* the guest maps it by BAR 0 */
	uint8_t *memory;          /* the same; byte 4 * n + p: plane p of address n */
	uint8_t misc, feature;
	uint8_t seq_index, gfx_index, crtc_index, attr_index;
	bool attr_data;           /* port 0x3c0 takes data next */
	uint8_t seq[8], gfx[16], crtc[32], attr[32];
	uint8_t dac[768], dac_read, dac_write, dac_part;
	uint32_t latch;
	uint16_t dispi_index, dispi[DISPI_REGS];
	uint8_t dispi_low;        /* first half of a write to the odd data port */
	/* Where the engine keeps a dirty log: the number of the harvest that found a page
	 * written last. Harvests are counted from 1; 0: there is no log. */
	uint64_t harvest, written[VGA_MEMORY / PAGE_SIZE];
};

static inline bool vga_linear(const struct vga *v) { return v->dispi[DISPI_ENABLE] & DISPI_ON; }

/* The window at 0xa0000, 128 KiB. */
extern const struct io_ops vga_window_ops;
/* What a monitor would show; the image is the caller's. */
bool vga_render(struct vga *v, struct image *img);
struct screen_watch;
void vga_watch(void *opaque, struct screen_watch *w);
/* The characters of a text mode (to be freed), NULL in graphics. */
char *vga_text(struct vga *v);

#endif
