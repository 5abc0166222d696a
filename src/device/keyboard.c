/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys pressed by name ("ctrl-alt-delete") or as text of a US layout, on the
 * keyboard that the guest uses: of those whose drivers are at work, the one made
 * last.  Under the board lock, on the I/O loop.
 */
#include "device/keyboard.h"

#include <stdio.h>

#include "device/chipset.h"
#include "machine/machine.h"

enum { E = KEY_EXTENDED, CHORD_MAX = 4 };

/* Name, PS/2 scan code of set 2, Linux's code, HID usage (page 7). */
static const struct key keys[] = {
	{ "a", 0x1c, 30, 0x04 }, { "b", 0x32, 48, 0x05 }, { "c", 0x21, 46, 0x06 }, { "d", 0x23, 32, 0x07 },
	{ "e", 0x24, 18, 0x08 }, { "f", 0x2b, 33, 0x09 }, { "g", 0x34, 34, 0x0a }, { "h", 0x33, 35, 0x0b },
	{ "i", 0x43, 23, 0x0c }, { "j", 0x3b, 36, 0x0d }, { "k", 0x42, 37, 0x0e }, { "l", 0x4b, 38, 0x0f },
	{ "m", 0x3a, 50, 0x10 }, { "n", 0x31, 49, 0x11 }, { "o", 0x44, 24, 0x12 }, { "p", 0x4d, 25, 0x13 },
	{ "q", 0x15, 16, 0x14 }, { "r", 0x2d, 19, 0x15 }, { "s", 0x1b, 31, 0x16 }, { "t", 0x2c, 20, 0x17 },
	{ "u", 0x3c, 22, 0x18 }, { "v", 0x2a, 47, 0x19 }, { "w", 0x1d, 17, 0x1a }, { "x", 0x22, 45, 0x1b },
	{ "y", 0x35, 21, 0x1c }, { "z", 0x1a, 44, 0x1d }, { "0", 0x45, 11, 0x27 }, { "1", 0x16, 2, 0x1e },
	{ "2", 0x1e, 3, 0x1f }, { "3", 0x26, 4, 0x20 }, { "4", 0x25, 5, 0x21 }, { "5", 0x2e, 6, 0x22 },
	{ "6", 0x36, 7, 0x23 }, { "7", 0x3d, 8, 0x24 }, { "8", 0x3e, 9, 0x25 }, { "9", 0x46, 10, 0x26 },
	{ "`", 0x0e, 41, 0x35 }, { "minus", 0x4e, 12, 0x2d }, { "=", 0x55, 13, 0x2e }, { "\\", 0x5d, 43, 0x31 },
	{ "[", 0x54, 26, 0x2f }, { "]", 0x5b, 27, 0x30 }, { ";", 0x4c, 39, 0x33 }, { "'", 0x52, 40, 0x34 },
	{ ",", 0x41, 51, 0x36 }, { ".", 0x49, 52, 0x37 }, { "/", 0x4a, 53, 0x38 }, { "space", 0x29, 57, 0x2c },
	{ "backspace", 0x66, 14, 0x2a }, { "tab", 0x0d, 15, 0x2b }, { "enter", 0x5a, 28, 0x28 }, { "esc", 0x76, 1, 0x29 },
	{ "caps", 0x58, 58, 0x39 }, { "shift", 0x12, 42, 0xe1 }, { "ctrl", 0x14, 29, 0xe0 }, { "alt", 0x11, 56, 0xe2 },
	{ "altgr", E | 0x11, 100, 0xe6 }, { "win", E | 0x1f, 125, 0xe3 }, { "menu", E | 0x2f, 127, 0x65 }, { "f1", 0x05, 59, 0x3a },
	{ "f2", 0x06, 60, 0x3b }, { "f3", 0x04, 61, 0x3c }, { "f4", 0x0c, 62, 0x3d }, { "f5", 0x03, 63, 0x3e },
	{ "f6", 0x0b, 64, 0x3f }, { "f7", 0x83, 65, 0x40 }, { "f8", 0x0a, 66, 0x41 }, { "f9", 0x01, 67, 0x42 },
	{ "f10", 0x09, 68, 0x43 }, { "f11", 0x78, 87, 0x44 }, { "f12", 0x07, 88, 0x45 }, { "insert", E | 0x70, 110, 0x49 },
	{ "home", E | 0x6c, 102, 0x4a }, { "pageup", E | 0x7d, 104, 0x4b }, { "delete", E | 0x71, 111, 0x4c }, { "del", E | 0x71, 111, 0x4c },
	{ "end", E | 0x69, 107, 0x4d }, { "pagedown", E | 0x7a, 109, 0x4e }, { "up", E | 0x75, 103, 0x52 }, { "left", E | 0x6b, 105, 0x50 },
	{ "down", E | 0x72, 108, 0x51 }, { "right", E | 0x74, 106, 0x4f },
};

