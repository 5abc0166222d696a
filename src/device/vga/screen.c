/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's screen, whatever card it has: pictures, text, and a picture kept by
 * somebody else, which is brought up to date while the rows that differ are told.
 */
#include "device/vga/screen.h"

#include "device/chipset.h"
#include "machine/machine.h"

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
	if (!row || !differ(row, to, width, &first, &last)) {
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

void screen_draw(struct screen_watch *w, unsigned width, unsigned height, screen_row *row, void *opaque)
{
	uint32_t room[SCREEN_MAX_X];
	struct run r = { .w = w };
	if (!width || !height || width > SCREEN_MAX_X || height > SCREEN_MAX_Y)
		return;
	resize(w, width, height);
	for (unsigned y = 0; y < height; y++)
		put_row(&r, y, row(opaque, y, room), width);
	flush(&r);
}

bool screen_to_image(struct image *img, unsigned width, unsigned height, screen_row *row, void *opaque)
{
	uint32_t room[SCREEN_MAX_X];
	if (!width || !height || width > SCREEN_MAX_X || height > SCREEN_MAX_Y)
		return false;
	image_init(img, width, height);
	for (unsigned y = 0; y < height; y++) {
		const uint32_t *p = row(opaque, y, room);
		for (unsigned x = 0; x < width; x++)
			image_put(img, x, y, p[x]);
	}
	return true;
}

void screen_register(struct machine *m, const struct screen_ops *ops, void *opaque)
{
	m->board_data->screen = ops;
	m->board_data->screen_card = opaque;
}

static bool missing(struct machine *m, struct error *err)
{
	return !m->board_data->screen &&
	       !error_set(err, 0, "the machine has no screen: give it one with --display headless");
}

bool screen_render(struct machine *m, struct image *img, struct error *err)
{
	return !missing(m, err) && (m->board_data->screen->render(m->board_data->screen_card, img) ||
				    error_set(err, 0, "the screen is off"));
}

char *screen_text(struct machine *m, struct error *err)
{
	if (missing(m, err))
		return NULL;
	char *text = m->board_data->screen->text(m->board_data->screen_card);
	return text ? text : error_null(err, 0, "the screen does not show text: take a picture (.png)");
}

void screen_watch(struct machine *m, struct screen_watch *w)
{
	if (m->board_data->screen)
		m->board_data->screen->watch(m->board_data->screen_card, w);
}
