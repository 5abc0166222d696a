/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SATA controller of Intel's ICH9 (8086:2922) at 1f.2: AHCI 1.3.1 with six
 * ports, 32 slots each, native queueing.
 *
 * Threading: registers and slots under a lock of its own, a leaf below the board
 * lock; command lists are worked through on the I/O loop's thread, which hands
 * requests to the disk without the lock.  A port that is stopped or reset while
 * requests run bumps its generation: their ends are then ignored, and their
 * slots are not used again before.
 */
#include "device/ata/ahci.h"

#include "device/ata/ahci_port.h"
#include "device/chipset.h"
#include "device/media.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { ABAR_SIZE = 0x1000 };
enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10 };
enum { GHC_RESET = 1, GHC_IE = 2 };
#define GHC_AE 0x80000000u
enum { P_CLB = 0x00, P_CLBU = 0x04, P_FB = 0x08, P_FBU = 0x0c, P_IS = 0x10, P_IE = 0x14,
       P_CMD = 0x18, P_TFD = 0x20, P_SIG = 0x24, P_SSTS = 0x28, P_SCTL = 0x2c, P_SERR = 0x30,
       P_SACT = 0x34, P_CI = 0x38 };
enum { CMD_SPIN = 2, CMD_POWER = 4, CMD_CLO = 8, CMD_FR = 0x4000, CMD_CR = 0x8000, CMD_ATAPI = 1 << 24 };
#define CMD_WRITABLE 0xf3000017u

/* --- interrupts ------------------------------------------------------------------ */
void ahci_update_irq(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (a->port[i].is & a->port[i].ie)
			a->is |= (uint32_t)BIT(i);
	pci_intx(&a->fn, a->ghc & GHC_IE && a->is);
}

/* --- registers --------------------------------------------------------------------------- */
/* requires: lock */
static void stop(struct ahci_port *p)
{
	p->ci = p->sact = 0;
	p->halted = false;
	p->generation++;
}

static void port_reset(struct ahci_port *p)
{
	stop(p);
	p->soft_reset = false;
	p->tfd = 0x7f;
	p->sig = UINT32_MAX;
	p->ssts = p->drive ? 0x113 : 0;
	if (!p->drive)
		return;
	ata_reset(p->drive);
	ahci_send_signature(p);
	p->serr |= 1u << 26;              /* device presence exchanged */
	p->is |= PIS_CONNECT;
}

static void write_cmd(struct ahci_port *p, uint32_t v)
{
	bool had_fre = p->cmd & AHCI_CMD_FRE;
	if (!(v & AHCI_CMD_ST) && p->cmd & AHCI_CMD_ST)
		stop(p);
	if (v & CMD_CLO)
		p->tfd &= ~(uint32_t)(ATA_ST_BUSY | ATA_ST_DRQ);
	p->cmd = (v & CMD_WRITABLE & ~0xf0000000u) | (v & AHCI_CMD_ST ? CMD_CR : 0) |
		 (v & AHCI_CMD_FRE ? CMD_FR : 0) | (p->drive && p->drive->cdrom ? CMD_ATAPI : 0);
	if (!had_fre && v & AHCI_CMD_FRE && p->drive && !p->ci && p->sig == ata_signature(p->drive) &&
	    p->tfd >> 8 == 1)
		ahci_send_signature(p);        /* it had waited for a place to go */
}

static void write_sctl(struct ahci_port *p, uint32_t v)
{
	if ((p->sctl & 15) == 1 && !(v & 15))
		port_reset(p);
	if ((v & 15) == 1 && p->drive)
		p->ssts = 0;
	p->sctl = v;
}

