/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PS/2 mouse with three buttons and a wheel (IBM PS/2 Hardware Interface
 * Technical Reference; Microsoft's IntelliMouse for the wheel).  Movement is
 * gathered and becomes a packet when the guest has taken the last one, so that a
 * slow guest loses no way, only steps.  Under the board lock.
 */
#include "device/chipset.h"
#include "device/mouse.h"
#include "device/ps2.h"
#include "machine/machine.h"

enum { QUEUE = 64, PACKET_MAX = 4, ACK = 0xfa, RESEND = 0xfe, SELF_TEST_OK = 0xaa, WHEEL_ID = 3, FAR = 1 << 20 };
enum { PACKET_ALWAYS = 8, X_SIGN = 0x10, Y_SIGN = 0x20 };

struct mouse {
	struct device dev;
	uint8_t queue[QUEUE], head, count;
	uint8_t command;          /* waits for its argument, or 0 */
	uint8_t id, rate, resolution, knock[2];   /* knock: the sample rates set before */
	uint8_t buttons, sent;    /* now, and in the last packet */
	bool streaming, remote, wrap, doubled;
	int32_t dx, dy, dz;       /* not yet sent; y grows downward */
};

static void push(struct mouse *p, uint8_t byte)
{
	if (p->count < QUEUE)
		p->queue[(p->head + p->count++) % QUEUE] = byte;
}

static int32_t take_step(int32_t *way, int32_t most)
{
	int32_t n = *way > most ? most : *way < -most ? -most : *way;
	*way -= n;
	return n;
}

static void push_packet(struct mouse *p)
{
	int32_t x = take_step(&p->dx, 255), y = take_step(&p->dy, 255);
	y = -y;                   /* up is positive on the wire */
	push(p, (uint8_t)(PACKET_ALWAYS | (p->buttons & 7) | (x < 0 ? X_SIGN : 0) | (y < 0 ? Y_SIGN : 0)));
	push(p, (uint8_t)x);
	push(p, (uint8_t)y);
	if (p->id == WHEEL_ID)
		push(p, (uint8_t)take_step(&p->dz, 7));
	p->dz = p->id == WHEEL_ID ? p->dz : 0;
	p->sent = p->buttons;
}

static bool has_byte(void *opaque)
{
	struct mouse *p = opaque;
	bool news = p->dx || p->dy || p->dz || p->buttons != p->sent;
	if (!p->count && news && p->streaming && !p->remote && !p->wrap)
		push_packet(p);
	return p->count;
}

static uint8_t take(void *opaque, bool translate)
{
	struct mouse *p = opaque;
	uint8_t v = p->queue[p->head];
	p->head = (p->head + 1) % QUEUE;
	p->count--;
	return v;
}

static void defaults(struct mouse *p)
{
	p->rate = 100;
	p->resolution = 2;
	p->streaming = p->remote = p->wrap = p->doubled = false;
	p->command = 0;
	p->dx = p->dy = p->dz = 0;
	p->sent = p->buttons;
}

/* 200, 100, 80: the host wants the wheel. */
static void set_rate(struct mouse *p, uint8_t rate)
{
	if (p->knock[0] == 200 && p->knock[1] == 100 && rate == 80)
		p->id = WHEEL_ID;
	p->knock[0] = p->knock[1];
	p->knock[1] = rate;
	p->rate = rate;
}

static void push_status(struct mouse *p)
{
	uint8_t b = p->buttons;
	push(p, (uint8_t)((p->remote ? 0x40 : 0) | (p->streaming ? 0x20 : 0) | (p->doubled ? 0x10 : 0) |
			  (b & 1) << 2 | (b & 4) >> 1 | (b & 2) >> 1));
	push(p, p->resolution);
	push(p, p->rate);
}

static void simple(struct mouse *p, uint8_t v)
{
	switch (v) {
	case 0xe6: case 0xe7:
		p->doubled = v == 0xe7;
		break;
	case 0xe9:
		push_status(p);
		break;
	case 0xea:
		p->remote = false;
		break;
	case 0xeb:
		push_packet(p);
		break;
	case 0xee:
		p->wrap = true;
		break;
	case 0xf0:
		p->remote = true;
		break;
	case 0xf2:
		push(p, p->id);
		break;
	case 0xf4: case 0xf5:
		p->streaming = v == 0xf4;
		break;
	case 0xf6:
		defaults(p);
		break;
	case 0xff:
		defaults(p);
		p->id = p->knock[0] = p->knock[1] = 0;
		push(p, SELF_TEST_OK);
		push(p, p->id);
	}
}

static void from_guest(void *opaque, uint8_t v)
{
	static const uint8_t known[] = { 0xe6, 0xe7, 0xe9, 0xea, 0xeb, 0xec, 0xee, 0xf0, 0xf2, 0xf4, 0xf5, 0xf6, 0xff };
	struct mouse *p = opaque;
	uint8_t waiting = p->command;
	p->command = 0;
	p->head = p->count = 0;   /* a command voids what has not been read */
	if (p->wrap && v != 0xec && v != 0xff) {
		push(p, v);
	} else if (waiting) {
		push(p, ACK);
		if (waiting == 0xf3)
			set_rate(p, v);
		else
			p->resolution = v & 3;
	} else if (v == 0xe8 || v == 0xf3) {
		p->command = v;
		push(p, ACK);
	} else if (memchr(known, v, sizeof(known))) {
		p->wrap = false;
		push(p, ACK);
		simple(p, v);
	} else {
		push(p, RESEND);
	}
}

static int32_t clamp(int64_t v) { return v > FAR ? FAR : v < -FAR ? -FAR : (int32_t)v; }

bool mouse_move(struct machine *m, int dx, int dy, int wheel, struct error *err)
{
	struct mouse *p = m->board_data->mouse;
	if (!p)
		return error_set(err, 0, "the machine has no mouse: give it a screen with --display headless");
	p->dx = clamp((int64_t)p->dx + dx);
	p->dy = clamp((int64_t)p->dy + dy);
	p->dz = clamp((int64_t)p->dz + wheel);
	i8042_poll(m);
	return true;
}

bool mouse_buttons(struct machine *m, unsigned buttons, struct error *err)
{
	struct mouse *p = m->board_data->mouse;
	if (!p)
		return error_set(err, 0, "the machine has no mouse: give it a screen with --display headless");
	bool change = p->buttons != (buttons & 7);
	p->buttons = buttons & 7;
	/* a click must not be lost behind a movement: each change has its packet */
	if (change && p->streaming && !p->remote && !p->wrap && QUEUE - p->count >= PACKET_MAX)
		push_packet(p);
	i8042_poll(m);
	return true;
}

/* --- device ------------------------------------------------------------------------ */
static void mouse_reset(struct device *d)
{
	struct mouse *p = container_of(d, struct mouse, dev);
	defaults(p);
	p->head = p->count = p->id = p->buttons = p->sent = 0;
	p->knock[0] = p->knock[1] = 0;
}

static bool mouse_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct mouse *p = container_of(d, struct mouse, dev);
	xfer_bytes(s, p->queue, QUEUE);
	xfer_u8_max(s, &p->head, QUEUE - 1);
	xfer_u8_max(s, &p->count, QUEUE);
	uint8_t *bytes[] = { &p->command, &p->id, &p->rate, &p->resolution, &p->knock[0], &p->knock[1],
			     &p->buttons, &p->sent };
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		xfer_u8(s, bytes[i]);
	bool *flags[] = { &p->streaming, &p->remote, &p->wrap, &p->doubled };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	int32_t *ways[] = { &p->dx, &p->dy, &p->dz };
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		int64_t v = *ways[i];
		xfer_i64(s, &v);
		*ways[i] = clamp(v);
	}
	return state_ok(s);
}

static void mouse_destroy(struct device *d)
{
	free(container_of(d, struct mouse, dev));
}

bool mouse_create(struct machine *m, struct error *err)
{
	static const struct ps2_ops wire = { from_guest, has_byte, take };
	static const struct device_ops ops = {
		.name = "ps2-mouse", .version = 1, .reset = mouse_reset, .xfer = mouse_xfer,
		.destroy = mouse_destroy,
	};
	struct mouse *p = xnew(struct mouse);
	m->board_data->mouse = p;
	device_add(m, &p->dev, &ops, "ps2-mouse");
	mouse_reset(&p->dev);
	i8042_attach(m, 1, &wire, p);
	return true;
}
