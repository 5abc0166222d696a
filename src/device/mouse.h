/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's mouse, for who moves it. All require the board lock. */
#ifndef DEVICE_MOUSE_H
#define DEVICE_MOUSE_H

#include "base/error.h"

struct machine;

enum { MOUSE_LEFT = 1, MOUSE_RIGHT = 2, MOUSE_MIDDLE = 4 };

bool mouse_create(struct machine *m, struct error *err);
/* By so many steps; y grows downward, the wheel toward the user. */
bool mouse_move(struct machine *m, int dx, int dy, int wheel, struct error *err);
/* A tablet: places from 0 to TABLET_MAX across the screen, instead of ways. */
enum { TABLET_MAX = 32767 };
struct tablet_sink {
	bool (*wanted)(void *opaque);     /* a driver is at work */
	void (*move)(void *opaque, unsigned x, unsigned y, int wheel, unsigned buttons);
};
void tablet_register(struct machine *m, const struct tablet_sink *ops, void *opaque);
/* False: the guest uses none. */
bool tablet_move(struct machine *m, unsigned x, unsigned y, int wheel, unsigned buttons);

/* Which buttons are down now. */
bool mouse_buttons(struct machine *m, unsigned buttons, struct error *err);

#endif
