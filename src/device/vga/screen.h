/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's screen, for who looks at it. */
#ifndef DEVICE_VGA_SCREEN_H
#define DEVICE_VGA_SCREEN_H

#include "base/error.h"
#include "display/image.h"

struct machine;

bool vga_create(struct machine *m, struct error *err);
/* What it shows now; requires: board lock. The image is the caller's. */
bool screen_render(struct machine *m, struct image *img, struct error *err);
/*
 * Keep a picture (rows of `width` words 0x00RRGGBB, up to SCREEN_MAX_X by
 * SCREEN_MAX_Y) like the screen; what has changed is told. Requires: board lock.
 */
enum { SCREEN_MAX_X = 2560, SCREEN_MAX_Y = 1600 };
struct screen_watch {
	uint32_t *picture;
	unsigned width, height;
	uint64_t signature;       /* of what was drawn last */
	uint64_t harvest;         /* the card's last one that the picture has */
	void *opaque;
	void (*changed)(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height);
	void (*resized)(void *opaque, unsigned width, unsigned height);
};
void screen_watch(struct machine *m, struct screen_watch *w);

/* What a graphics card gives: NULL and false where there is no picture or no text. */
struct screen_ops {
	bool (*render)(void *opaque, struct image *img);
	void (*watch)(void *opaque, struct screen_watch *w);
	char *(*text)(void *opaque);
};
void screen_register(struct machine *m, const struct screen_ops *ops, void *opaque);
/* A row of the picture, 0x00RRGGBB each: where it is, or in `room`. NULL, for screen_draw()
 * only: it is what it was. */
typedef const uint32_t *screen_row(void *opaque, unsigned y, uint32_t *room);
/* For `watch`: bring the picture up to date. */
void screen_draw(struct screen_watch *w, unsigned width, unsigned height, screen_row *row, void *opaque);
/* For `render`. */
bool screen_to_image(struct image *img, unsigned width, unsigned height, screen_row *row, void *opaque);
/* The characters of a text mode, a line a row (to be freed); requires: board lock. */
char *screen_text(struct machine *m, struct error *err);

#endif
