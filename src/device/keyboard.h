/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's keyboard, for who types on it. All require the board lock. */
#ifndef DEVICE_KEYBOARD_H
#define DEVICE_KEYBOARD_H

#include <stdint.h>
#include "base/error.h"

struct machine;

bool ps2_keyboard_create(struct machine *m, struct error *err);

/* A key in the words of those that carry it; set2 has KEY_EXTENDED behind E0. */
enum { KEY_EXTENDED = 0x100 };
struct key { const char *name; uint16_t set2; uint8_t code, hid; };
const struct key *keyboard_keys(unsigned *n);

/* What a keyboard of the machine gives. wanted: a driver is at work; full: it does not
 * take what has been pressed. */
struct keyboard_sink {
	bool (*wanted)(void *opaque);
	bool (*full)(void *opaque);
	void (*press)(void *opaque, const struct key *key, bool down);
};
void keyboard_register(struct machine *m, const struct keyboard_sink *ops, void *opaque);

/* Press keys in order and release them: "ctrl-alt-delete", "f2", "shift-a". */
bool keyboard_chord(struct machine *m, const char *chord, struct error *err);
/* One key by name, down or up; an unknown one is an error. */
bool keyboard_key(struct machine *m, const char *name, bool down, struct error *err);
/* Text on a US layout; newline is Enter. */
bool keyboard_type(struct machine *m, const char *text, struct error *err);

#endif
