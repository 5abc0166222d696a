/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2): the table at offset 0 of its BAR, the
 * pending bits in its second half.
 *
 * Threading: pci_msix_raise is lock-free.  A raiser that finds its vector
 * masked sets the pending bit and then looks again; an unmasker clears the mask
 * and then looks at the pending bit: one of them sees the other.
 */
#include "device/msix.h"
#include "device/pci_regs.h"
#include "machine/machine.h"
#include "engine/lapic.h"

enum { ENTRY_MASKED = 1, CTRL_ENABLE = 0x80, CTRL_MASK_ALL = 0x40, MAX_VECTORS = 256 };

struct entry { _Atomic uint32_t addr_low, addr_high, data, control; };

struct pci_msix {
	struct pci_msix *next;
	struct pci_function *function;
	unsigned vectors, cap;
	uint64_t half;            /* offset of the pending bits in the BAR */
	_Atomic uint8_t control;  /* high byte of message control: enable, mask all */
	_Atomic uint64_t pending[MAX_VECTORS / 64];
	struct entry entry[MAX_VECTORS];
};

static bool masked(struct pci_msix *x, unsigned n)
{
	uint8_t c = atomic_load(&x->control);
	return (c & CTRL_MASK_ALL) || (atomic_load(&x->entry[n].control) & ENTRY_MASKED);
}

static void send(struct pci_msix *x, unsigned n)
{
	struct entry *e = &x->entry[n];
	uint64_t addr = (uint64_t)atomic_load(&e->addr_high) << 32 | atomic_load(&e->addr_low);
	if (pci_bus_master(x->function))
		lapic_msi(x->function->dev.machine, addr, atomic_load(&e->data));
}

/* Send it if it is pending and may be sent; exactly one caller does. */
static void send_pending(struct pci_msix *x, unsigned n)
{
	uint64_t bit = BIT(n % 64);
	if (masked(x, n) || !(atomic_load(&x->pending[n / 64]) & bit))
		return;
	if (atomic_fetch_and(&x->pending[n / 64], ~bit) & bit)
		send(x, n);
}

void pci_msix_raise(struct pci_function *f, unsigned vector)
{
	struct pci_msix *x = f->msix;
	if (!x || vector >= x->vectors || !pci_msix_enabled(f))
		return;
	if (!masked(x, vector)) {
		send(x, vector);
		return;
	}
	atomic_fetch_or(&x->pending[vector / 64], BIT(vector % 64));
	send_pending(x, vector);
}

bool pci_msix_enabled(const struct pci_function *f)
{
	return f->msix && (atomic_load(&f->msix->control) & CTRL_ENABLE);
}

static void send_all_pending(struct pci_msix *x)
{
	if (!(atomic_load(&x->control) & CTRL_ENABLE))
		return;
	for (unsigned n = 0; n < x->vectors; n++)
		send_pending(x, n);
}

static _Atomic uint32_t *word_of(struct pci_msix *x, uint64_t offset)
{
	struct entry *e = &x->entry[offset / 16];
	_Atomic uint32_t *w[] = { &e->addr_low, &e->addr_high, &e->data, &e->control };
	return w[offset / 4 % 4];
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_msix *x = opaque;
	if (offset < x->vectors * 16ull)
		return atomic_load(word_of(x, offset));
	if (offset >= x->half && offset - x->half < (x->vectors + 63) / 64 * 8)
		return (uint32_t)(atomic_load(&x->pending[(offset - x->half) / 8]) >>
				  (offset & 4) * 8);
	return 0;
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_msix *x = opaque;
	if (offset >= x->vectors * 16ull)
		return;
	if (offset % 16 == 12)
		value &= ENTRY_MASKED;
	atomic_store(word_of(x, offset), (uint32_t)value);
	if (offset % 16 == 12 && (atomic_load(&x->control) & CTRL_ENABLE))
		send_pending(x, (unsigned)(offset / 16));
}

void pci_msix_add(struct pci_function *f, unsigned bar, unsigned vectors)
{
	static const struct io_ops ops = { table_read, table_write, 4, 4 };
	struct pci_msix *x = xnew(struct pci_msix);
	x->function = f;
	x->vectors = MIN(vectors, (unsigned)MAX_VECTORS);
	uint64_t size = PAGE_SIZE;
	while (size < x->vectors * 32ull)
		size *= 2;
	x->half = size / 2;
	x->cap = pci_cap_add(f, PCI_CAP_ID_MSIX, 12);
	le16_put(f->config + x->cap + 2, (uint16_t)(x->vectors - 1));
	le32_put(f->config + x->cap + 4, bar);
	le32_put(f->config + x->cap + 8, (uint32_t)x->half | bar);
	f->wmask[x->cap + 3] = CTRL_ENABLE | CTRL_MASK_ALL;
	f->msix = x;
	x->next = *pci_msix_list(f);
	*pci_msix_list(f) = x;
	pci_bar_add(f, bar, size, 0, &ops, x);
	msix_reset(f);
}

void msix_config_written(struct pci_function *f)
{
	struct pci_msix *x = f->msix;
	uint8_t now = f->config[x->cap + 3] & (CTRL_ENABLE | CTRL_MASK_ALL);
	if (atomic_exchange(&x->control, now) == now)
		return;
	pci_intx(f, f->intx);     /* the wire is cut or connected */
	send_all_pending(x);
}

void msix_reset(struct pci_function *f)
{
	struct pci_msix *x = f->msix;
	f->config[x->cap + 3] &= (uint8_t)~(CTRL_ENABLE | CTRL_MASK_ALL);
	atomic_store(&x->control, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(x->pending); i++)
		atomic_store(&x->pending[i], 0);
	for (unsigned i = 0; i < x->vectors; i++) {
		for (unsigned k = 0; k < 3; k++)
			atomic_store(word_of(x, i * 16 + k * 4), 0);
		atomic_store(&x->entry[i].control, ENTRY_MASKED);
	}
}

static void xfer_word(struct state *s, _Atomic uint32_t *w)
{
	uint32_t v = atomic_load(w);
	xfer_u32(s, &v);
	atomic_store(w, v);
}

void msix_xfer(struct pci_function *f, struct state *s)
{
	struct pci_msix *x = f->msix;
	for (unsigned i = 0; i < x->vectors * 4; i++)
		xfer_word(s, word_of(x, i * 4));
	for (unsigned i = 0; i < (x->vectors + 63) / 64; i++) {
		uint64_t v = atomic_load(&x->pending[i]);
		xfer_u64(s, &v);
		atomic_store(&x->pending[i], v);
	}
	if (state_loading(s))
		atomic_store(&x->control, f->config[x->cap + 3] & (CTRL_ENABLE | CTRL_MASK_ALL));
}

void msix_free_all(struct pci_msix *list)
{
	for (struct pci_msix *next; list; list = next) {
		next = list->next;
		free(list);
	}
}
