/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-input (virtio 1.2 5.8): a keyboard or a tablet.  Events wait in a ring
 * until the guest has buffers for them; they come whole, up to their EV_SYN, or not
 * at all.  On the I/O loop.
 */
#include "device/virtio/virtio.h"

#include "device/keyboard.h"
#include "device/mouse.h"
#include "machine/machine.h"

enum { EVENTS, STATUS };
enum { CFG_NAME = 1, CFG_SERIAL, CFG_IDS, CFG_PROPERTIES = 0x10, CFG_EVENTS, CFG_ABSOLUTE };
enum { EV_SYN, EV_KEY, EV_REL, EV_ABS, EV_REP = 0x14 };
enum { REL_WHEEL = 8, ABS_X = 0, ABS_Y = 1, BTN_LEFT = 0x110, BUTTONS = 3 };
enum { RING = 256, SPARE = 16, EVENT = 8, PAYLOAD = 128, CONFIG = 8 + PAYLOAD };

struct event { uint16_t type, code; uint32_t value; };

struct virtio_input {
	struct virtio_device v;
	bool tablet;
	uint8_t select, subsel;
	struct event ring[RING];
	uint16_t head, count;
	uint8_t buttons;
};

/* --- configuration ------------------------------------------------------------------- */
static void set_bit(uint8_t *map, unsigned n, unsigned *len)
{
	map[n / 8] |= (uint8_t)BIT(n & 7);
	*len = MAX(*len, n / 8 + 1);
}

static unsigned event_bits(const struct virtio_input *d, uint8_t *map)
{
	unsigned n, len = 0;
	const struct key *key = keyboard_keys(&n);
	if (!d->tablet && d->subsel == EV_KEY)
		for (unsigned i = 0; i < n; i++)
			set_bit(map, key[i].code, &len);
	else if (!d->tablet && d->subsel == EV_REP)
		set_bit(map, 0, &len);
	else if (d->tablet && d->subsel == EV_KEY)
		for (unsigned i = 0; i < BUTTONS; i++)
			set_bit(map, BTN_LEFT + i, &len);
	else if (d->tablet && d->subsel == EV_REL)
		set_bit(map, REL_WHEEL, &len);
	else if (d->tablet && d->subsel == EV_ABS)
		map[len++] = BIT(ABS_X) | BIT(ABS_Y);
	return len;
}

static unsigned payload(const struct virtio_input *d, uint8_t *p)
{
	const char *name = d->tablet ? "Abyme tablet" : "Abyme keyboard";
	switch (d->select) {
	case CFG_NAME:
		memcpy(p, name, strlen(name));
		return (unsigned)strlen(name);
	case CFG_IDS:                         /* bus (virtual), vendor, product, version */
		le16_put(p, 6);
		le16_put(p + 2, 0x1af4);
		le16_put(p + 4, d->tablet ? 2 : 1);
		le16_put(p + 6, 1);
		return 8;
	case CFG_EVENTS:
		return event_bits(d, p);
	case CFG_ABSOLUTE:
		if (!d->tablet || d->subsel > ABS_Y)
			return 0;
		le32_put(p + 4, TABLET_MAX);
		return 20;
	}
	return 0;
}

static void input_config_read(struct virtio_device *v, unsigned off, void *buf, unsigned n)
{
	const struct virtio_input *d = container_of(v, struct virtio_input, v);
	uint8_t config[CONFIG] = { d->select, d->subsel };
	config[2] = (uint8_t)payload(d, config + 8);
	memcpy(buf, config + off, n);
}

static void input_config_write(struct virtio_device *v, unsigned off, const void *buf, unsigned n)
{
	struct virtio_input *d = container_of(v, struct virtio_input, v);
	for (unsigned i = 0; i < n; i++) {
		if (off + i == 0)
			d->select = ((const uint8_t *)buf)[i];
		else if (off + i == 1)
			d->subsel = ((const uint8_t *)buf)[i];
	}
}

/* --- events ----------------------------------------------------------------------------- */
static void push(struct virtio_input *d, uint16_t type, uint16_t code, uint32_t value)
{
	if (d->count < RING)
		d->ring[(d->head + d->count++) % RING] = (struct event){ type, code, value };
}

