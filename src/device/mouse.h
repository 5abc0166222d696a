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
/* Which buttons are down now. */
bool mouse_buttons(struct machine *m, unsigned buttons, struct error *err);

#endif
