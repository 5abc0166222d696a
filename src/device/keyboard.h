/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's keyboard, for who types on it. All require the board lock. */
#ifndef DEVICE_KEYBOARD_H
#define DEVICE_KEYBOARD_H

#include "base/error.h"

struct machine;

bool keyboard_create(struct machine *m, struct error *err);
/* Press keys in order and release them: "ctrl-alt-delete", "f2", "shift-a". */
bool keyboard_chord(struct machine *m, const char *chord, struct error *err);
/* One key by name, down or up; an unknown one is an error. */
bool keyboard_key(struct machine *m, const char *name, bool down, struct error *err);
/* Text on a US layout; newline is Enter. */
bool keyboard_type(struct machine *m, const char *text, struct error *err);

#endif
