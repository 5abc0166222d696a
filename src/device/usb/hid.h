/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB keyboard and tablet (USB 2.0 ch. 9, HID 1.11), apart from any controller: control
 * requests, and reports that wait for the interrupt endpoint 1.
 */
#ifndef DEVICE_USB_HID_H
#define DEVICE_USB_HID_H

#include "base/state.h"
#include "device/keyboard.h"

enum { HID_REPORT = 8, HID_QUEUE = 64, HID_DATA_MAX = 256 };
enum hid_kind { HID_KEYBOARD, HID_TABLET };

struct usb_hid {
	enum hid_kind kind;
	uint8_t configuration, idle, protocol;
	uint8_t state[HID_REPORT];        /* the report of now */
	uint8_t queue[HID_QUEUE][HID_REPORT];
	uint8_t head, count;
};

void hid_reset(struct usb_hid *d);
/* A control request with its eight bytes of setup: what it answers with, in `data`, and how
 * long that is; -1: it stalls. Data to the device is none of its concern. */
int hid_control(struct usb_hid *d, const uint8_t setup[8], uint8_t data[HID_DATA_MAX]);
/* The next report's length, 0: there is none. */
unsigned hid_report(struct usb_hid *d, uint8_t out[HID_REPORT]);
bool hid_configured(const struct usb_hid *d);
bool hid_full(const struct usb_hid *d);
void hid_press(struct usb_hid *d, const struct key *key, bool down);
void hid_move(struct usb_hid *d, unsigned x, unsigned y, int wheel, unsigned buttons);
bool hid_xfer(struct usb_hid *d, struct state *s);

#endif
