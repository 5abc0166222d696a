/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The screen as it changes: a picture kept by somebody else is brought up to
 * date, and the rows that differ are told.  A true-colour mode is compared with the
 * video memory itself; the others are drawn only when their memory or registers
 * have changed.
 */
#include "device/vga/screen.h"

#include "device/chipset.h"
#include "device/vga/vga.h"
#include "machine/machine.h"

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

/* The columns in which two rows differ: [*first, *last]; false: in none. */
static bool differ(const uint32_t *a, const uint32_t *b, unsigned n, unsigned *first, unsigned *last)
{
	if (!memcmp(a, b, n * 4ul))
		return false;
	for (*first = 0; *first < n - 1 && a[*first] == b[*first]; ++*first)
		;
	for (*last = n - 1; *last > *first && a[*last] == b[*last]; --*last)
		;
	return true;
}

/* Rows that follow each other become one rectangle. */
struct run { const struct screen_watch *w; unsigned top, rows, first, last; };

static void flush(struct run *r)
{
	if (r->rows)
		r->w->changed(r->w->opaque, r->first, r->top, r->last - r->first + 1, r->rows);
	r->rows = 0;
}

static void put_row(struct run *r, unsigned y, const uint32_t *row, unsigned width)
{
	unsigned first, last;
	uint32_t *to = r->w->picture + (size_t)y * width;
	if (!differ(row, to, width, &first, &last)) {
		flush(r);
		return;
	}
	memcpy(to + first, row + first, (last - first + 1) * 4ul);
	r->first = r->rows ? MIN(r->first, first) : first;
	r->last = r->rows ? MAX(r->last, last) : last;
	r->top = r->rows ? r->top : y;
	r->rows++;
}

static void resize(struct screen_watch *w, unsigned width, unsigned height)
{
	if (w->width == width && w->height == height)
		return;
	w->width = width;
	w->height = height;
	memset(w->picture, 0, (size_t)width * height * 4);
	w->resized(w->opaque, width, height);
}

static bool true_colour(const struct vga *v)
{
	const uint16_t *d = v->dispi;
	return vga_linear(v) && d[DISPI_BPP] == 32 && d[DISPI_XRES] && d[DISPI_YRES] &&
	       ((uint64_t)(d[DISPI_YRES] + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * 4 <= VGA_MEMORY &&
	       d[DISPI_VIRT_WIDTH] >= d[DISPI_XRES];
}

static void update_true_colour(const struct vga *v, struct screen_watch *w)
{
	const uint16_t *d = v->dispi;
	unsigned width = d[DISPI_XRES], height = d[DISPI_YRES];
	struct run r = { .w = w };
	resize(w, width, height);
	for (unsigned y = 0; y < height; y++) {
		size_t at = ((size_t)(y + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * 4;
		put_row(&r, y, (const uint32_t *)(const void *)(v->memory + at), width);
	}
	flush(&r);
}

static void update_drawn(struct vga *v, struct screen_watch *w)
{
	uint64_t now = signature(v);
	struct image img;
	if (w->signature == now || !vga_render(v, &img))
		return;
	w->signature = now;
	if (img.width <= SCREEN_MAX_X && img.height <= SCREEN_MAX_Y) {
		uint32_t row[SCREEN_MAX_X];
		struct run r = { .w = w };
		resize(w, img.width, img.height);
		for (unsigned y = 0; y < img.height; y++) {
			const uint8_t *p = img.rgb + (size_t)y * img.width * 3;
			for (unsigned x = 0; x < img.width; x++, p += 3)
				row[x] = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
			put_row(&r, y, row, img.width);
		}
		flush(&r);
	}
	image_free(&img);
}

void screen_watch(struct machine *m, struct screen_watch *w)
{
	struct vga *v = m->board_data->vga;
	if (v && true_colour(v))
		update_true_colour(v, w);
	else if (v)
		update_drawn(v, w);
}
