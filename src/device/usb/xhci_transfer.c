/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transfers (xHCI 1.2 4.11): control ones at endpoint 0, reports at endpoint 1. */
#include "device/usb/xhci.h"

#include "machine/machine.h"

enum { LENGTH = 0x1ffff };

static struct usb_hid *device_of(struct xhci *x, const struct xhci_slot *s)
{
	return s->port ? &x->device[s->port - 1] : NULL;
}

static void done(struct xhci *x, unsigned slot, unsigned dci, uint64_t at, unsigned code, uint32_t left)
{
	xhci_event(x, at, left | code << 24, TRB_TRANSFER_EVENT << 10 | dci << 16 | slot << 24);
}

static void halt(struct xhci *x, unsigned slot, unsigned dci, uint64_t at, unsigned code)
{
	x->slot[slot].ep[dci].state = EP_HALTED;
	xhci_put_endpoint(x, slot, dci);
	done(x, slot, dci, at, code, 0);
}

/* --- control ---------------------------------------------------------------------------- */
/* Data to the device is read by nobody; from it, there is what it has for this setup. */
static bool data_stage(struct xhci *x, unsigned slot, const struct xhci_trb *t, uint64_t at)
{
	struct xhci_endpoint *e = &x->slot[slot].ep[DCI_CONTROL];
	uint32_t room = t->status & LENGTH, n = room;
	if (e->setup[0] & 0x80) {
		uint8_t data[HID_DATA_MAX];
		int have = hid_control(device_of(x, &x->slot[slot]), e->setup, data);
		if (have < 0) {
			halt(x, slot, DCI_CONTROL, at, CC_STALL);
			return false;
		}
		n = MIN((uint32_t)have, (uint32_t)le16_get(e->setup + 6));
		n = MIN(n, room);
		memory_dma_write(xhci_memory(x), t->parameter, data, n);
	}
	if (t->control & TRB_IOC || (n < room && t->control & TRB_ISP))
		done(x, slot, DCI_CONTROL, at, n < room ? CC_SHORT : CC_SUCCESS, room - n);
	return true;
}

static bool status_stage(struct xhci *x, unsigned slot, const struct xhci_trb *t, uint64_t at)
{
	struct xhci_endpoint *e = &x->slot[slot].ep[DCI_CONTROL];
	uint8_t data[HID_DATA_MAX];
	e->have_setup = false;
	if (!(e->setup[0] & 0x80) && hid_control(device_of(x, &x->slot[slot]), e->setup, data) < 0) {
		halt(x, slot, DCI_CONTROL, at, CC_STALL);
		return false;
	}
	if (t->control & TRB_IOC)
		done(x, slot, DCI_CONTROL, at, CC_SUCCESS, 0);
	return true;
}

static bool control_trb(struct xhci *x, unsigned slot, const struct xhci_trb *t, uint64_t at)
{
	struct xhci_endpoint *e = &x->slot[slot].ep[DCI_CONTROL];
	unsigned type = trb_type(t);
	if (type == TRB_SETUP && t->control & TRB_IMMEDIATE) {
		le64_put(e->setup, t->parameter);
		e->have_setup = true;
		return true;
	}
	if ((type == TRB_DATA || type == TRB_NORMAL) && e->have_setup)
		return data_stage(x, slot, t, at);
	if (type == TRB_STATUS && e->have_setup)
		return status_stage(x, slot, t, at);
	if (type == TRB_EVENT_DATA || type == TRB_NO_OP) {
		if (t->control & TRB_IOC)
			done(x, slot, DCI_CONTROL, at, CC_SUCCESS, 0);
		return true;
	}
	halt(x, slot, DCI_CONTROL, at, CC_TRB);
	return false;
}

static void control(struct xhci *x, unsigned slot)
{
	struct xhci_endpoint *e = &x->slot[slot].ep[DCI_CONTROL];
	struct xhci_trb t;
	uint64_t at;
	for (unsigned n = 0; n < XHCI_TRBS && e->state == EP_RUNNING && xhci_next(x, &e->ring, &t, &at); n++)
		if (!control_trb(x, slot, &t, at))
			return;
}

/* --- reports ------------------------------------------------------------------------------ */
/* A report goes into one buffer; what chains several gets the rest of them empty. */
static bool give_report(struct xhci *x, unsigned slot)
{
	struct xhci_endpoint *e = &x->slot[slot].ep[DCI_INTERRUPT];
	struct usb_hid *d = device_of(x, &x->slot[slot]);
	struct xhci_trb t;
	uint64_t at;
	if (!d->count || !xhci_next(x, &e->ring, &t, &at))
		return false;
	if (trb_type(&t) != TRB_NORMAL) {
		if (t.control & TRB_IOC)
			done(x, slot, DCI_INTERRUPT, at, trb_type(&t) == TRB_NO_OP ? CC_SUCCESS : CC_TRB, 0);
		return true;
	}
	uint8_t report[HID_REPORT];
	uint32_t room = t.status & LENGTH, n = MIN(hid_report(d, report), room);
	memory_dma_write(xhci_memory(x), t.parameter, report, n);
	if (t.control & TRB_IOC || (n < room && t.control & TRB_ISP))
		done(x, slot, DCI_INTERRUPT, at, n < room ? CC_SHORT : CC_SUCCESS, room - n);
	return true;
}

void xhci_transfer(struct xhci *x, unsigned slot, unsigned dci)
{
	struct xhci_slot *s = &x->slot[slot];
	if (!xhci_runs(x) || dci > XHCI_DCIS || s->ep[dci].state == EP_OFF || s->ep[dci].state == EP_HALTED ||
	    !device_of(x, s))
		return;
	if (s->ep[dci].state == EP_STOPPED) {
		s->ep[dci].state = EP_RUNNING;
		xhci_put_endpoint(x, slot, dci);
	}
	if (dci == DCI_CONTROL)
		control(x, slot);
	for (unsigned n = 0; dci == DCI_INTERRUPT && n < XHCI_TRBS && give_report(x, slot); n++)
		;
}

void xhci_report(struct xhci *x, unsigned port)
{
	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		if (x->slot[i].port == port + 1 && x->slot[i].ep[DCI_INTERRUPT].state == EP_RUNNING)
			xhci_transfer(x, i, DCI_INTERRUPT);
}
