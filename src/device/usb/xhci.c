/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The USB 3 host controller's registers (xHCI 1.2 5) and its life: see xhci.h. */
#include "device/usb/xhci.h"

#include "device/mouse.h"
#include "machine/machine.h"

enum { BAR_SIZE = 0x10000, OPERATION = 0x40, PORTS = 0x440, EXTENDED = 0x800, RUNTIME = 0x1000, DOORBELLS = 0x2000,
       MSIX_BAR = 1 };
enum { CMD_RUN = 1, CMD_RESET = 2, CMD_WRITABLE = 0xd, CRCR_STOP = 6, CRCR_RUNNING = 8, ERDP_BUSY = 8 };
enum { PORT_CONNECTED = 1, PORT_ENABLED = 2, PORT_RESET = 16, PORT_POWER = 1 << 9, PORT_HIGH_SPEED = 3 << 10,
       PORT_POLLING = 7 << 5, PORT_STATE = 15 << 5, PORT_CHANGES = 0xfe0000, PORT_CONNECT_CHANGE = 1 << 17,
       PORT_RESET_CHANGE = 1 << 21, PORT_WAKE = 7 << 25 };

static struct xhci *from_device(struct device *d) { return container_of(d, struct xhci, fn.dev); }

/* --- ports ----------------------------------------------------------------------------- */
static void port_event(struct xhci *x, unsigned port, uint32_t changes)
{
	x->portsc[port] |= changes;
	x->status |= STS_PORT_CHANGE;
	if (xhci_runs(x))
		xhci_event(x, (uint64_t)(port + 1) << 24, CC_SUCCESS << 24, TRB_PORT_EVENT << 10);
}

static void write_port(struct xhci *x, unsigned port, uint32_t v)
{
	uint32_t *p = &x->portsc[port];
	*p &= ~(v & PORT_CHANGES);
	*p = (*p & ~(uint32_t)PORT_WAKE) | (v & PORT_WAKE);
	if (v & PORT_ENABLED)                 /* writing one disables */
		*p &= ~(uint32_t)PORT_ENABLED;
	if (!(v & PORT_RESET))
		return;
	hid_reset(&x->device[port]);
	*p = (*p & ~(uint32_t)PORT_STATE) | PORT_ENABLED;
	port_event(x, port, PORT_RESET_CHANGE);
}

/* --- the whole -------------------------------------------------------------------------- */
static void controller_reset(struct xhci *x)
{
	x->command = x->notify = x->config = x->iman = x->imod = x->erst_size = 0;
	x->status = STS_HALTED;
	x->crcr = x->dcbaap = x->erst_base = x->dequeue = x->event_base = 0;
	x->event_size = x->event_at = 0;
	x->ring_running = x->command_cycle = x->event_cycle = false;
	memset(x->slot, 0, sizeof(x->slot));
	for (unsigned i = 0; i < XHCI_PORTS; i++) {
		hid_reset(&x->device[i]);
		x->portsc[i] = PORT_CONNECTED | PORT_POWER | PORT_HIGH_SPEED | PORT_POLLING | PORT_CONNECT_CHANGE;
	}
	xhci_update_irq(x);
}

static void write_command(struct xhci *x, uint32_t v)
{
	if (v & CMD_RESET) {
		controller_reset(x);
		return;
	}
	bool ran = xhci_runs(x);
	x->command = v & CMD_WRITABLE;
	x->status = v & CMD_RUN ? x->status & ~(uint32_t)STS_HALTED : x->status | STS_HALTED;
	if (!(v & CMD_RUN))
		x->ring_running = false;
	for (unsigned i = 0; !ran && xhci_runs(x) && i < XHCI_PORTS; i++)
		if (x->portsc[i] & PORT_CHANGES)
			port_event(x, i, 0);
	xhci_update_irq(x);
}

/* The pointer only takes while the ring stands still; a stop is done at once. */
static void write_crcr(struct xhci *x, uint32_t v)
{
	if (x->ring_running && v & CRCR_STOP) {
		x->ring_running = false;
		xhci_event(x, x->crcr, (uint32_t)CC_RING_STOPPED << 24, TRB_COMMAND_EVENT << 10);
	} else if (!x->ring_running) {
		x->crcr = (x->crcr & ~0xffffffffull) | (v & ~63u);
		x->command_cycle = v & 1;
	}
}

static void put_half(uint64_t *reg, bool high, uint32_t v)
{
	*reg = high ? (*reg & 0xffffffff) | (uint64_t)v << 32 : (*reg & ~0xffffffffull) | v;
}

