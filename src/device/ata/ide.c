/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IDE function of Intel's PIIX3 (8086:7010) at 1f.1, in legacy mode: two
 * channels at 0x1f0 and 0x170, IRQ 14 and 15, and a bus master in BAR 4.  Under
 * the board lock; the disk works on the I/O loop's thread.
 */
#include "device/ata/ide.h"

#include "device/media.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { BM_COMMAND = 0, BM_STATUS = 2, BM_PRD = 4, BM_TO_MEMORY = 8, BM_CAPABLE = 0x60,
       TIMING = 0x40, TIMING_DECODE = 0x8000, IRQ = 14 };

static struct ide *from_device(struct device *d) { return container_of(d, struct ide, fn.dev); }

/* --- ports --------------------------------------------------------------------------- */
static uint64_t block_read(void *opaque, uint64_t at, unsigned size)
{
	return ide_read(opaque, (unsigned)at, size);
}

static void block_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	ide_write(opaque, (unsigned)at, (uint32_t)value, size);
}

static uint64_t control_read(void *opaque, uint64_t at, unsigned size)
{
	return ide_alt_status(opaque);
}

static void control_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	ide_write_control(opaque, (uint8_t)value);
}

static uint8_t *prd_byte(struct ide_channel *c, unsigned at) { return (uint8_t *)&c->prd + (at & 3); }

static void write_command(struct ide_channel *c, uint8_t v)
{
	bool starts = v & IDE_BM_START && !(c->bm_command & IDE_BM_START);
	c->bm_command = v & (IDE_BM_START | BM_TO_MEMORY);
	if (starts) {
		c->prd_next = le32toh(c->prd) & ~3u;
		c->prd_left = 0;
		c->prd_end = false;
		c->bm_status |= IDE_BM_ACTIVE;
		ide_bm_started(c);
	} else if (!(v & IDE_BM_START)) {
		c->bm_status &= (uint8_t)~IDE_BM_ACTIVE;
	}
}

static uint64_t master_read(void *opaque, uint64_t at, unsigned size)
{
	struct ide_channel *c = &((struct ide *)opaque)->channel[at >> 3 & 1];
	at &= 7;
	return at == BM_COMMAND ? c->bm_command : at == BM_STATUS ? c->bm_status :
	       at >= BM_PRD ? *prd_byte(c, (unsigned)at) : 0;
}

/* Error and interrupt bits are cleared by writing ones. */
static void master_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct ide_channel *c = &((struct ide *)opaque)->channel[at >> 3 & 1];
	uint8_t v = (uint8_t)value;
	at &= 7;
	if (at == BM_COMMAND)
		write_command(c, v);
	else if (at == BM_STATUS)
		c->bm_status = (uint8_t)((v & BM_CAPABLE) | (c->bm_status & ~v & (IDE_BM_ERROR | IDE_BM_IRQ)) |
					 (c->bm_status & IDE_BM_ACTIVE));
	else if (at >= BM_PRD)
		*prd_byte(c, (unsigned)at) = at == BM_PRD ? v & 0xfc : v;
}

/* --- device -------------------------------------------------------------------------- */
static void ide_reset(struct device *d)
{
	struct ide *a = from_device(d);
	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *c = &a->channel[i];
		memset(c->reg, 0, sizeof(c->reg));
		memset(c->old, 0, sizeof(c->old));
		c->control = c->bm_command = c->bm_status = 0;
		c->prd = 0;
		ide_reset_channel(c);
	}
	pci_function_reset(&a->fn);
	le16_put(a->fn.config + TIMING, TIMING_DECODE);
	le16_put(a->fn.config + TIMING + 2, TIMING_DECODE);
}

static void ide_drain(struct device *d)
{
	struct ide *a = from_device(d);
	board_lock(d->machine);
	a->drained = true;
	board_unlock(d->machine);
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ata_drain(a->channel[i / 2].drive[i & 1]);
}

static void ide_undrain(struct device *d)
{
	struct ide *a = from_device(d);
	a->drained = false;
	ide_post(&a->channel[0]);
	ide_post(&a->channel[1]);
}

static void xfer_command(struct ata_command *c, struct state *s)
{
	uint8_t transfer = (uint8_t)c->transfer, op = (uint8_t)c->op;
	uint8_t *bytes[] = { &c->command, &c->device, &c->status, &c->error };
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		xfer_u8(s, bytes[i]);
	xfer_u16(s, &c->feature);
	xfer_u16(s, &c->count);
	xfer_u64(s, &c->lba);
	xfer_u8_max(s, &transfer, ATA_DISK);
	xfer_u8_max(s, &op, DISK_FLUSH);
	xfer_u64(s, &c->offset);
	c->transfer = (enum ata_transfer)transfer;
	c->op = (enum disk_op)op;
}

static void xfer_master(struct ide_channel *c, struct state *s)
{
	xfer_u8(s, &c->bm_command);
	xfer_u8(s, &c->bm_status);
	uint32_t *regs[] = { &c->prd, &c->prd_next, &c->prd_at, &c->prd_left };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u32(s, regs[i]);
	xfer_bool(s, &c->prd_end);
}

