/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures of a screen, 24 bits a pixel, and PNG files of them. */
#ifndef DISPLAY_IMAGE_H
#define DISPLAY_IMAGE_H

#include "base/error.h"
#include "base/util.h"

struct image { unsigned width, height; uint8_t *rgb; };   /* rgb: owned */

void image_init(struct image *img, unsigned width, unsigned height);
void image_free(struct image *img);
static inline void image_put(struct image *img, unsigned x, unsigned y, uint32_t rgb)
{
	uint8_t *p = img->rgb + ((size_t)y * img->width + x) * 3;
	p[0] = (uint8_t)(rgb >> 16);
	p[1] = (uint8_t)(rgb >> 8);
	p[2] = (uint8_t)rgb;
}
bool image_write_png(const struct image *img, int fd, struct error *err);

#endif
