/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB keyboard and tablet: see hid.h. */
#include "device/usb/hid.h"

enum { MODIFIERS = 0xe0, KEYS_AT = 2, SPARE = 8, TABLET_REPORT = 6 };
enum { GET_STATUS, CLEAR_FEATURE, SET_FEATURE = 3, SET_ADDRESS = 5, GET_DESCRIPTOR, GET_CONFIGURATION = 8,
       SET_CONFIGURATION, GET_INTERFACE, SET_INTERFACE };
enum { GET_REPORT = 1, GET_IDLE, GET_PROTOCOL, SET_REPORT = 9, SET_IDLE, SET_PROTOCOL };
enum { DEVICE = 1, CONFIGURATION, STRING, HID = 0x21, REPORT = 0x22 };

/* --- descriptors ------------------------------------------------------------------- */
static const uint8_t keyboard_report[] = {
	0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                     /* generic desktop, keyboard */
	0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01,
	0x75, 0x01, 0x95, 0x08, 0x81, 0x02,                     /* eight modifiers */
	0x95, 0x01, 0x75, 0x08, 0x81, 0x01,
	0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, 0x95, 0x01, 0x75, 0x03, 0x91, 0x01,
	0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x26, 0xff, 0x00, 0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x81, 0x00,
	0xc0,
};
static const uint8_t tablet_report[] = {
	0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,
	0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02,
	0x95, 0x01, 0x75, 0x05, 0x81, 0x01,
	0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f,
	0x75, 0x10, 0x95, 0x02, 0x81, 0x02,                     /* X, Y: 0..32767, absolute */
	0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06,
	0xc0, 0xc0,
};

static const uint8_t *report_descriptor(const struct usb_hid *d, unsigned *n)
{
	*n = d->kind == HID_TABLET ? sizeof(tablet_report) : sizeof(keyboard_report);
	return d->kind == HID_TABLET ? tablet_report : keyboard_report;
}

static unsigned put_hid(const struct usb_hid *d, uint8_t *p)
{
	unsigned n;
	report_descriptor(d, &n);
	const uint8_t hid[] = { 9, HID, 0x11, 0x01, 0, 1, REPORT, (uint8_t)n, (uint8_t)(n >> 8) };
	memcpy(p, hid, sizeof(hid));
	return sizeof(hid);
}

/* High speed; one interface with interrupt endpoint 1 in, 64 frames of 125 us apart. */
static int configuration(const struct usb_hid *d, uint8_t *p)
{
	bool keyboard = d->kind == HID_KEYBOARD;
	const uint8_t head[] = { 9, CONFIGURATION, 34, 0, 1, 1, 0, 0xa0, 50,
				 9, 4, 0, 0, 1, 3, keyboard, keyboard, 0 };
	static const uint8_t endpoint[] = { 7, 5, 0x81, 3, HID_REPORT, 0, 7 };
	unsigned n = sizeof(head);
	memcpy(p, head, n);
	n += put_hid(d, p + n);
	memcpy(p + n, endpoint, sizeof(endpoint));
	return (int)(n + sizeof(endpoint));
}

static int string(const struct usb_hid *d, unsigned index, uint8_t *p)
{
	const char *const texts[] = { "\x09\x04", "Abyme", d->kind == HID_TABLET ? "Abyme tablet" : "Abyme keyboard", "1" };
	if (index >= ARRAY_SIZE(texts))
		return -1;
	unsigned n = 2;
	for (const char *t = texts[index]; *t; t++) {
		p[n++] = (uint8_t)*t;
		if (index)
			p[n++] = 0;       /* UTF-16; index 0 is the language */
	}
	p[0] = (uint8_t)n;
	p[1] = STRING;
	return (int)n;
}

static int descriptor(const struct usb_hid *d, uint16_t value, uint8_t *p)
{
	const uint8_t device[] = { 18, DEVICE, 0, 2, 0, 0, 0, 64, 0xf4, 0x1a, d->kind == HID_TABLET ? 2 : 1, 0, 0, 1,
				   1, 2, 3, 1 };
	const uint8_t *from;
	unsigned n;
	switch (value >> 8) {
	case DEVICE:
		memcpy(p, device, sizeof(device));
		return sizeof(device);
	case CONFIGURATION:
		return configuration(d, p);
	case STRING:
		return string(d, value & 0xff, p);
	case HID:
		return (int)put_hid(d, p);
	case REPORT:
		from = report_descriptor(d, &n);
		memcpy(p, from, n);
		return (int)n;
	}
	return -1;
}

