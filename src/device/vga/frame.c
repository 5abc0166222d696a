/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA's picture as it changes.  A true-colour mode is compared with the
 * video memory itself; the others are drawn only when their memory or registers
 * have changed.
 */
#include "device/vga/screen.h"

#include "device/vga/vga.h"

enum { LEGACY_BYTES = 256 << 10 };

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;
	for (; n >= 8; n -= 8, b += 8)
		h = (h ^ le64_get(b)) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
	return h;
}

/* What a picture of a mode other than true colour depends on. */
static uint64_t signature(const struct vga *v)
{
	uint64_t h = mix(v->attr_index & 0x20, v->seq, sizeof(v->seq));
	size_t n = vga_linear(v) ? (size_t)VGA_MEMORY : LEGACY_BYTES;
	h = mix(h, v->gfx, sizeof(v->gfx));
	h = mix(h, v->crtc, sizeof(v->crtc));
	h = mix(h, v->attr, sizeof(v->attr));
	h = mix(h, v->dac, sizeof(v->dac));
	h = mix(h, v->dispi, sizeof(v->dispi) & ~7ul);
	return mix(h, v->memory, n);
}

static bool true_colour(const struct vga *v)
{
	const uint16_t *d = v->dispi;
	return vga_linear(v) && d[DISPI_BPP] == 32 && d[DISPI_XRES] && d[DISPI_YRES] &&
	       ((uint64_t)(d[DISPI_YRES] + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * 4 <= VGA_MEMORY &&
	       d[DISPI_VIRT_WIDTH] >= d[DISPI_XRES];
}

/* The rows lie in video memory as they are wanted, but for the top byte. */
static const uint32_t *true_colour_row(void *opaque, unsigned y, uint32_t *room)
{
	const struct vga *v = opaque;
	const uint16_t *d = v->dispi;
	size_t at = ((size_t)(y + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * 4;
	return (const uint32_t *)(const void *)(v->memory + at);
}

static const uint32_t *image_row(void *opaque, unsigned y, uint32_t *room)
{
	const struct image *img = opaque;
	const uint8_t *p = img->rgb + (size_t)y * img->width * 3;
	for (unsigned x = 0; x < img->width; x++, p += 3)
		room[x] = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
	return room;
}

static void update_drawn(struct vga *v, struct screen_watch *w)
{
	uint64_t now = signature(v);
	struct image img;
	if (w->signature == now || !vga_render(v, &img))
		return;
	w->signature = now;
	screen_draw(w, img.width, img.height, image_row, &img);
	image_free(&img);
}

void vga_watch(void *opaque, struct screen_watch *w)
{
	struct vga *v = opaque;
	if (true_colour(v))
		screen_draw(w, v->dispi[DISPI_XRES], v->dispi[DISPI_YRES], true_colour_row, v);
	else
		update_drawn(v, w);
}