static void write_port(struct ahci_port *p, unsigned reg, uint32_t v)
{
	switch (reg) {
	case P_CLB:
		p->clb = (p->clb & ~0xffffffffull) | (v & ~0x3ffu);
		break;
	case P_CLBU:
		p->clb = (p->clb & 0xffffffff) | (uint64_t)v << 32;
		break;
	case P_FB:
		p->fb = (p->fb & ~0xffffffffull) | (v & ~0xffu);
		break;
	case P_FBU:
		p->fb = (p->fb & 0xffffffff) | (uint64_t)v << 32;
		break;
	case P_IS:
		p->is &= ~v;
		break;
	case P_IE:
		p->ie = v & 0xfdc000ff;
		break;
	case P_CMD:
		write_cmd(p, v);
		break;
	case P_SCTL:
		write_sctl(p, v);
		break;
	case P_SERR:
		p->serr &= ~v;
		if (!(p->serr & 1u << 26))
			p->is &= ~(uint32_t)PIS_CONNECT;
		break;
	case P_SACT:
		if (p->cmd & AHCI_CMD_ST)
			p->sact |= v;
		break;
	case P_CI:
		if (p->cmd & AHCI_CMD_ST)
			p->ci |= v;
	}
	if (p->ci)
		ahci_post_work(p->ahci);
}

static uint32_t read_port(const struct ahci_port *p, unsigned reg)
{
	const uint32_t r[] = {
		(uint32_t)p->clb, (uint32_t)(p->clb >> 32), (uint32_t)p->fb, (uint32_t)(p->fb >> 32),
		p->is, p->ie, p->cmd, 0, p->tfd, p->sig, p->ssts, p->sctl, p->serr, p->sact, p->ci,
	};
	return reg / 4 < ARRAY_SIZE(r) ? r[reg / 4] : 0;
}

static void hba_reset(struct ahci *a)
{
	a->ghc = GHC_AE;
	a->is = 0;
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *p = &a->port[i];
		p->clb = p->fb = 0;
		p->is = p->ie = p->serr = p->sctl = 0;
		p->cmd = CMD_SPIN | CMD_POWER | (p->drive && p->drive->cdrom ? CMD_ATAPI : 0);
		port_reset(p);
	}
}

static void write_host(struct ahci *a, unsigned reg, uint32_t v)
{
	if (reg == GHC) {
		if (v & GHC_RESET)
			hba_reset(a);
		else
			a->ghc = GHC_AE | (v & GHC_IE);
	} else if (reg == IS) {
		a->is &= ~v;
	}
}

static uint32_t read_host(const struct ahci *a, unsigned reg)
{
	switch (reg) {
	case CAP:   /* 64-bit, NCQ, 3 Gb/s, AHCI only, slots, ports */
		return 0x80000000u | 1u << 30 | 2u << 20 | 1u << 18 | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1);
	case GHC:
		return a->ghc;
	case IS:
		return a->is;
	case PI:
		return (1u << AHCI_PORTS) - 1;
	case VS:
		return 0x00010300;
	}
	return 0;
}

static uint64_t ahci_read(void *opaque, uint64_t at, unsigned size)
{
	struct ahci *a = opaque;
	pthread_mutex_lock(&a->lock);
	uint32_t v = at < 0x100 ? read_host(a, (unsigned)at) :
		     at < 0x100 + AHCI_PORTS * 0x80 ? read_port(&a->port[(at - 0x100) / 0x80], at & 0x7f) : 0;
	pthread_mutex_unlock(&a->lock);
	return v;
}

static void ahci_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct ahci *a = opaque;
	pthread_mutex_lock(&a->lock);
	if (at < 0x100)
		write_host(a, (unsigned)at, (uint32_t)value);
	else if (at < 0x100 + AHCI_PORTS * 0x80)
		write_port(&a->port[(at - 0x100) / 0x80], at & 0x7f, (uint32_t)value);
	ahci_update_irq(a);
	pthread_mutex_unlock(&a->lock);
}

/* --- device -------------------------------------------------------------------------------- */
static struct ahci *from_device(struct device *d) { return container_of(d, struct ahci, fn.dev); }

/* What runs must have ended before memory is given to somebody else. */
static void finish_running(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ata_drain(a->port[i].drive);
}

static void ahci_drain(struct device *d)
{
	struct ahci *a = from_device(d);
	pthread_mutex_lock(&a->lock);
	a->drained = true;
	pthread_mutex_unlock(&a->lock);
	finish_running(a);
}

