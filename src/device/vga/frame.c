/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA's picture as it changes.  A true-colour mode is compared with the
 * video memory itself; the others are drawn only when their memory or registers
 * have changed.  Where the engine keeps a dirty log, only what it names is looked at.
 */
#include "device/vga/screen.h"

#include "device/vga/vga.h"
#include "machine/machine.h"

enum { LEGACY_BYTES = 256 << 10 };

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t rest[8] = { 0 };
	for (; n >= 8; n -= 8, b += 8)
		h = (h ^ le64_get(b)) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
	memcpy(rest, b, n);
	return (h ^ le64_get(rest)) * 0x9e3779b97f4a7c15ull;
}

/* What a picture depends on but for video memory. */
static uint64_t registers(const struct vga *v)
{
	uint64_t h = mix(v->attr_index & 0x20, v->seq, sizeof(v->seq));
	h = mix(h, v->gfx, sizeof(v->gfx));
	h = mix(h, v->crtc, sizeof(v->crtc));
	h = mix(h, v->attr, sizeof(v->attr));
	h = mix(h, v->dac, sizeof(v->dac));
	return mix(h, v->dispi, sizeof(v->dispi));
}

/* Where the engine's log is cheap, look what was written since the last time. */
static void harvest(struct vga *v)
{
	struct memory *m = v->fn.dev.machine->memory;
	uint64_t bitmap[VGA_MEMORY / PAGE_SIZE / 64];
	if (!memory_dirty_cheap(m)) {
		v->harvest = 0;
		return;
	}
	if (!v->harvest++) {
		memory_dirty_start(m, v->ram, DIRTY_DISPLAY);
		memset(bitmap, 0xff, sizeof(bitmap));
	} else {
		memory_dirty_harvest(m, v->ram, DIRTY_DISPLAY, bitmap);
	}
	for (unsigned p = 0; p < ARRAY_SIZE(v->written); p++)
		if (bitmap[p / 64] >> (p % 64) & 1)
			v->written[p] = v->harvest;
}

/* May bytes of video memory be others than at the harvest `since`? */
static bool written(const struct vga *v, size_t at, size_t n, uint64_t since)
{
	for (size_t p = at / PAGE_SIZE; p <= (at + n - 1) / PAGE_SIZE; p++)
		if (!v->harvest || v->written[p] > since)
			return true;
	return false;
}

static bool true_colour(const struct vga *v)
{
	const uint16_t *d = v->dispi;
	return vga_linear(v) && d[DISPI_BPP] == 32 && d[DISPI_XRES] && d[DISPI_YRES] &&
	       ((uint64_t)(d[DISPI_YRES] + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * 4 <= VGA_MEMORY &&
	       d[DISPI_VIRT_WIDTH] >= d[DISPI_XRES];
}

/* The rows lie in video memory as they are wanted, but for the top byte. */
struct rows { const struct vga *vga; uint64_t since; };

static const uint32_t *true_colour_row(void *opaque, unsigned y, uint32_t *room)
{
	const struct rows *r = opaque;
	const struct vga *v = r->vga;
	const uint16_t *d = v->dispi;
	size_t at = ((size_t)(y + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * 4;
	return written(v, at, d[DISPI_XRES] * 4ul, r->since) ? (const uint32_t *)(const void *)(v->memory + at) : NULL;
}

static const uint32_t *image_row(void *opaque, unsigned y, uint32_t *room)
{
	const struct image *img = opaque;
	const uint8_t *p = img->rgb + (size_t)y * img->width * 3;
	for (unsigned x = 0; x < img->width; x++, p += 3)
		room[x] = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
	return room;
}

/* Without a log, the signature has the memory in it, too. */
static void update_drawn(struct vga *v, struct screen_watch *w, uint64_t now, uint64_t since)
{
	size_t n = vga_linear(v) ? (size_t)VGA_MEMORY : LEGACY_BYTES;
	struct image img;
	if (!v->harvest)
		now = mix(now, v->memory, n);
	if ((w->signature == now && !(v->harvest && written(v, 0, n, since))) || !vga_render(v, &img))
		return;
	w->signature = now;
	w->harvest = v->harvest;
	screen_draw(w, img.width, img.height, image_row, &img);
	image_free(&img);
}

void vga_watch(void *opaque, struct screen_watch *w)
{
	struct vga *v = opaque;
	harvest(v);
	uint64_t now = registers(v), since = w->signature == now ? w->harvest : 0;
	if (!true_colour(v)) {
		update_drawn(v, w, now, since);
		return;
	}
	struct rows rows = { v, since };
	w->signature = now;
	w->harvest = v->harvest;
	screen_draw(w, v->dispi[DISPI_XRES], v->dispi[DISPI_YRES], true_colour_row, &rows);
}