/* --- control requests --------------------------------------------------------------- */
static int one(uint8_t *data, uint8_t v)
{
	data[0] = v;
	return 1;
}

static int standard(struct usb_hid *d, uint8_t request, uint16_t value, uint8_t *data)
{
	switch (request) {
	case GET_STATUS:
		data[0] = data[1] = 0;
		return 2;
	case GET_DESCRIPTOR:
		return descriptor(d, value, data);
	case GET_CONFIGURATION:
		return one(data, d->configuration);
	case SET_CONFIGURATION:
		if (value > 1)
			return -1;
		d->configuration = (uint8_t)value;
		return 0;
	case GET_INTERFACE:
		return one(data, 0);
	case CLEAR_FEATURE: case SET_FEATURE: case SET_ADDRESS: case SET_INTERFACE:
		return 0;
	}
	return -1;
}

static unsigned report_length(const struct usb_hid *d) { return d->kind == HID_TABLET ? TABLET_REPORT : HID_REPORT; }

static int class(struct usb_hid *d, uint8_t request, uint16_t value, uint8_t *data)
{
	switch (request) {
	case GET_REPORT:
		memcpy(data, d->state, report_length(d));
		return (int)report_length(d);
	case GET_IDLE:
		return one(data, d->idle);
	case GET_PROTOCOL:
		return one(data, d->protocol);
	case SET_IDLE:
		d->idle = (uint8_t)(value >> 8);
		return 0;
	case SET_PROTOCOL:
		d->protocol = value & 1;
		return 0;
	case SET_REPORT:                  /* the keyboard's lights */
		return 0;
	}
	return -1;
}

int hid_control(struct usb_hid *d, const uint8_t setup[8], uint8_t data[HID_DATA_MAX])
{
	uint16_t value = le16_get(setup + 2);
	switch (setup[0] >> 5 & 3) {
	case 0: return standard(d, setup[1], value, data);
	case 1: return class(d, setup[1], value, data);
	}
	return -1;
}

/* --- reports -------------------------------------------------------------------------- */
bool hid_configured(const struct usb_hid *d) { return d->configuration; }

bool hid_full(const struct usb_hid *d) { return d->count > HID_QUEUE - SPARE; }

static void push(struct usb_hid *d)
{
	if (d->count < HID_QUEUE)
		memcpy(d->queue[(d->head + d->count++) % HID_QUEUE], d->state, HID_REPORT);
}

unsigned hid_report(struct usb_hid *d, uint8_t out[HID_REPORT])
{
	if (!d->count)
		return 0;
	memcpy(out, d->queue[d->head], HID_REPORT);
	d->head = (d->head + 1) % HID_QUEUE;
	d->count--;
	return report_length(d);
}

void hid_press(struct usb_hid *d, const struct key *key, bool down)
{
	uint8_t *keys = d->state + KEYS_AT, bit = (uint8_t)BIT(key->hid & 7);
	if (key->hid >= MODIFIERS) {
		d->state[0] = down ? d->state[0] | bit : d->state[0] & (uint8_t)~bit;
	} else {
		uint8_t *at = memchr(keys, key->hid, HID_REPORT - KEYS_AT);
		if (down && !at)
			at = memchr(keys, 0, HID_REPORT - KEYS_AT);
		if (at)
			*at = down ? key->hid : 0;
	}
	push(d);
}

void hid_move(struct usb_hid *d, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	d->state[0] = buttons & 7;
	le16_put(d->state + 1, (uint16_t)x);
	le16_put(d->state + 3, (uint16_t)y);
	d->state[5] = (uint8_t)(wheel > 127 ? -127 : wheel < -127 ? 127 : -wheel);
	push(d);
	d->state[5] = 0;
}

void hid_reset(struct usb_hid *d)
{
	enum hid_kind kind = d->kind;
	*d = (struct usb_hid){ .kind = kind, .protocol = 1 };
}

bool hid_xfer(struct usb_hid *d, struct state *s)
{
	xfer_check_u64(s, d->kind, "the kind of USB device");
	xfer_u8_max(s, &d->configuration, 1);
	xfer_u8(s, &d->idle);
	xfer_u8_max(s, &d->protocol, 1);
	xfer_bytes(s, d->state, sizeof(d->state));
	xfer_bytes(s, d->queue, sizeof(d->queue));
	xfer_u8_max(s, &d->head, HID_QUEUE - 1);
	xfer_u8_max(s, &d->count, HID_QUEUE);
	return state_ok(s);
}