const struct key *keyboard_keys(unsigned *n)
{
	*n = ARRAY_SIZE(keys);
	return keys;
}

void keyboard_register(struct machine *m, const struct keyboard_sink *ops, void *opaque)
{
	struct board *b = m->board_data;
	for (unsigned i = 0; i < ARRAY_SIZE(b->keyboard); i++) {
		if (b->keyboard[i].ops)
			continue;
		b->keyboard[i].ops = ops;
		b->keyboard[i].opaque = opaque;
		return;
	}
}

struct target { const struct keyboard_sink *ops; void *opaque; };

static bool ready(struct machine *m, struct target *t, struct error *err)
{
	struct board *b = m->board_data;
	*t = (struct target){ NULL };
	for (unsigned i = 0; i < ARRAY_SIZE(b->keyboard); i++)
		if (b->keyboard[i].ops && b->keyboard[i].ops->wanted(b->keyboard[i].opaque))
			*t = (struct target){ b->keyboard[i].ops, b->keyboard[i].opaque };
	if (!t->ops)
		return error_set(err, 0, "the machine has no keyboard: give it a screen with --display headless");
	return !t->ops->full(t->opaque) || error_set(err, 0, "the machine does not read its keyboard");
}

static const struct key *find_key(const char *name, size_t n)
{
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == n && !memcmp(keys[i].name, name, n))
			return &keys[i];
	return NULL;
}

bool keyboard_key(struct machine *m, const char *name, bool down, struct error *err)
{
	struct target t;
	const struct key *key = find_key(name, strlen(name));
	if (!ready(m, &t, err))
		return false;
	if (!key)
		return error_set(err, 0, "'%.40s' is not a key", name);
	t.ops->press(t.opaque, key, down);
	return true;
}

/* How many keys it has; 0 if one of them is none. */
static unsigned keys_of(const char *chord, const struct key *key[CHORD_MAX], struct error *err)
{
	unsigned n = 0;
	for (const char *p = chord; *p || !n; ) {
		size_t len = strcspn(p, "-");
		const struct key *k = find_key(p, len);
		if (!k || n == CHORD_MAX) {
			error_set(err, 0, "'%.40s' is not a key: write names joined by '-', as in ctrl-alt-delete, f2, enter", chord);
			return 0;
		}
		key[n++] = k;
		p += len + (p[len] == '-');
	}
	return n;
}

bool keyboard_press(struct machine *m, const char *chord, struct error *err)
{
	struct target t;
	const struct key *key[CHORD_MAX];
	unsigned n = ready(m, &t, err) ? keys_of(chord, key, err) : 0;
	for (unsigned i = 0; i < n; i++)
		t.ops->press(t.opaque, key[i], true);
	for (unsigned i = n; i--; )
		t.ops->press(t.opaque, key[i], false);
	return n;
}

bool keyboard_chord(struct machine *m, const char *chord, struct error *err)
{
	struct target t;
	const struct key *key[CHORD_MAX];
	return ready(m, &t, err) && keys_of(chord, key, err) && typist_press(m, chord, err);
}

/* A character of a US layout as a chord; false if no key gives it. */
static bool chord_of(char c, char chord[16])
{
	static const char shifted[] = "~!@#$%^&*()_+{}|:\"<>?", plain[] = "`1234567890-=[]\\;',./";
	const char *s = strchr(shifted, c);
	bool shift = (c >= 'A' && c <= 'Z') || s;
	char key = s ? plain[s - shifted] : c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	const char one[2] = { key, 0 };
	const char *name = key == ' ' ? "space" : key == '\n' ? "enter" : key == '\t' ? "tab" :
			   key == '-' ? "minus" : one;
	snprintf(chord, 16, "%s%s", shift ? "shift-" : "", name);
	return c && find_key(name, strlen(name));
}

bool keyboard_type(struct machine *m, const char *text, struct error *err)
{
	struct target t;
	char chord[16];
	if (!ready(m, &t, err) || !typist_has_room(m, strlen(text), err))
		return false;
	for (const char *p = text; *p; p++)
		if (!chord_of(*p, chord))
			return error_set(err, 0, "the US keyboard has no key for the character 0x%02x", (uint8_t)*p);
	for (; *text; text++)
		if (!chord_of(*text, chord) || !typist_press(m, chord, err))
			return false;
	return true;
}
