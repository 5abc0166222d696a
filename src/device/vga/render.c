/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A picture of what the VGA shows: text with its fonts and cursor, 16-colour
 * planes, 256 colours, or a linear mode.  Sizes come from registers that the
 * guest controls: every address is taken modulo the memory.
 */
#include "device/vga/vga.h"

enum { MAX_TEXT_COLUMNS = 256, MAX_TEXT_ROWS = 128 };

static uint8_t at(const struct vga *v, uint64_t offset) { return v->memory[offset % VGA_MEMORY]; }

/* A DAC entry as 0xRRGGBB; the DAC has 6 bits a colour, or 8 if asked for. */
static uint32_t colour(const struct vga *v, unsigned index)
{
	const uint8_t *c = v->dac + (index & 0xff) * 3;
	if (v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC)
		return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
	uint32_t rgb = 0;
	for (unsigned i = 0; i < 3; i++)
		rgb = rgb << 8 | (uint32_t)((c[i] & 0x3f) << 2 | (c[i] & 0x3f) >> 4);
	return rgb;
}

/* Through the attribute controller's palette (16-colour modes). */
static uint32_t palette(const struct vga *v, unsigned index)
{
	unsigned i = v->attr[index & 15] & 0x3f, select = v->attr[0x14];
	if (v->attr[0x10] & 0x80)
		i = (i & 15) | (select & 3) << 4;
	return colour(v, i | (select & 0xc) << 4);
}

static unsigned scan_lines(const struct vga *v)
{
	return (v->crtc[0x12] | (v->crtc[7] & 2) << 7 | (v->crtc[7] & 0x40) << 3) + 1u;
}

static unsigned start_address(const struct vga *v) { return v->crtc[0xc] << 8 | v->crtc[0xd]; }

/* --- text ------------------------------------------------------------------------------ */
struct text { unsigned columns, rows, width, height, pitch, font[2]; };

static struct text text_mode(const struct vga *v)
{
	static const uint16_t bank[8] = { 0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000 };
	uint8_t f = v->seq[SEQ_FONT];
	struct text t = { .columns = v->crtc[1] + 1u, .height = (v->crtc[9] & 31) + 1u,
			  .width = v->seq[SEQ_CLOCKING] & 1 ? 8 : 9, .pitch = v->crtc[0x13] * 2u };
	t.rows = scan_lines(v) / t.height;
	t.font[0] = bank[(f & 3) | (f >> 2 & 4)];
	t.font[1] = bank[(f >> 2 & 3) | (f >> 3 & 4)];
	return t;
}

static bool cursor_at(const struct vga *v, unsigned cell, unsigned line)
{
	unsigned where = v->crtc[0xe] << 8 | v->crtc[0xf];
	return !(v->crtc[0xa] & 0x20) && cell == where && line >= (v->crtc[0xa] & 31u) &&
	       line <= (v->crtc[0xb] & 31u);
}

static void draw_cell(struct vga *v, const struct text *t, struct image *img, unsigned x, unsigned y)
{
	unsigned cell = start_address(v) + y * t->pitch + x;
	uint8_t ch = at(v, cell * 4ull), attr = at(v, cell * 4ull + 1);
	uint32_t fore = palette(v, attr & 15), back = palette(v, attr >> 4 & (v->attr[0x10] & 8 ? 7 : 15));
	unsigned font = t->font[attr & 8 ? 1 : 0];
	for (unsigned line = 0; line < t->height; line++) {
		unsigned bits = at(v, (font + ch * 32ull + line) * 4 + 2) << 1;
		if (v->attr[0x10] & 4 && (ch & 0xe0) == 0xc0)
			bits |= bits >> 1 & 1;    /* line graphics reach the ninth column */
		if (cursor_at(v, cell, line))
			bits = 0x1ff;
		for (unsigned px = 0; px < t->width; px++)
			image_put(img, x * t->width + px, y * t->height + line,
				  bits >> (8 - px) & 1 ? fore : back);
	}
}

static bool render_text(struct vga *v, struct image *img)
{
	struct text t = text_mode(v);
	if (t.columns > MAX_TEXT_COLUMNS || !t.rows || t.rows > MAX_TEXT_ROWS)
		return false;
	image_init(img, t.columns * t.width, t.rows * t.height);
	for (unsigned y = 0; y < t.rows; y++)
		for (unsigned x = 0; x < t.columns; x++)
			draw_cell(v, &t, img, x, y);
	return true;
}