static void ahci_undrain(struct device *d)
{
	struct ahci *a = from_device(d);
	pthread_mutex_lock(&a->lock);
	a->drained = false;
	ahci_post_work(a);
	pthread_mutex_unlock(&a->lock);
}

static void ahci_reset(struct device *d)
{
	struct ahci *a = from_device(d);
	finish_running(a);
	pthread_mutex_lock(&a->lock);
	hba_reset(a);
	ahci_update_irq(a);
	pthread_mutex_unlock(&a->lock);
	pci_function_reset(&a->fn);
}

static void xfer_port(struct ahci_port *p, struct state *s, uint32_t version)
{
	xfer_check_u64(s, p->drive != NULL, "a drive at a SATA port");
	xfer_u64(s, &p->clb);
	xfer_u64(s, &p->fb);
	uint32_t *regs[] = { &p->is, &p->ie, &p->cmd, &p->tfd, &p->sig, &p->ssts, &p->sctl,
			     &p->serr, &p->sact, &p->ci };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u32(s, regs[i]);
	xfer_bool(s, &p->halted);
	xfer_bool(s, &p->soft_reset);
	if (p->drive)
		ata_xfer(p->drive, s, version);
}

static bool ahci_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct ahci *a = from_device(d);
	pci_xfer(&a->fn, s);
	xfer_u32(s, &a->ghc);
	xfer_u32(s, &a->is);
	for (unsigned i = 0; i < AHCI_PORTS && state_ok(s); i++)
		xfer_port(&a->port[i], s, version);
	return state_ok(s);
}

static void ahci_destroy(struct device *d)
{
	struct ahci *a = from_device(d);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		ata_unplug(a->port[i].drive);
		free(a->port[i].slot);
	}
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static const struct io_ops ahci_io = { ahci_read, ahci_write, 4, 4, true };
static const struct device_ops ahci_ops = {
	.name = "ahci", .version = 2, .reset = ahci_reset, .xfer = ahci_xfer,
	.loaded = ahci_undrain, .drain = ahci_drain, .undrain = ahci_undrain, .destroy = ahci_destroy,
};

static bool change(void *opaque, struct disk *disk, bool force, struct error *err)
{
	struct ahci_port *p = opaque;
	pthread_mutex_lock(&p->ahci->lock);
	bool ok = atapi_change(p->drive, disk, force, err);
	pthread_mutex_unlock(&p->ahci->lock);
	return ok;
}

static void plug(struct ahci *a, unsigned index, const struct ahci_drive *from)
{
	struct ahci_port *p = &a->port[index];
	p->drive = ata_plug(from->disk, from->cdrom, "sata", index);
	p->slot = xcalloc(AHCI_SLOTS, sizeof(*p->slot));
	for (unsigned i = 0; i < AHCI_SLOTS; i++)
		p->slot[i].port = p;
	if (from->cdrom)
		media_register(a->fn.dev.machine, from->index, change, p);
}

bool ahci_create(struct machine *m, const struct ahci_drive *drives, unsigned n, struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x2922, 0x1af4, 0x1100, 0x01060102 };
	if (n > AHCI_PORTS)
		return error_set(err, 0, "a machine has at most %d SATA drives, not %u", AHCI_PORTS, n);
	struct ahci *a = xnew(struct ahci);
	pthread_mutex_init(&a->lock, NULL);
	if (!pci_function_init_at(m, &a->fn, AHCI_DEVFN, &ids, &ahci_ops, "ahci", err)) {
		free(a);
		return false;
	}
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		a->port[i].ahci = a;
		a->port[i].index = i;
	}
	for (unsigned i = 0; i < n; i++)
		plug(a, i, &drives[i]);
	a->fn.config[PCI_INT_PIN] = 1;
	pci_bar_add(&a->fn, 5, ABAR_SIZE, 0, &ahci_io, a);
	pthread_mutex_lock(&a->lock);
	hba_reset(a);
	pthread_mutex_unlock(&a->lock);
	return true;
}
