/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's keyboard, for who types on it. All require the board lock. */
#ifndef DEVICE_KEYBOARD_H
#define DEVICE_KEYBOARD_H

#include <stddef.h>
#include <stdint.h>
#include "base/error.h"

struct machine;

bool ps2_keyboard_create(struct machine *m, struct error *err);

/* typist.c: presses what is given to it in turn, at a typist's pace. It is made after the
 * keyboards. */
bool typist_create(struct machine *m, struct error *err);
bool typist_press(struct machine *m, const char *chord, struct error *err);
bool typist_has_room(struct machine *m, size_t keys, struct error *err);
/* Keys that wait for their turn. */
unsigned typist_waiting(struct machine *m);

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

/* Press keys in order and release them, now: "ctrl-alt-delete", "f2", "shift-a". */
bool keyboard_press(struct machine *m, const char *chord, struct error *err);
/* The same after all that is still to be typed. */
bool keyboard_chord(struct machine *m, const char *chord, struct error *err);
/* One key by name, now, down or up; an unknown one is an error. */
bool keyboard_key(struct machine *m, const char *name, bool down, struct error *err);
/* Text on a US layout, by and by; newline is Enter. With an unknown character nothing is typed. */
bool keyboard_type(struct machine *m, const char *text, struct error *err);

#endif