/* Every position is held to the buffer; a request that waits is held to its disk
 * by the disk itself. */
static void xfer_channel(struct ide_channel *c, struct state *s, uint32_t version)
{
	uint8_t phase = (uint8_t)c->phase;
	for (unsigned i = 0; i < 2; i++) {
		xfer_check_u64(s, c->drive[i] != NULL, "a drive at an IDE channel");
		if (c->drive[i])
			ata_xfer(c->drive[i], s, version);
	}
	xfer_bytes(s, c->reg, sizeof(c->reg));
	xfer_bytes(s, c->old, sizeof(c->old));
	uint8_t *bytes[] = { &c->control, &c->status, &c->error };
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		xfer_u8(s, bytes[i]);
	xfer_u8_max(s, &phase, IDE_PHASES - 1);
	xfer_command(&c->cmd, s);
	xfer_bool(s, &c->dma);
	xfer_bool(s, &c->interrupt);
	xfer_bool(s, &c->wanted);
	xfer_u32_max(s, &c->limit, 0xffff);
	xfer_u32(s, &c->left);
	xfer_u32_max(s, &c->fill, IDE_CHUNK);
	xfer_u32_max(s, &c->drq, c->fill);
	xfer_u32_max(s, &c->at, c->fill);
	xfer_master(c, s);
	xfer_bytes(s, c->buffer, state_ok(s) ? c->fill : 0);
	c->phase = (enum ide_phase)phase;
	if (c->phase != IDE_IDLE && !c->drive[c->reg[6] >> 4 & 1])
		state_fail(s, "an IDE channel works for a drive that is not there");
	if (c->phase == IDE_PACKET && c->fill != 12)
		state_fail(s, "an IDE packet has %u bytes", c->fill);
	if ((c->phase == IDE_PIO_IN || c->phase == IDE_PIO_OUT || c->phase == IDE_PACKET) &&
	    (c->at >= c->drq || !c->limit))
		state_fail(s, "an IDE channel waits for no data");
}

static bool ide_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct ide *a = from_device(d);
	pci_xfer(&a->fn, s);
	for (unsigned i = 0; i < 2 && state_ok(s); i++)
		xfer_channel(&a->channel[i], s, version);
	return state_ok(s);
}

static void ide_loaded(struct device *d)
{
	struct ide *a = from_device(d);
	for (unsigned i = 0; i < 2; i++)
		ide_update_irq(&a->channel[i]);
	ide_undrain(d);
}

static void ide_destroy(struct device *d)
{
	struct ide *a = from_device(d);
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ata_unplug(a->channel[i / 2].drive[i & 1]);
	free(a);
}

static const struct io_ops block_io = { block_read, block_write, 1, 4 };
static const struct io_ops control_io = { control_read, control_write, 1, 1 };
static const struct io_ops master_io = { master_read, master_write, 1, 1 };
static const struct device_ops ide_ops = {
	.name = "ide", .version = 2, .reset = ide_reset, .xfer = ide_xfer, .loaded = ide_loaded,
	.drain = ide_drain, .undrain = ide_undrain, .destroy = ide_destroy,
};

static bool change(void *opaque, struct disk *disk, bool force, struct error *err)
{
	return atapi_change(opaque, disk, force, err);
}

static void plug(struct ide *a, unsigned index, const struct ide_drive *from)
{
	struct ata_drive *d = ata_plug(from->disk, from->cdrom, "ide", index);
	a->channel[index / 2].drive[index & 1] = d;
	if (from->cdrom)
		media_register(a->fn.dev.machine, from->index, change, d);
}

bool ide_create(struct machine *m, const struct ide_drive *drives, unsigned n, struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x7010, 0x1af4, 0x1100, 0x01018000 };
	static const uint16_t base[2] = { 0x1f0, 0x170 };
	if (n > IDE_DRIVES)
		return error_set(err, 0, "a machine has at most %d IDE drives, not %u", IDE_DRIVES, n);
	struct ide *a = xnew(struct ide);
	if (!pci_function_init_at(m, &a->fn, IDE_DEVFN, &ids, &ide_ops, "ide", err)) {
		free(a);
		return false;
	}
	pci_bar_add(&a->fn, 4, 16, PCI_BAR_IO, &master_io, a);
	le32_put(a->fn.wmask + TIMING, UINT32_MAX);
	for (unsigned i = 0; i < 2; i++) {
		a->channel[i].ide = a;
		a->channel[i].irq = board_gsi(m, IRQ + i);
		memory_add_io(m->ports, "ide", base[i], 8, 0, &block_io, &a->channel[i]);
		memory_add_io(m->ports, "ide-control", base[i] + 0x206u, 1, 0, &control_io, &a->channel[i]);
	}
	for (unsigned i = 0; i < n; i++)
		plug(a, i, &drives[i]);
	ide_reset(&a->fn.dev);
	return true;
}
