/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PS/2 keyboard of 102 keys (IBM PS/2 Hardware Interface Technical Reference):
 * scan code set 2, which the controller turns into set 1 where it is told to.
 * Under the board lock.
 */
#include "device/chipset.h"
#include "device/keyboard.h"
#include "device/ps2.h"
#include "machine/machine.h"

enum { QUEUE = 4096, ACK = 0xfa, SELF_TEST_OK = 0xaa, RELEASE = 0xf0, EXTENDED = 0xe0 };

struct keyboard {
	struct device dev;
	uint8_t queue[QUEUE];
	uint16_t head, count;
	uint8_t command;          /* waits for its argument, or 0 */
	uint8_t scan_set;
	bool scanning;
};

/* What set 2 becomes in the controller (its translation table). */
static const uint8_t translated[128] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

/* --- the wire ---------------------------------------------------------------------------- */
static void push(struct keyboard *k, uint8_t byte)
{
	if (k->count < QUEUE)
		k->queue[(k->head + k->count++) % QUEUE] = byte;
}

static uint8_t pop(struct keyboard *k)
{
	uint8_t v = k->queue[k->head];
	k->head = (k->head + 1) % QUEUE;
	k->count--;
	return v;
}

static bool has_byte(void *opaque)
{
	return ((struct keyboard *)opaque)->count;
}

static uint8_t translate(uint8_t v)
{
	return v < 128 ? translated[v] : v == 0x83 ? 0x41 : v == 0x84 ? 0x54 : v;
}

static uint8_t take(void *opaque, bool set1)
{
	struct keyboard *k = opaque;
	uint8_t v = pop(k);
	if (!set1)
		return v;
	if (v == RELEASE && k->count)
		return translate(pop(k)) | 0x80;
	return translate(v);
}

static void defaults(struct keyboard *k)
{
	k->scan_set = 2;
	k->scanning = true;
	k->command = 0;
}

static void argument(struct keyboard *k, uint8_t command, uint8_t v)
{
	push(k, ACK);
	if (command == 0xf0 && v == 0)
		push(k, k->scan_set);
	else if (command == 0xf0 && v <= 3)
		k->scan_set = v;
}

static void command(struct keyboard *k, uint8_t v)
{
	switch (v) {
	case 0xff:
		k->head = k->count = 0;
		defaults(k);
		push(k, ACK);
		push(k, SELF_TEST_OK);
		return;
	case 0xee:
		push(k, 0xee);
		return;
	case 0xed: case 0xf0: case 0xf3:
		k->command = v;
		break;
	case 0xf4:
		k->scanning = true;
		break;
	case 0xf5: case 0xf6:
		defaults(k);
		k->scanning = v == 0xf6;
	}
	push(k, ACK);
	if (v == 0xf2) {
		push(k, 0xab);
		push(k, 0x83);
	}
}

static void from_guest(void *opaque, uint8_t v)
{
	struct keyboard *k = opaque;
	uint8_t waiting = k->command;
	k->command = 0;
	if (waiting && v < 0xed)
		argument(k, waiting, v);
	else
		command(k, v);
}

/* --- pressing ------------------------------------------------------------------------------ */
static bool wanted(void *opaque) { return true; }

static bool full(void *opaque) { return QUEUE - ((struct keyboard *)opaque)->count < 64; }

static void press(void *opaque, const struct key *key, bool down)
{
	struct keyboard *k = opaque;
	if (!k->scanning)
		return;
	if (key->set2 & KEY_EXTENDED)
		push(k, EXTENDED);
	if (!down)
		push(k, RELEASE);
	push(k, (uint8_t)key->set2);
	i8042_poll(k->dev.machine);
}

/* --- device ------------------------------------------------------------------------------- */
static void keyboard_reset(struct device *d)
{
	struct keyboard *k = container_of(d, struct keyboard, dev);
	k->head = k->count = 0;
	defaults(k);
}

static bool keyboard_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct keyboard *k = container_of(d, struct keyboard, dev);
	xfer_bytes(s, k->queue, QUEUE);
	xfer_u16_max(s, &k->head, QUEUE - 1);
	xfer_u16_max(s, &k->count, QUEUE);
	xfer_u8(s, &k->command);
	xfer_u8_max(s, &k->scan_set, 3);
	xfer_bool(s, &k->scanning);
	return state_ok(s);
}

static void keyboard_destroy(struct device *d)
{
	free(container_of(d, struct keyboard, dev));
}

bool ps2_keyboard_create(struct machine *m, struct error *err)
{
	static const struct keyboard_sink sink = { wanted, full, press };
	static const struct ps2_ops wire = { from_guest, has_byte, take };
	static const struct device_ops ops = {
		.name = "ps2-keyboard", .version = 1, .reset = keyboard_reset,
		.xfer = keyboard_xfer, .destroy = keyboard_destroy,
	};
	struct keyboard *k = xnew(struct keyboard);
	device_add(m, &k->dev, &ops, "ps2-keyboard");
	keyboard_reset(&k->dev);
	i8042_attach(m, 0, &wire, k);
	keyboard_register(m, &sink, k);
	return true;
}