static void write_operation(struct xhci *x, unsigned at, uint32_t v)
{
	switch (at) {
	case 0x00: write_command(x, v); break;
	case 0x04: x->status &= ~(v & (STS_HOST_ERROR | STS_EVENT | STS_PORT_CHANGE)); break;
	case 0x14: x->notify = v & 0xffff; break;
	case 0x18: write_crcr(x, v); break;
	case 0x1c:
		if (!x->ring_running)
			put_half(&x->crcr, true, v);
		break;
	case 0x30: put_half(&x->dcbaap, false, v & ~63u); break;
	case 0x34: put_half(&x->dcbaap, true, v); break;
	case 0x38: x->config = v & 0xff; break;
	}
}

static uint32_t read_operation(const struct xhci *x, unsigned at)
{
	switch (at) {
	case 0x00: return x->command;
	case 0x04: return x->status;
	case 0x08: return 1;                  /* pages of 4 KiB */
	case 0x14: return x->notify;
	case 0x18: return x->ring_running ? CRCR_RUNNING : 0;
	case 0x30: return (uint32_t)x->dcbaap;
	case 0x34: return (uint32_t)(x->dcbaap >> 32);
	case 0x38: return x->config;
	}
	return 0;
}

/* Interrupter 0. */
static void write_runtime(struct xhci *x, unsigned at, uint32_t v)
{
	switch (at) {
	case 0x20: x->iman = (x->iman & ~(v & 1) & 1) | (v & 2); break;
	case 0x24: x->imod = v; break;
	case 0x28: x->erst_size = v & 1; break;
	case 0x30: put_half(&x->erst_base, false, v & ~63u); break;
	case 0x34:
		put_half(&x->erst_base, true, v);
		xhci_event_ring(x);
		break;
	case 0x38:
		put_half(&x->dequeue, false, (v & ~(uint32_t)ERDP_BUSY) | (v & ERDP_BUSY ? 0 : (uint32_t)x->dequeue & ERDP_BUSY));
		break;
	case 0x3c: put_half(&x->dequeue, true, v); break;
	}
	xhci_update_irq(x);
}

static uint32_t read_runtime(struct xhci *x, unsigned at)
{
	switch (at) {
	case 0x00: return (uint32_t)(clock_now(x->fn.dev.machine->clock) / 125000) & 0x3fff;
	case 0x20: return x->iman;
	case 0x24: return x->imod;
	case 0x28: return x->erst_size;
	case 0x30: return (uint32_t)x->erst_base;
	case 0x34: return (uint32_t)(x->erst_base >> 32);
	case 0x38: return (uint32_t)x->dequeue;
	case 0x3c: return (uint32_t)(x->dequeue >> 32);
	}
	return 0;
}

static void write_doorbell(struct xhci *x, unsigned slot, uint32_t v)
{
	if (!slot)
		xhci_commands(x);
	else if (slot <= XHCI_SLOTS)
		xhci_transfer(x, slot, v & 0xff);
}

static uint32_t read_capability(unsigned at)
{
	static const uint32_t registers[] = {
		OPERATION | 0x0100u << 16, XHCI_SLOTS | 1 << 8 | XHCI_PORTS << 24, 0, 0,
		1 | (EXTENDED / 4) << 16,         /* 64-bit addresses, contexts of 32 bytes */
		DOORBELLS, RUNTIME, 0,
	};
	return at / 4 < ARRAY_SIZE(registers) ? registers[at / 4] : 0;
}

/* One extended capability: the ports speak USB 2.0. */
static uint32_t read_extended(unsigned at)
{
	static const uint32_t protocol[] = { 2 | 2u << 24, 0x20425355 /* "USB " */, 1 | XHCI_PORTS << 8, 0 };
	return at / 4 < ARRAY_SIZE(protocol) ? protocol[at / 4] : 0;
}

static uint64_t xhci_read(void *opaque, uint64_t where, unsigned size)
{
	struct xhci *x = opaque;
	unsigned at = (unsigned)where;
	if (at < OPERATION)
		return read_capability(at);
	if (at >= PORTS && at < PORTS + XHCI_PORTS * 16)
		return at & 15 ? 0 : x->portsc[(at - PORTS) / 16];
	if (at < PORTS)
		return read_operation(x, at - OPERATION);
	if (at >= EXTENDED && at < RUNTIME)
		return read_extended(at - EXTENDED);
	return at >= RUNTIME && at < DOORBELLS ? read_runtime(x, at - RUNTIME) : 0;
}

static void xhci_write(void *opaque, uint64_t where, uint64_t value, unsigned size)
{
	struct xhci *x = opaque;
	unsigned at = (unsigned)where;
	uint32_t v = (uint32_t)value;
	if (at >= PORTS && at < PORTS + XHCI_PORTS * 16 && !(at & 15))
		write_port(x, (at - PORTS) / 16, v);
	else if (at >= OPERATION && at < PORTS)
		write_operation(x, at - OPERATION, v);
	else if (at >= RUNTIME && at < DOORBELLS)
		write_runtime(x, at - RUNTIME, v);
	else if (at >= DOORBELLS && at < DOORBELLS + (XHCI_SLOTS + 1) * 4)
		write_doorbell(x, (at - DOORBELLS) / 4, v);
}

