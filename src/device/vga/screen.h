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
/* The characters of a text mode, a line a row (to be freed); requires: board lock. */
char *screen_text(struct machine *m, struct error *err);

#endif
