/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The USB 3 host controller, shared by its files (xHCI 1.2): registers and life
 * (xhci.c), rings and events (xhci_ring.c), commands (xhci_command.c), transfers
 * (xhci_transfer.c).  Two USB 2 ports: a keyboard and a tablet.  All under the board
 * lock: requests end at once, as the devices have what they say at hand.
 */
#ifndef DEVICE_USB_XHCI_H
#define DEVICE_USB_XHCI_H

#include "device/pci.h"
#include "device/usb/hid.h"

enum { XHCI_PORTS = 2, XHCI_SLOTS = 8, XHCI_DCIS = 3 /* endpoints 0 and 1 in, as 0 and 2 here */ };
enum { DCI_CONTROL = 1, DCI_INTERRUPT = 3, XHCI_TRBS = 256 /* looked at in one go */ };
enum { STS_HALTED = 1, STS_HOST_ERROR = 4, STS_EVENT = 8, STS_PORT_CHANGE = 16, STS_CONTROLLER_ERROR = 1 << 12 };
/* Completion codes (6.4.5). */
enum { CC_SUCCESS = 1, CC_TRB = 5, CC_STALL = 6, CC_NO_SLOT = 9, CC_SLOT_OFF = 11, CC_ENDPOINT_OFF = 12,
       CC_SHORT = 13, CC_PARAMETER = 17, CC_CONTEXT_STATE = 19, CC_RING_STOPPED = 24 };
/* TRB types (6.4.6). */
enum { TRB_NORMAL = 1, TRB_SETUP, TRB_DATA, TRB_STATUS, TRB_LINK = 6, TRB_EVENT_DATA, TRB_NO_OP, TRB_ENABLE_SLOT,
       TRB_DISABLE_SLOT, TRB_ADDRESS, TRB_CONFIGURE, TRB_EVALUATE, TRB_RESET_EP, TRB_STOP_EP, TRB_SET_DEQUEUE,
       TRB_RESET_DEVICE, TRB_NO_OP_COMMAND = 23, TRB_TRANSFER_EVENT = 32, TRB_COMMAND_EVENT, TRB_PORT_EVENT };
enum { TRB_CYCLE = 1, TRB_TOGGLE = 2, TRB_ISP = 4, TRB_CHAIN = 16, TRB_IOC = 32, TRB_IMMEDIATE = 64 };
enum { EP_OFF, EP_RUNNING, EP_HALTED, EP_STOPPED };
enum { SLOT_OFF, SLOT_ENABLED, SLOT_DEFAULT, SLOT_ADDRESSED, SLOT_CONFIGURED };

struct xhci_trb { uint64_t parameter; uint32_t status, control; };
struct xhci_ring { uint64_t at; bool cycle; };        /* the next TRB, and the cycle bit that makes it ours */

struct xhci_endpoint { uint8_t state; struct xhci_ring ring; uint8_t setup[8]; bool have_setup; };

struct xhci_slot {
	uint8_t state, port;      /* port: from 1; 0: none */
	uint64_t context;         /* the device context, of the guest's */
	struct xhci_endpoint ep[XHCI_DCIS + 1];       /* by DCI: 1 and 3 are used */
};

struct xhci {
	struct pci_function fn;
	uint32_t command, status, notify, config;
	uint64_t crcr, dcbaap;
	bool ring_running, command_cycle;
	uint32_t iman, imod, erst_size;
	uint64_t erst_base, dequeue;
	uint64_t event_base;      /* the event ring's one segment */
	uint32_t event_size, event_at;
	bool event_cycle;
	uint32_t portsc[XHCI_PORTS];
	struct xhci_slot slot[XHCI_SLOTS + 1];        /* by slot id; 0 is unused */
	struct usb_hid device[XHCI_PORTS];
};

struct memory *xhci_memory(const struct xhci *x);
static inline unsigned trb_type(const struct xhci_trb *t) { return t->control >> 10 & 63; }
static inline bool xhci_runs(const struct xhci *x) { return x->command & 1 && !(x->status & STS_HALTED); }

/* The next TRB that is ours, links followed; false: there is none (or too many links). */
bool xhci_next(struct xhci *x, struct xhci_ring *r, struct xhci_trb *t, uint64_t *at);
void xhci_event(struct xhci *x, uint64_t parameter, uint32_t status, uint32_t control);
/* Read the event ring's segment table. */
void xhci_event_ring(struct xhci *x);
void xhci_update_irq(struct xhci *x);
void xhci_commands(struct xhci *x);
/* Work through an endpoint's ring. */
void xhci_transfer(struct xhci *x, unsigned slot, unsigned dci);
/* A device has something to say. */
void xhci_report(struct xhci *x, unsigned port);
/* What of an endpoint's state stands in the guest's context: state, dequeue pointer. */
void xhci_put_endpoint(struct xhci *x, unsigned slot, unsigned dci);

bool xhci_create(struct machine *m, struct error *err);

#endif
