/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions on bus 0: configuration space, BAR decoding, INTx (PCI Local
 * Bus 3.0).  Everything under the board lock but pci_intx, which any thread may
 * call: the wires have a leaf lock.
 *
 * Invariant: after each config write, a BAR's region is mapped where its
 * register says, and only while the command register enables it.
 */
#include <pthread.h>

#include "device/chipset.h"
#include "device/msix.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { FIRST_SLOT = 2, BAR_PRIORITY = -10 };   /* RAM wins over a BAR put there */

struct pci_bus {
	struct pci_function *function[256];
	pthread_mutex_t lock;             /* INTx wires */
	unsigned asserted[8];             /* functions that pull each PIRQ */
	struct pci_msix *msix;            /* all of them, to be freed at the end */
	struct pci_rom *roms;             /* the same */
};

/* --- registration --------------------------------------------------------- */
static struct pci_bus *bus_of(struct machine *m)
{
	if (!m->pci) {
		m->pci = xnew(struct pci_bus);
		pthread_mutex_init(&m->pci->lock, NULL);
	}
	return m->pci;
}

static int free_slot(const struct pci_bus *b)
{
	for (int slot = FIRST_SLOT; slot < 31; slot++)
		if (!b->function[slot << 3])
			return slot;
	return -1;
}

static void init_header(struct pci_function *f, const struct pci_ids *ids)
{
	le16_put(f->config + PCI_VENDOR, ids->vendor);
	le16_put(f->config + PCI_DEVICE, ids->device);
	le32_put(f->config + PCI_CLASS_REV, ids->class_rev);
	le16_put(f->config + PCI_SUB_VENDOR, ids->sub_vendor);
	le16_put(f->config + PCI_SUB_DEVICE, ids->sub_device);
	le16_put(f->wmask + PCI_COMMAND, PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER |
		 PCI_CMD_INTX_OFF);
	f->wmask[PCI_CACHE_LINE] = 0xff;
	f->wmask[PCI_INT_LINE] = 0xff;
	f->next_cap = 0x40;
}

bool pci_function_init_at(struct machine *m, struct pci_function *f, unsigned devfn,
			  const struct pci_ids *ids, const struct device_ops *ops,
			  const char *id, struct error *err)
{
	struct pci_bus *b = bus_of(m);
	if (b->function[devfn & 0xff])
		return error_set(err, 0, "PCI slot %u.%u is taken twice", devfn >> 3, devfn & 7);
	f->bus = b;
	f->devfn = (uint8_t)devfn;
	b->function[f->devfn] = f;
	init_header(f, ids);
	device_add(m, &f->dev, ops, id);
	return true;
}

bool pci_function_init(struct machine *m, struct pci_function *f, int slot,
		       const struct pci_ids *ids, const struct device_ops *ops,
		       const char *id, struct error *err)
{
	if (slot < 0)
		slot = free_slot(bus_of(m));
	if (slot < 0)
		return error_set(err, 0, "the machine has no free PCI slot for %s: "
				 "use fewer devices", id);
	if (!pci_function_init_at(m, f, (unsigned)slot << 3, ids, ops, id, err))
		return false;
	f->config[PCI_INT_PIN] = slot ? 1 : 0;
	return true;
}

static unsigned bar_offset(unsigned n) { return n == 6 ? PCI_ROM : PCI_BAR0 + 4 * n; }

/* requires: memory_begin. The region is not to be seen before it is mapped. */
static void bar_set(struct pci_function *f, unsigned n, uint64_t size, unsigned flags, struct mem_region *r)
{
	struct machine *m = f->dev.machine;
	unsigned at = bar_offset(n);
	f->bar[n] = (struct pci_bar){ .size = size, .flags = (uint8_t)flags, .region = r };
	mem_region_set(flags & PCI_BAR_IO ? m->ports : m->memory, r, false, 0);
	le32_put(f->wmask + at, (uint32_t)~(size - 1) | (n == 6));
	if (flags & PCI_BAR_64)
		le32_put(f->wmask + at + 4, (uint32_t)(~(size - 1) >> 32));
	if (n < 6)
		f->config[at] = (uint8_t)flags;
}

void pci_bar_add(struct pci_function *f, unsigned n, uint64_t size, unsigned flags,
		 const struct io_ops *ops, void *opaque)
{
	struct machine *m = f->dev.machine;
	struct memory *space = flags & PCI_BAR_IO ? m->ports : m->memory;
	memory_begin(space);
	bar_set(f, n, size, flags, memory_add_io(space, f->dev.id, 0, size, BAR_PRIORITY, ops, opaque));
	memory_commit(space);
}

void pci_bar_add_ram(struct pci_function *f, unsigned n, unsigned flags, struct ram_slot *ram)
{
	struct memory *m = f->dev.machine->memory;
	memory_begin(m);
	bar_set(f, n, ram->size, flags, memory_add_alias(m, f->dev.id, 0, ram->size, BAR_PRIORITY, false, ram, 0));
	memory_commit(m);
}

