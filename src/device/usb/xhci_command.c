/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command ring (xHCI 1.2 4.6): slots, addresses, endpoints. Contexts have 32 bytes. */
#include "device/usb/xhci.h"

#include "machine/machine.h"

enum { CONTEXT = 32, INPUT_SLOT = CONTEXT, BLOCK_ADDRESS = 1 << 9, DECONFIGURE = 1 << 9 };
enum { ADD_SLOT = 1, ADD_CONTROL = 2, ADD_INTERRUPT = 1 << DCI_INTERRUPT };

static uint32_t read32(struct xhci *x, uint64_t at)
{
	uint8_t b[4] = { 0 };
	memory_dma_read(xhci_memory(x), at, b, sizeof(b));
	return le32_get(b);
}

static void write32(struct xhci *x, uint64_t at, uint32_t v)
{
	uint8_t b[4];
	le32_put(b, v);
	memory_dma_write(xhci_memory(x), at, b, sizeof(b));
}

static void copy_context(struct xhci *x, uint64_t to, uint64_t from)
{
	uint8_t b[CONTEXT] = { 0 };
	memory_dma_read(xhci_memory(x), from, b, sizeof(b));
	memory_dma_write(xhci_memory(x), to, b, sizeof(b));
}

void xhci_put_endpoint(struct xhci *x, unsigned slot, unsigned dci)
{
	const struct xhci_slot *s = &x->slot[slot];
	uint64_t at = s->context + dci * (uint64_t)CONTEXT;
	write32(x, at, (read32(x, at) & ~7u) | s->ep[dci].state);
	write32(x, at + 8, (uint32_t)s->ep[dci].ring.at | s->ep[dci].ring.cycle);
	write32(x, at + 12, (uint32_t)(s->ep[dci].ring.at >> 32));
}

/* The slot context's last word: state (as the specification counts) and address. */
static void put_slot(struct xhci *x, unsigned slot)
{
	const struct xhci_slot *s = &x->slot[slot];
	uint32_t state = s->state <= SLOT_ENABLED ? 0 : s->state - 1u;
	write32(x, s->context + 12, state << 27 | (s->state >= SLOT_ADDRESSED ? slot : 0));
}

static void start_endpoint(struct xhci *x, unsigned slot, unsigned dci, uint64_t input)
{
	struct xhci_endpoint *e = &x->slot[slot].ep[dci];
	uint64_t from = input + (dci + 1) * (uint64_t)CONTEXT;
	uint64_t dequeue = read32(x, from + 8) | (uint64_t)read32(x, from + 12) << 32;
	copy_context(x, x->slot[slot].context + dci * (uint64_t)CONTEXT, from);
	*e = (struct xhci_endpoint){ .state = EP_RUNNING, .ring = { dequeue & ~15ull, dequeue & 1 } };
	xhci_put_endpoint(x, slot, dci);
}

static void stop_endpoints(struct xhci *x, unsigned slot, unsigned first)
{
	for (unsigned dci = first; dci <= XHCI_DCIS; dci++) {
		if (x->slot[slot].ep[dci].state == EP_OFF)
			continue;
		x->slot[slot].ep[dci] = (struct xhci_endpoint){ 0 };
		xhci_put_endpoint(x, slot, dci);
	}
}

/* --- the commands: a completion code each -------------------------------------------- */
static unsigned enable_slot(struct xhci *x, unsigned *slot)
{
	unsigned most = MIN(x->config & 0xff, (uint32_t)XHCI_SLOTS);
	for (unsigned i = 1; i <= most; i++) {
		if (x->slot[i].state != SLOT_OFF)
			continue;
		x->slot[i] = (struct xhci_slot){ .state = SLOT_ENABLED };
		*slot = i;
		return CC_SUCCESS;
	}
	return CC_NO_SLOT;
}

static unsigned disable_slot(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	x->slot[slot] = (struct xhci_slot){ 0 };
	return CC_SUCCESS;
}

static unsigned address_device(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	struct xhci_slot *s = &x->slot[slot];
	uint64_t input = t->parameter & ~15ull;
	uint32_t port = read32(x, input + INPUT_SLOT + 4) >> 16 & 0xff, route = read32(x, input + INPUT_SLOT) & 0xfffff;
	if ((read32(x, input + 4) & (ADD_SLOT | ADD_CONTROL)) != (ADD_SLOT | ADD_CONTROL))
		return CC_PARAMETER;
	if (!port || port > XHCI_PORTS || route)
		return CC_TRB;
	s->context = (read32(x, x->dcbaap + slot * 8) | (uint64_t)read32(x, x->dcbaap + slot * 8 + 4) << 32) & ~63ull;
	s->port = (uint8_t)port;
	s->state = t->control & BLOCK_ADDRESS ? SLOT_DEFAULT : SLOT_ADDRESSED;
	copy_context(x, s->context, input + INPUT_SLOT);
	start_endpoint(x, slot, DCI_CONTROL, input);
	put_slot(x, slot);
	return CC_SUCCESS;
}

