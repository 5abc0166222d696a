/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile rings for the USB controller: the input is a list of 8-byte operations:
 * TRBs, contexts, ring pointers, doorbells, registers, keys.  What is saved at the
 * end loads again.
 */
#include "device/chipset.h"
#include "device/keyboard.h"
#include "device/mouse.h"
#include "device/usb/xhci.h"
#include "lib/fuzz.h"
#include "virtio_guest.h"

enum { COMMANDS = 0x10000, EVENTS = 0x11000, TABLE = 0x12000, CONTEXTS = 0x13000, INPUT = 0x14000, OUTPUT = 0x15000,
       TRANSFERS = 0x18000, AREA = 0x20000 };
enum { OP_COMMAND, OP_TRANSFER, OP_INPUT, OP_POKE, OP_DOORBELL, OP_REG, OP_KEY, OP_MOVE, OP_SETUP, OPS };

/* Keys are pressed at once here: the one who waits between them needs a whole board. */
bool typist_press(struct machine *m, const char *chord, struct error *err) { return false; }
bool typist_has_room(struct machine *m, size_t keys, struct error *err) { return false; }

static struct guest g;
static unsigned command_at, transfer_at;

static void reg(unsigned at, uint64_t v) { g_set(&g, at, v, 4); }

static void set_up(void)
{
	memset(g_ptr(&g, COMMANDS), 0, AREA - COMMANDS);
	le64_put(g_ptr(&g, TABLE), EVENTS);
	le32_put(g_ptr(&g, TABLE + 8), 64);
	for (unsigned i = 0; i < 9; i++)
		le64_put(g_ptr(&g, CONTEXTS + i * 8), OUTPUT + i * 0x400);
	command_at = transfer_at = 0;
	reg(0x40, 2);
	reg(0x40 + 0x38, 8);
	reg(0x40 + 0x30, CONTEXTS);
	reg(0x40 + 0x18, COMMANDS | 1);
	reg(0x1028, 1);
	reg(0x1038, EVENTS);
	reg(0x1030, TABLE);
	reg(0x1034, 0);
	reg(0x1020, 2);
	reg(0x40, 5);
	reg(0x440, 0x10);
	reg(0x450, 0x10);
}

static void put_trb(uint64_t at, uint64_t parameter, uint32_t status, uint32_t control)
{
	le64_put(g_ptr(&g, at), parameter);
	le32_put(g_ptr(&g, at + 8), status);
	le32_put(g_ptr(&g, at + 12), control);
}

/* An input context that could be right, then one word of it as the input wants. */
static void input_context(const uint8_t *p)
{
	memset(g_ptr(&g, INPUT), 0, 0x200);
	le32_put(g_ptr(&g, INPUT + 4), p[2] & 1 ? 3 : 1 | 1 << 3);
	le32_put(g_ptr(&g, INPUT + 0x20), 3u << 27);
	le32_put(g_ptr(&g, INPUT + 0x24), (1u + (p[3] & 1)) << 16);
	for (unsigned dci = 1; dci < 4; dci++)
		le64_put(g_ptr(&g, INPUT + 0x20 * (dci + 1) + 8), TRANSFERS | 1);
	if (p[3] & 2)
		le32_put(g_ptr(&g, INPUT + (p[1] & 0x7f) * 4), le32_get(p + 4));
	transfer_at = 0;
}

static void operate(const uint8_t *p)
{
	static const uint8_t types[] = { TRB_ENABLE_SLOT, TRB_ADDRESS, TRB_CONFIGURE, TRB_EVALUATE, TRB_RESET_EP, TRB_STOP_EP,
		TRB_SET_DEQUEUE, TRB_RESET_DEVICE, TRB_NO_OP_COMMAND, TRB_DISABLE_SLOT, TRB_LINK };
	uint32_t v = le32_get(p + 4), slot = 1 + p[3] % 3u;
	unsigned n;
	const struct key *key = keyboard_keys(&n);
	switch (p[0] % OPS) {
	case OP_COMMAND: {
		unsigned type = types[p[1] % sizeof(types)];
		uint64_t parameter = type == TRB_LINK || type == TRB_SET_DEQUEUE ? COMMANDS + (v & 0x8ff1) : INPUT;
		put_trb(COMMANDS + command_at % 0x100 * 16, parameter, v,
			type << 10 | slot << 24 | (p[2] & 31u) << 16 | 1 | (p[2] & 0x80 ? 2 : 0));
		command_at++;
		reg(0x2000, 0);
		break;
	}
	case OP_TRANSFER:
		put_trb(TRANSFERS + transfer_at++ % 0x100 * 16, p[2] & 1 ? 0x0012000001000680 : v % AREA, v & 0x101ff,
			(p[1] % 9u) << 10 | (p[2] & 0x76) | 1);
		break;
	case OP_INPUT: input_context(p); break;
	case OP_POKE: le32_put(g_ptr(&g, COMMANDS + (le16_get(p + 1) & 0xfffc)), v); break;
	case OP_DOORBELL: reg(0x2000 + slot * 4, p[1] & 3 ? 1 + (p[1] & 2u) : v & 255); break;
	case OP_REG: g_set(&g, (p[1] & 0x7cu) + (unsigned[]){ 0x40, 0x440, 0x1000, 0x2000 }[p[2] & 3], v, 4); break;
	case OP_KEY: keyboard_key(&g.m, key[p[1] % n].name, p[2] & 1, NULL); break;
	case OP_MOVE: tablet_move(&g.m, le16_get(p + 1), le16_get(p + 3), (int8_t)p[5], p[6]); break;
	case OP_SETUP: set_up(); break;
	}
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const uint8_t ops[][8] = {
		{ OP_SETUP }, { OP_COMMAND, 0 }, { OP_INPUT, 0, 1, 0 }, { OP_COMMAND, 1, 0, 0 },
		{ OP_TRANSFER, TRB_SETUP, 0x41, 0, 8 }, { OP_TRANSFER, TRB_DATA, 0x20, 0, 18 }, { OP_TRANSFER, TRB_STATUS, 0x20 },
		{ OP_DOORBELL, 1 }, { OP_INPUT, 0, 0, 0 }, { OP_COMMAND, 2, 0, 0 }, { OP_TRANSFER, TRB_NORMAL, 0x20, 0, 8 },
		{ OP_DOORBELL, 3 }, { OP_KEY, 1, 1 }, { OP_MOVE, 1, 2, 3 }, { OP_COMMAND, 5, 3, 0 },
	};
	if (n)
		return 0;
	memcpy(buf, ops, sizeof(ops));
	return sizeof(ops);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	if (!g.m.board_data) {
		guest_init(&g);
		g.m.board_data = xnew(struct board);
		if (!xhci_create(&g.m, NULL))
			abort();
	}
	set_up();
	for (size_t at = 0; at + 8 <= size && at < 8 * 2000; at += 8)
		operate(data + at);
	g_save_and_load(g.m.devices);
}