/* Spaces at the end of a row are cut off; what is not ASCII is a '?'. */
char *vga_text(struct vga *v)
{
	struct text t = text_mode(v);
	if (vga_linear(v) || v->gfx[GFX_MISC] & 1 || !(v->attr_index & 0x20) ||
	    t.columns > MAX_TEXT_COLUMNS || t.rows > MAX_TEXT_ROWS)
		return NULL;
	char *text = xmalloc(t.rows * (t.columns + 1ul) + 1), *p = text;
	for (unsigned y = 0; y < t.rows; y++) {
		char *end = p;
		for (unsigned x = 0; x < t.columns; x++) {
			uint8_t ch = at(v, (start_address(v) + y * t.pitch + x) * 4ull);
			*p++ = ch == 0 ? ' ' : ch >= ' ' && ch < 127 ? (char)ch : '?';
			end = p[-1] == ' ' ? end : p;
		}
		p = end;
		*p++ = '\n';
	}
	*p = 0;
	return text;
}

/* --- graphics ---------------------------------------------------------------------------- */
static bool render_planar(struct vga *v, struct image *img)
{
	unsigned width = (v->crtc[1] + 1u) * 8, pitch = v->crtc[0x13] * 2u;
	unsigned twice = v->crtc[9] & 0x80 || v->crtc[9] & 31 ? 2 : 1, height = scan_lines(v) / twice;
	if (!height)
		return false;
	image_init(img, width, height);
	for (unsigned y = 0; y < height; y++)
		for (unsigned x = 0; x < width; x++) {
			uint64_t cell = (start_address(v) + y * pitch + x / 8) * 4ull;
			unsigned index = 0;
			for (unsigned p = 0; p < 4; p++)
				index |= (at(v, cell + p) >> (7 - x % 8) & 1u) << p;
			image_put(img, x, y, palette(v, index & v->attr[0x12]));
		}
	return true;
}

static bool render_256(struct vga *v, struct image *img)
{
	unsigned width = (v->crtc[1] + 1u) * 4, pitch = v->crtc[0x13] * 8u;
	unsigned height = scan_lines(v) / 2;
	if (!height)
		return false;
	image_init(img, width, height);
	for (unsigned y = 0; y < height; y++)
		for (unsigned x = 0; x < width; x++)
			image_put(img, x, y, colour(v, at(v, start_address(v) * 4ull + y * pitch + x)));
	return true;
}

/* One pixel of a linear mode. */
static uint32_t linear_pixel(const struct vga *v, uint64_t p, unsigned bpp)
{
	unsigned x = at(v, p) | (unsigned)at(v, p + 1) << 8;
	switch (bpp) {
	case 8:
		return colour(v, at(v, p));
	case 15:
		return (x >> 10 & 31) << 19 | (x >> 5 & 31) << 11 | (x & 31) << 3;
	case 16:
		return (x >> 11 & 31) << 19 | (x >> 5 & 63) << 10 | (x & 31) << 3;
	}
	return x | (uint32_t)at(v, p + 2) << 16;
}

static bool render_linear(struct vga *v, struct image *img)
{
	const uint16_t *d = v->dispi;
	unsigned bytes = (d[DISPI_BPP] + 7u) / 8;
	if (!d[DISPI_XRES] || !d[DISPI_YRES])
		return false;
	image_init(img, d[DISPI_XRES], d[DISPI_YRES]);
	for (unsigned y = 0; y < img->height; y++) {
		uint64_t row = ((uint64_t)(y + d[DISPI_Y]) * d[DISPI_VIRT_WIDTH] + d[DISPI_X]) * bytes;
		for (unsigned x = 0; x < img->width; x++)
			image_put(img, x, y, linear_pixel(v, row + x * bytes, d[DISPI_BPP]));
	}
	return true;
}

bool vga_render(struct vga *v, struct image *img)
{
	if (vga_linear(v))
		return render_linear(v, img);
	if (!(v->attr_index & 0x20))
		return false;             /* the attribute controller is blanked */
	if (!(v->gfx[GFX_MISC] & 1))
		return render_text(v, img);
	return v->gfx[GFX_MODE] & 0x40 ? render_256(v, img) : render_planar(v, img);
}