struct pci_msix **pci_msix_list(struct pci_function *f) { return &f->bus->msix; }
struct pci_rom **pci_rom_list(struct pci_function *f) { return &f->bus->roms; }

unsigned pci_cap_add(struct pci_function *f, uint8_t id, unsigned len)
{
	unsigned at = f->next_cap;
	f->config[at] = id;
	f->config[at + 1] = f->config[PCI_CAP_PTR];
	f->config[PCI_CAP_PTR] = (uint8_t)at;
	f->config[PCI_STATUS] |= PCI_STATUS_CAPS;
	f->next_cap = (uint16_t)(at + ALIGN_UP(len, 4));
	return at;
}

/* --- BARs ----------------------------------------------------------------- */
static uint64_t bar_address(const struct pci_function *f, unsigned n)
{
	const struct pci_bar *b = &f->bar[n];
	unsigned at = bar_offset(n);
	uint64_t v = le32_get(f->config + at) & ~(b->flags & PCI_BAR_IO ? 3u : 15u);
	if (b->flags & PCI_BAR_64)
		v |= (uint64_t)le32_get(f->config + at + 4) << 32;
	return v & ~(b->size - 1);
}

static bool bar_enabled(const struct pci_function *f, unsigned n)
{
	uint16_t cmd = le16_get(f->config + PCI_COMMAND);
	if (n == 6 && !(f->config[PCI_ROM] & 1))
		return false;
	return cmd & (f->bar[n].flags & PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM);
}

/* Address 0 and "all ones", which sizing writes, decode nothing. */
static bool bar_sane(const struct pci_function *f, unsigned n, uint64_t base)
{
	const struct pci_bar *b = &f->bar[n];
	uint64_t last = base + b->size - 1;
	uint64_t top = b->flags & PCI_BAR_IO ? 0xffff :
		       b->flags & PCI_BAR_64 ? BIT(52) - 1 : UINT32_MAX - 1;
	return base && last >= base && last <= top;
}

static void map_bar(struct pci_function *f, unsigned n)
{
	struct pci_bar *b = &f->bar[n];
	uint64_t base = bar_address(f, n);
	bool on = bar_enabled(f, n) && bar_sane(f, n, base);
	if (on == b->mapped && (!on || base == b->base))
		return;
	struct machine *m = f->dev.machine;
	mem_region_set(b->flags & PCI_BAR_IO ? m->ports : m->memory, b->region, on, on ? base : 0);
	b->mapped = on;
	b->base = base;
}

static void map_bars(struct pci_function *f)
{
	for (unsigned n = 0; n < ARRAY_SIZE(f->bar); n++)
		if (f->bar[n].region)
			map_bar(f, n);
}

bool pci_bus_master(const struct pci_function *f)
{
	return f->config[PCI_COMMAND] & PCI_CMD_MASTER;
}

/* --- INTx ----------------------------------------------------------------- */
/* requires: bus lock. Bring the wire to what the function wants. */
static void drive_wire(struct pci_function *f, bool want)
{
	unsigned pirq = board_pirq(f->devfn >> 3, f->config[PCI_INT_PIN] - 1u);
	if (want == f->intx_wire)
		return;
	f->intx_wire = want;
	unsigned *count = &f->bus->asserted[pirq];
	*count += want ? 1 : -1u;
	if (*count == (want ? 1 : 0))
		lpc_pirq(f->dev.machine, pirq, want);
}

static void update_intx(struct pci_function *f)
{
	bool off = f->config[PCI_COMMAND + 1] & PCI_CMD_INTX_OFF >> 8;
	if (f->intx)
		f->config[PCI_STATUS] |= PCI_STATUS_INTX;
	else
		f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
	if (f->config[PCI_INT_PIN])
		drive_wire(f, f->intx && !off && !pci_msix_enabled(f));
}

void pci_intx(struct pci_function *f, bool level)
{
	pthread_mutex_lock(&f->bus->lock);
	f->intx = level;
	update_intx(f);
	pthread_mutex_unlock(&f->bus->lock);
}

/* --- configuration space -------------------------------------------------- */
uint32_t pci_config_read(struct machine *m, unsigned devfn, unsigned offset, unsigned size)
{
	struct pci_function *f = m->pci->function[devfn & 0xff];
	uint32_t v = UINT32_MAX;
	if (f && offset + size <= sizeof(f->config)) {
		if (f->config_reading)
			f->config_reading(f, offset, size);
		memcpy(&v, f->config + offset, size);
	}
	v = le32toh(v);
	return size == 4 ? v : v & (uint32_t)(BIT(size * 8) - 1);
}

