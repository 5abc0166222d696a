/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings of TRBs and the event ring (xHCI 1.2 4.9). */
#include "device/usb/xhci.h"

#include "machine/machine.h"

enum { TRB = 16, MAX_LINKS = 8, IMAN_PENDING = 1, IMAN_ENABLE = 2, CMD_INTERRUPTS = 4, ERDP_BUSY = 8 };
enum { SEGMENT_MIN = 16, SEGMENT_MAX = 4096 };

struct memory *xhci_memory(const struct xhci *x) { return x->fn.dev.machine->memory; }

static struct xhci_trb get(struct xhci *x, uint64_t at)
{
	uint8_t b[TRB] = { 0 };
	memory_dma_read(xhci_memory(x), at, b, sizeof(b));
	return (struct xhci_trb){ le64_get(b), le32_get(b + 8), le32_get(b + 12) };
}

bool xhci_next(struct xhci *x, struct xhci_ring *r, struct xhci_trb *t, uint64_t *at)
{
	for (unsigned links = 0; links < MAX_LINKS; links++) {
		*t = get(x, r->at);
		if ((t->control & TRB_CYCLE) != r->cycle)
			return false;
		if (trb_type(t) != TRB_LINK) {
			*at = r->at;
			r->at += TRB;
			return true;
		}
		r->at = t->parameter & ~15ull;
		r->cycle ^= (t->control & TRB_TOGGLE) != 0;
	}
	return false;
}

/* --- events -------------------------------------------------------------------------- */
void xhci_update_irq(struct xhci *x)
{
	pci_intx(&x->fn, x->iman & IMAN_PENDING && x->iman & IMAN_ENABLE && x->command & CMD_INTERRUPTS);
}

/* A message clears the pending bit by itself (4.17.5); until the driver has moved the
 * dequeue pointer, no other one is sent. */
static void interrupt(struct xhci *x)
{
	bool busy = x->dequeue & ERDP_BUSY;
	x->dequeue |= ERDP_BUSY;
	x->iman |= IMAN_PENDING;
	x->status |= STS_EVENT;
	if (pci_msix_enabled(&x->fn)) {
		if (!busy && x->iman & IMAN_ENABLE && x->command & CMD_INTERRUPTS)
			pci_msix_raise(&x->fn, 0);
		x->iman &= ~(uint32_t)IMAN_PENDING;
	}
	xhci_update_irq(x);
}

void xhci_event_ring(struct xhci *x)
{
	uint8_t e[TRB] = { 0 };
	memory_dma_read(xhci_memory(x), x->erst_base, e, sizeof(e));
	uint32_t size = le32_get(e + 8) & 0xffff;
	x->event_base = le64_get(e) & ~63ull;
	x->event_size = size >= SEGMENT_MIN && size <= SEGMENT_MAX && x->erst_size ? size : 0;
	x->event_at = 0;
	x->event_cycle = true;
}

static bool event_room(const struct xhci *x)
{
	uint32_t next = (x->event_at + 1) % x->event_size;
	return x->event_base + next * (uint64_t)TRB != (x->dequeue & ~15ull);
}

/* What does not fit is lost, as the host would lose a broken driver's (4.9.4). */
void xhci_event(struct xhci *x, uint64_t parameter, uint32_t status, uint32_t control)
{
	uint8_t b[TRB];
	if (!x->event_size || !event_room(x))
		return;
	le64_put(b, parameter);
	le32_put(b + 8, status);
	le32_put(b + 12, control | x->event_cycle);
	memory_dma_write(xhci_memory(x), x->event_base + x->event_at * (uint64_t)TRB, b, sizeof(b));
	if (++x->event_at == x->event_size) {
		x->event_at = 0;
		x->event_cycle = !x->event_cycle;
	}
	interrupt(x);
}
