/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The LPC bridge of Intel's ICH9 (8086:2918, datasheet 316972) at 1f.0: what is
 * left of it is the routing of PIRQA..H, which always reach I/O APIC inputs 16
 * to 23 and, where the guest says so, an ISA interrupt of the 8259 pair.
 *
 * Threading: routing registers under the board lock, wires under a leaf lock.
 */
#include <pthread.h>

#include "device/chipset.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { REG_PMBASE = 0x40, REG_ACPI_CNTL = 0x44, REG_PIRQA = 0x60, REG_PIRQE = 0x68,
       REG_RCBA = 0xf0, ROUTE_OFF = 0x80 };

struct lpc {
	struct pci_function fn;
	pthread_mutex_t lock;
	uint8_t wires;            /* levels of PIRQA..H */
	uint16_t isa;             /* levels given to the 8259s */
};

static uint8_t *route_of(struct lpc *l, unsigned pirq)
{
	return &l->fn.config[pirq < 4 ? REG_PIRQA + pirq : REG_PIRQE + pirq - 4];
}

unsigned lpc_irq_of_pirq(struct machine *m, unsigned pirq)
{
	uint8_t r = *route_of(m->board_data->lpc, pirq & 7);
	return r & ROUTE_OFF ? 0xff : r & 15;
}

/* requires: lock */
static void update_isa(struct lpc *l)
{
	uint16_t isa = 0;
	for (unsigned i = 0; i < 8; i++)
		if (l->wires >> i & 1 && !(*route_of(l, i) & ROUTE_OFF))
			isa |= (uint16_t)BIT(*route_of(l, i) & 15);
	for (unsigned i = 0; i < 16; i++)
		if ((isa ^ l->isa) >> i & 1)
			i8259_set(l->fn.dev.machine, i, isa >> i & 1);
	l->isa = isa;
}

void lpc_pirq(struct machine *m, unsigned pirq, bool level)
{
	struct lpc *l = m->board_data->lpc;
	pthread_mutex_lock(&l->lock);
	l->wires = level ? l->wires | (uint8_t)BIT(pirq) : l->wires & (uint8_t)~BIT(pirq);
	ioapic_set(m, 16 + pirq, level);
	update_isa(l);
	pthread_mutex_unlock(&l->lock);
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
	struct lpc *l = container_of(f, struct lpc, fn);
	pthread_mutex_lock(&l->lock);
	update_isa(l);
	pthread_mutex_unlock(&l->lock);
}

void lpc_route_default(struct machine *m)
{
	static const uint8_t irq[8] = { 10, 10, 11, 11, 10, 10, 11, 11 };
	struct lpc *l = m->board_data->lpc;
	for (unsigned i = 0; i < 8; i++)
		*route_of(l, i) = irq[i];
	i8259_set_level(m, 0x0c00);   /* shared lines are level-triggered */
	config_written(&l->fn, REG_PIRQA, 1);
}

static void lpc_reset(struct device *d)
{
	struct lpc *l = container_of(d, struct lpc, fn.dev);
	pci_function_reset(&l->fn);
	for (unsigned i = 0; i < 8; i++)
		*route_of(l, i) = ROUTE_OFF;
	le32_put(l->fn.config + REG_PMBASE, BOARD_PM_BASE | 1);
	l->fn.config[REG_ACPI_CNTL] = 0x80;
	config_written(&l->fn, REG_PIRQA, 1);
}

static bool lpc_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct lpc *l = container_of(d, struct lpc, fn.dev);
	pci_xfer(&l->fn, s);
	xfer_u8(s, &l->wires);
	xfer_u16(s, &l->isa);
	return state_ok(s);
}

static void lpc_destroy(struct device *d)
{
	struct lpc *l = container_of(d, struct lpc, fn.dev);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static const struct device_ops lpc_ops = {
	.name = "lpc", .version = 1, .reset = lpc_reset, .xfer = lpc_xfer, .destroy = lpc_destroy,
};

bool lpc_create(struct machine *m, struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x2918, 0x1af4, 0x1100, 0x06010002 };
	struct lpc *l = xnew(struct lpc);
	pthread_mutex_init(&l->lock, NULL);
	m->board_data->lpc = l;
	if (!pci_function_init_at(m, &l->fn, LPC_DEVFN, &ids, &lpc_ops, "lpc", err))
		return false;
	l->fn.config[PCI_HEADER] = PCI_MULTIFUNCTION;
	l->fn.config_written = config_written;
	le32_put(l->fn.wmask + REG_PMBASE, 0xff80);
	l->fn.wmask[REG_ACPI_CNTL] = 0x87;
	for (unsigned i = 0; i < 8; i++)
		l->fn.wmask[(i < 4 ? REG_PIRQA + i : REG_PIRQE + i - 4)] = 0x8f;
	le32_put(l->fn.wmask + REG_RCBA, 0xffffc001);
	lpc_reset(&l->fn.dev);
	return true;
}