static void write_bytes(struct pci_function *f, unsigned offset, uint32_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++, value >>= 8) {
		unsigned at = offset + i;
		uint8_t v = (uint8_t)value;
		f->config[at] = (f->config[at] & (uint8_t)~f->wmask[at]) | (v & f->wmask[at]);
		f->config[at] &= (uint8_t)~(v & f->w1c[at]);
	}
}

void pci_config_write(struct machine *m, unsigned devfn, unsigned offset, uint32_t value,
		      unsigned size)
{
	struct pci_function *f = m->pci->function[devfn & 0xff];
	if (!f || offset + size > sizeof(f->config))
		return;
	pthread_mutex_lock(&f->bus->lock);
	write_bytes(f, offset, value, size);
	update_intx(f);
	pthread_mutex_unlock(&f->bus->lock);
	memory_begin(m->memory);
	memory_begin(m->ports);
	map_bars(f);
	memory_commit(m->ports);
	memory_commit(m->memory);
	if (f->msix)
		msix_config_written(f);
	if (f->config_written)
		f->config_written(f, offset, size);
}

/* --- reset and state ------------------------------------------------------ */
void pci_function_reset(struct pci_function *f)
{
	pthread_mutex_lock(&f->bus->lock);
	for (unsigned i = 0; i < 0x40; i++)
		f->config[i] &= (uint8_t)~f->wmask[i];
	f->intx = false;
	update_intx(f);
	pthread_mutex_unlock(&f->bus->lock);
	map_bars(f);
	if (f->msix)
		msix_reset(f);
}

/* Only what the guest can write travels; the rest must be this machine's. */
static void xfer_config(struct pci_function *f, struct state *s)
{
	uint8_t in[sizeof(f->config)];
	memcpy(in, f->config, sizeof(in));
	xfer_bytes(s, in, sizeof(in));
	if (!state_ok(s) || !state_loading(s))
		return;
	if (memcmp(in, f->config, 4)) {
		state_fail(s, "another PCI device is in slot %u", f->devfn >> 3);
		return;
	}
	for (unsigned i = 0; i < sizeof(in); i++) {
		uint8_t mine = f->wmask[i] | f->w1c[i];
		f->config[i] = (f->config[i] & (uint8_t)~mine) | (in[i] & mine);
	}
}

bool pci_xfer(struct pci_function *f, struct state *s)
{
	bool intx = f->intx;
	xfer_config(f, s);
	xfer_bool(s, &intx);
	if (f->msix)
		msix_xfer(f, s);
	if (state_ok(s) && state_loading(s)) {
		map_bars(f);
		pci_intx(f, intx);
	}
	return state_ok(s);
}

void pci_free(struct machine *m)
{
	if (!m->pci)
		return;
	msix_free_all(m->pci->msix);
	pci_rom_free_all(m->pci->roms);
	pthread_mutex_destroy(&m->pci->lock);
	free(m->pci);
	m->pci = NULL;
}

/* --- what firmware would do ------------------------------------------------ */
struct window { uint64_t next, end; };

static uint64_t take(struct window *w, uint64_t size)
{
	uint64_t at = ALIGN_UP(w->next, MAX(size, PAGE_SIZE));
	if (at > w->end || w->end - at < size)
		return 0;
	w->next = at + size;
	return at;
}

static void assign_function(struct machine *m, struct pci_function *f, struct window *io,
			    struct window *low, struct window *high)
{
	unsigned cmd = f->config[PCI_COMMAND];
	for (unsigned n = 0; n < 6; n++) {
		struct pci_bar *b = &f->bar[n];
		if (!b->size)
			continue;
		bool wide = b->flags & PCI_BAR_64 && b->flags & PCI_BAR_PREFETCH;
		struct window *w = b->flags & PCI_BAR_IO ? io : wide ? high : low;
		uint64_t at = take(w, b->size);
		pci_config_write(m, f->devfn, bar_offset(n), (uint32_t)at, 4);
		if (b->flags & PCI_BAR_64)
			pci_config_write(m, f->devfn, bar_offset(n) + 4, (uint32_t)(at >> 32), 4);
		if (at)
			cmd |= b->flags & PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM;
	}
	unsigned pirq = board_pirq(f->devfn >> 3, f->config[PCI_INT_PIN] - 1u);
	if (f->config[PCI_INT_PIN])
		pci_config_write(m, f->devfn, PCI_INT_LINE, lpc_irq_of_pirq(m, pirq), 1);
	pci_config_write(m, f->devfn, PCI_COMMAND, cmd, 2);
}

void pci_assign(struct machine *m)
{
	struct window io = { 0xc000, 0x10000 };
	struct window low = { BOARD_PCI32, 0xfe000000 }, high = { BOARD_PCI64, BOARD_PCI64_END };
	lpc_route_default(m);
	for (unsigned i = 0; i < 256; i++)
		if (m->pci->function[i])
			assign_function(m, m->pci->function[i], &io, &low, &high);
}