static unsigned configure(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	struct xhci_slot *s = &x->slot[slot];
	uint64_t input = t->parameter & ~15ull;
	uint32_t drop = read32(x, input), add = read32(x, input + 4);
	if (s->state < SLOT_ADDRESSED)
		return CC_CONTEXT_STATE;
	if (t->control & DECONFIGURE) {
		stop_endpoints(x, slot, DCI_CONTROL + 1);
		s->state = SLOT_ADDRESSED;
		put_slot(x, slot);
		return CC_SUCCESS;
	}
	if (add & ~(uint32_t)(ADD_SLOT | ADD_INTERRUPT))
		return CC_PARAMETER;      /* no device here has another endpoint */
	if (drop & ADD_INTERRUPT)
		stop_endpoints(x, slot, DCI_INTERRUPT);
	if (add & ADD_INTERRUPT)
		start_endpoint(x, slot, DCI_INTERRUPT, input);
	uint32_t entries = read32(x, input + INPUT_SLOT) & 0xf8000000;
	write32(x, s->context, (read32(x, s->context) & 0x07ffffff) | entries);
	s->state = SLOT_CONFIGURED;
	put_slot(x, slot);
	return CC_SUCCESS;
}

/* The largest packet of endpoint 0 is what drivers correct. */
static unsigned evaluate(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	const struct xhci_slot *s = &x->slot[slot];
	uint64_t input = t->parameter & ~15ull, at = s->context + CONTEXT + 4;
	if (s->state < SLOT_DEFAULT)
		return CC_CONTEXT_STATE;
	if (read32(x, input + 4) & ADD_CONTROL)
		write32(x, at, (read32(x, at) & 0xffff) | (read32(x, input + 2 * CONTEXT + 4) & 0xffff0000));
	return CC_SUCCESS;
}

static unsigned on_endpoint(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	unsigned dci = t->control >> 16 & 31, type = trb_type(t);
	if (!dci || dci > XHCI_DCIS || x->slot[slot].ep[dci].state == EP_OFF)
		return CC_ENDPOINT_OFF;
	struct xhci_endpoint *e = &x->slot[slot].ep[dci];
	if (type == TRB_RESET_EP ? e->state != EP_HALTED : type == TRB_STOP_EP ? e->state != EP_RUNNING :
	    e->state == EP_RUNNING || e->state == EP_HALTED)
		return CC_CONTEXT_STATE;
	if (type == TRB_SET_DEQUEUE)
		e->ring = (struct xhci_ring){ t->parameter & ~15ull, t->parameter & 1 };
	e->state = EP_STOPPED;
	e->have_setup = false;
	xhci_put_endpoint(x, slot, dci);
	return CC_SUCCESS;
}

static unsigned reset_device(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	struct xhci_slot *s = &x->slot[slot];
	if (s->state < SLOT_ADDRESSED)
		return CC_CONTEXT_STATE;
	stop_endpoints(x, slot, DCI_CONTROL + 1);
	s->state = SLOT_DEFAULT;
	put_slot(x, slot);
	return CC_SUCCESS;
}

static const struct {
	uint8_t type;
	unsigned (*run)(struct xhci *x, unsigned slot, const struct xhci_trb *t);
} commands[] = {
	{ TRB_DISABLE_SLOT, disable_slot }, { TRB_ADDRESS, address_device }, { TRB_CONFIGURE, configure },
	{ TRB_EVALUATE, evaluate }, { TRB_RESET_EP, on_endpoint }, { TRB_STOP_EP, on_endpoint },
	{ TRB_SET_DEQUEUE, on_endpoint }, { TRB_RESET_DEVICE, reset_device },
};

static unsigned run(struct xhci *x, const struct xhci_trb *t, unsigned *slot)
{
	unsigned type = trb_type(t);
	*slot = t->control >> 24;
	if (type == TRB_ENABLE_SLOT)
		return enable_slot(x, slot);
	if (type == TRB_NO_OP_COMMAND)
		return CC_SUCCESS;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].type == type)
			return !*slot || *slot > XHCI_SLOTS || x->slot[*slot].state == SLOT_OFF ? CC_SLOT_OFF :
			       commands[i].run(x, *slot, t);
	return CC_TRB;
}

void xhci_commands(struct xhci *x)
{
	struct xhci_ring r = { x->crcr & ~63ull, x->command_cycle };
	struct xhci_trb t;
	uint64_t at;
	if (!xhci_runs(x))
		return;
	x->ring_running = true;
	r.at = x->crcr & ~15ull;
	for (unsigned n = 0; n < XHCI_TRBS && xhci_next(x, &r, &t, &at); n++) {
		unsigned slot, code = run(x, &t, &slot);
		xhci_event(x, at, code << 24, TRB_COMMAND_EVENT << 10 | slot << 24);
	}
	x->crcr = r.at;
	x->command_cycle = r.cycle;
}