static void give_events(struct virtio_input *d)
{
	struct virtqueue *vq = &d->v.vq[EVENTS];
	struct virtq_chain c;
	while (d->count && virtq_pop(vq, &c) > 0) {
		const struct event *e = &d->ring[d->head];
		uint8_t wire[EVENT];
		le16_put(wire, e->type);
		le16_put(wire + 2, e->code);
		le32_put(wire + 4, e->value);
		virtq_push(vq, &c, (uint32_t)buf_to_iov(c.in, c.nin, 0, wire, sizeof(wire)));
		d->head = (d->head + 1) % RING;
		d->count--;
	}
	virtq_signal(vq);
}

/* Lights of the keyboard: nobody sees them. */
static void drop_status(struct virtqueue *vq)
{
	struct virtq_chain c;
	while (virtq_pop(vq, &c) > 0)
		virtq_push(vq, &c, 0);
	virtq_signal(vq);
}

static void input_notify(struct virtio_device *v, unsigned q)
{
	if (q == EVENTS)
		give_events(container_of(v, struct virtio_input, v));
	else
		drop_status(&v->vq[q]);
}

static bool wanted(void *opaque) { return ((struct virtio_input *)opaque)->v.live; }

static bool full(void *opaque) { return ((struct virtio_input *)opaque)->count > RING - SPARE; }

static void press(void *opaque, const struct key *key, bool down)
{
	struct virtio_input *d = opaque;
	if (full(d))
		return;
	push(d, EV_KEY, key->code, down);
	push(d, EV_SYN, 0, 0);
	virtio_kick(&d->v, EVENTS);
}

static void move(void *opaque, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	struct virtio_input *d = opaque;
	if (full(d))
		return;
	push(d, EV_ABS, ABS_X, x);
	push(d, EV_ABS, ABS_Y, y);
	if (wheel)
		push(d, EV_REL, REL_WHEEL, (uint32_t)-wheel);
	for (unsigned i = 0; i < BUTTONS; i++)      /* left, right, middle: both orders agree */
		if ((d->buttons ^ buttons) >> i & 1)
			push(d, EV_KEY, (uint16_t)(BTN_LEFT + i), buttons >> i & 1);
	d->buttons = buttons & 7;
	push(d, EV_SYN, 0, 0);
	virtio_kick(&d->v, EVENTS);
}

/* --- device ----------------------------------------------------------------------------- */
static void input_reset(struct virtio_device *v)
{
	struct virtio_input *d = container_of(v, struct virtio_input, v);
	d->head = d->count = d->select = d->subsel = d->buttons = 0;
}

static bool input_xfer(struct virtio_device *v, struct state *s, uint32_t version)
{
	struct virtio_input *d = container_of(v, struct virtio_input, v);
	xfer_check_u64(s, d->tablet, "the kind of input device");
	xfer_u8(s, &d->select);
	xfer_u8(s, &d->subsel);
	xfer_u8_max(s, &d->buttons, 7);
	xfer_u16_max(s, &d->head, RING - 1);
	xfer_u16_max(s, &d->count, RING);
	for (unsigned i = 0; i < RING; i++) {
		xfer_u16(s, &d->ring[i].type);
		xfer_u16(s, &d->ring[i].code);
		xfer_u32(s, &d->ring[i].value);
	}
	return state_ok(s);
}

static void input_destroy(struct virtio_device *v) { free(container_of(v, struct virtio_input, v)); }

static const struct virtio_ops input_ops = {
	.name = "virtio-input", .device_id = 18, .class_rev = 0x09000001, .version = 1, .queues = 2, .queue_size = 64,
	.config_size = CONFIG, .config_read = input_config_read, .config_write = input_config_write,
	.notify = input_notify, .reset = input_reset, .xfer = input_xfer, .destroy = input_destroy,
};
static const struct keyboard_sink keyboard = { wanted, full, press };
static const struct tablet_sink tablet = { wanted, move };

bool virtio_input_create(struct machine *m, bool is_tablet, struct error *err)
{
	struct virtio_input *d = xnew(struct virtio_input);
	char id[32];
	d->tablet = is_tablet;
	virtio_id(m, &input_ops, id);
	if (!virtio_init(m, &d->v, &input_ops, id, err)) {
		free(d);
		return false;
	}
	if (is_tablet)
		tablet_register(m, &tablet, d);
	else
		keyboard_register(m, &keyboard, d);
	return true;
}