/* --- what is pressed ----------------------------------------------------------------------- */
enum { KEYBOARD, TABLET };

static bool keyboard_wanted(void *opaque) { return hid_configured(&((struct xhci *)opaque)->device[KEYBOARD]); }
static bool keyboard_full(void *opaque) { return hid_full(&((struct xhci *)opaque)->device[KEYBOARD]); }

static void press(void *opaque, const struct key *key, bool down)
{
	struct xhci *x = opaque;
	hid_press(&x->device[KEYBOARD], key, down);
	xhci_report(x, KEYBOARD);
}

static bool tablet_wanted(void *opaque) { return hid_configured(&((struct xhci *)opaque)->device[TABLET]); }

static void move(void *opaque, unsigned px, unsigned py, int wheel, unsigned buttons)
{
	struct xhci *x = opaque;
	hid_move(&x->device[TABLET], px, py, wheel, buttons);
	xhci_report(x, TABLET);
}

/* --- device ------------------------------------------------------------------------------------ */
static void xhci_reset(struct device *d)
{
	controller_reset(from_device(d));
	pci_function_reset(&from_device(d)->fn);
}

static void xfer_endpoint(struct xhci_endpoint *e, struct state *s)
{
	xfer_u8_max(s, &e->state, EP_STOPPED);
	xfer_u64(s, &e->ring.at);
	xfer_bool(s, &e->ring.cycle);
	xfer_bytes(s, e->setup, sizeof(e->setup));
	xfer_bool(s, &e->have_setup);
}

static void xfer_slot(struct xhci_slot *slot, struct state *s)
{
	xfer_u8_max(s, &slot->state, SLOT_CONFIGURED);
	xfer_u8_max(s, &slot->port, XHCI_PORTS);
	xfer_u64(s, &slot->context);
	for (unsigned i = 0; i <= XHCI_DCIS; i++)
		xfer_endpoint(&slot->ep[i], s);
}

static bool xhci_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct xhci *x = from_device(d);
	pci_xfer(&x->fn, s);
	uint32_t *words[] = { &x->command, &x->status, &x->notify, &x->config, &x->iman, &x->imod, &x->erst_size,
			      &x->portsc[0], &x->portsc[1] };
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		xfer_u32(s, words[i]);
	uint64_t *wide[] = { &x->crcr, &x->dcbaap, &x->erst_base, &x->dequeue, &x->event_base };
	for (unsigned i = 0; i < ARRAY_SIZE(wide); i++)
		xfer_u64(s, wide[i]);
	bool *flags[] = { &x->ring_running, &x->command_cycle, &x->event_cycle };
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		xfer_bool(s, flags[i]);
	xfer_u32_max(s, &x->event_size, 4096);
	xfer_u32_max(s, &x->event_at, x->event_size ? x->event_size - 1 : 0);
	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		xfer_slot(&x->slot[i], s);
	for (unsigned i = 0; i < XHCI_PORTS; i++)
		hid_xfer(&x->device[i], s);
	return state_ok(s);
}

static void xhci_loaded(struct device *d) { xhci_update_irq(from_device(d)); }
static void xhci_destroy(struct device *d) { free(from_device(d)); }

static const struct io_ops xhci_io = { xhci_read, xhci_write, 4, 4, true };
static const struct device_ops xhci_ops = {
	.name = "xhci", .version = 1, .reset = xhci_reset, .xfer = xhci_xfer, .loaded = xhci_loaded,
	.destroy = xhci_destroy,
};
static const struct keyboard_sink keyboard = { keyboard_wanted, keyboard_full, press };
static const struct tablet_sink tablet = { tablet_wanted, move };

bool xhci_create(struct machine *m, struct error *err)
{
	static const struct pci_ids ids = { 0x1b36, 0x000d, 0x1af4, 0x1100, 0x0c033001 };
	struct xhci *x = xnew(struct xhci);
	if (!pci_function_init(m, &x->fn, -1, &ids, &xhci_ops, "xhci", err)) {
		free(x);
		return false;
	}
	x->fn.config[0x60] = 0x30;                /* serial bus release 3.0 */
	x->fn.next_cap = 0x70;
	pci_bar_add(&x->fn, 0, BAR_SIZE, PCI_BAR_64, &xhci_io, x);
	x->device[TABLET].kind = HID_TABLET;
	pci_msix_add(&x->fn, MSIX_BAR + 1, 1);
	controller_reset(x);
	keyboard_register(m, &keyboard, x);
	tablet_register(m, &tablet, x);
	return true;
}
