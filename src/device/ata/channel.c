/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An IDE channel: task file, programmed I/O, packets and DMA (ATA/ATAPI-7 volume
 * 2; Programming Interface for Bus Master IDE Controller 1.0).
 *
 * A command's data goes through the channel's own buffer, in chunks that the disk
 * reads or writes whole: a guest that resets a channel takes its registers back
 * at once, while the disk may go on with a buffer that is not the guest's.  Until
 * it has ended, the drive is busy.
 */
#include "device/ata/ide.h"

#include <errno.h>

#include "machine/machine.h"

enum { R_DATA, R_FEATURE, R_COUNT, R_LBA0, R_LBA1, R_LBA2, R_DEVICE, R_COMMAND };
enum { DEV_SECOND = 0x10, DEV_LBA = 0x40, CTRL_NIEN = 2, CTRL_SRST = 4, CTRL_HOB = 0x80 };
enum { PACKET_BYTES = 12, REASON_COMMAND = 1, REASON_TO_HOST = 2 };
enum { CMD_PACKET = 0xa0, CMD_DEVICE_RESET = 0x08, CMD_DIAGNOSE = 0x90, CMD_IDENTIFY = 0xec, HEADS = 16, SECTORS = 63 };

static void next_chunk(struct ide_channel *c);

static struct ata_drive *selected(const struct ide_channel *c)
{
	return c->drive[c->reg[R_DEVICE] & DEV_SECOND ? 1 : 0];
}

/* --- interrupts, status ----------------------------------------------------------- */
void ide_update_irq(struct ide_channel *c)
{
	irq_set(&c->irq, c->interrupt && !(c->control & CTRL_NIEN));
}

static void raise(struct ide_channel *c)
{
	c->bm_status |= IDE_BM_IRQ;
	c->interrupt = true;
	ide_update_irq(c);
}

static void lower(struct ide_channel *c)
{
	c->interrupt = false;
	ide_update_irq(c);
}

/* The task file as the drive leaves it. */
static void put_result(struct ide_channel *c)
{
	const struct ata_command *cmd = &c->cmd;
	c->status = cmd->status;
	c->error = cmd->error;
	c->reg[R_COUNT] = (uint8_t)cmd->count;
	c->old[R_COUNT] = (uint8_t)(cmd->count >> 8);
	for (unsigned i = 0; i < 3; i++) {
		c->reg[R_LBA0 + i] = (uint8_t)(cmd->lba >> i * 8);
		c->old[R_LBA0 + i] = (uint8_t)(cmd->lba >> (24 + i * 8));
	}
}

static void end_command(struct ide_channel *c)
{
	put_result(c);
	c->phase = IDE_IDLE;
	c->bm_status &= (uint8_t)~IDE_BM_ACTIVE;
	raise(c);
}

static void abort_command(struct ide_channel *c)
{
	ata_abort(&c->cmd);
	end_command(c);
}

/* After a reset: who is there (9.12). */
static void signature(struct ide_channel *c)
{
	const struct ata_drive *d = selected(c);
	uint32_t s = d ? ata_signature(d) : UINT32_MAX;
	for (unsigned i = 0; i < 4; i++)
		c->reg[R_COUNT + i] = (uint8_t)(s >> i * 8);
	c->error = 1;
	c->status = d && !d->cdrom ? ATA_ST_READY | ATA_ST_SEEK : 0;
}

void ide_reset_channel(struct ide_channel *c)
{
	c->generation++;
	c->phase = IDE_IDLE;
	c->wanted = false;
	c->reg[R_DEVICE] = 0;
	c->left = c->fill = c->at = c->drq = 0;
	c->bm_status &= (uint8_t)~IDE_BM_ACTIVE;
	for (unsigned i = 0; i < 2; i++)
		if (c->drive[i])
			ata_reset(c->drive[i]);
	signature(c);
	lower(c);
}

/* --- scatter and gather ------------------------------------------------------------- */
/* Entries of address, byte count (0: 64 KiB) and a last mark. False: it is over. */
static bool next_prd(struct ide_channel *c)
{
	uint8_t e[8];
	if (c->prd_end)
		return false;
	memory_dma_read(c->ide->fn.dev.machine->memory, c->prd_next, e, sizeof(e));
	c->prd_next += 8;
	c->prd_at = le32_get(e) & ~1u;
	c->prd_left = le16_get(e + 4) & ~1u;
	if (!c->prd_left)
		c->prd_left = 0x10000;
	c->prd_end = e[7] & 0x80;
	return true;
}

/* The rest of the buffer to or from the guest; false: the list is too short. */
static bool move_dma(struct ide_channel *c, bool to_guest)
{
	struct memory *m = c->ide->fn.dev.machine->memory;
	while (c->at < c->fill) {
		if (!c->prd_left && !next_prd(c))
			return false;
		uint32_t n = MIN(c->prd_left, c->fill - c->at);
		if (to_guest)
			memory_dma_write(m, c->prd_at, c->buffer + c->at, n);
		else
			memory_dma_read(m, c->prd_at, c->buffer + c->at, n);
		c->prd_at += n;
		c->prd_left -= n;
		c->at += n;
	}
	return true;
}

/* --- the disk ----------------------------------------------------------------------- */
static void chunk_done(struct ide_channel *c, int result);

/* Loop thread, board lock not held. */
static void request_done(struct disk_request *r, int result)
{
	struct ide_channel *c = r->opaque;
	struct machine *m = c->ide->fn.dev.machine;
	board_lock(m);
	c->running = false;
	if (c->request_generation == c->generation)
		chunk_done(c, result);
	else
		signature(c);
	board_unlock(m);
}

static void submit(void *opaque)
{
	struct ide_channel *c = opaque;
	struct machine *m = c->ide->fn.dev.machine;
	board_lock(m);
	const struct ata_drive *d = selected(c);
	bool go = c->wanted && !c->running && !c->ide->drained && d;
	if (go && !d->disk) {             /* the CD has been taken away */
		c->wanted = go = false;
		chunk_done(c, -ENODEV);
	}
	if (go) {
		c->wanted = false;
		c->running = true;
		c->request_generation = c->generation;
		c->iov = (struct iovec){ c->buffer, c->fill };
		c->request = (struct disk_request){
			.op = c->cmd.op, .offset = c->cmd.offset, .length = c->fill, .iov = &c->iov,
			.niov = c->fill ? 1 : 0, .done = request_done, .opaque = c,
		};
	}
	board_unlock(m);
	if (go)
		disk_submit(d->disk, &c->request);
}

void ide_post(struct ide_channel *c)
{
	loop_post(c->ide->fn.dev.machine->loop, submit, c);
}

static void want_disk(struct ide_channel *c)
{
	c->phase = IDE_BUSY;
	c->status = ATA_ST_BUSY;
	c->wanted = true;
	ide_post(c);
}

/* --- data ---------------------------------------------------------------------------- */
/* The next block that the guest takes or gives: sectors, or what a packet's host
 * has room for, which is told in the byte count registers. */
static void begin_block(struct ide_channel *c)
{
	uint32_t n = MIN(c->fill - c->at, c->limit);
	if (c->cmd.command == CMD_PACKET) {
		c->reg[R_COUNT] = REASON_TO_HOST;
		c->reg[R_LBA1] = (uint8_t)n;
		c->reg[R_LBA2] = (uint8_t)(n >> 8);
	}
	c->drq = c->at + n;
	c->status = ATA_ST_READY | ATA_ST_SEEK | ATA_ST_DRQ;
}

/* The bus master moves the buffer, either way. */
static bool by_dma(struct ide_channel *c)
{
	if (!c->dma)
		return false;
	c->phase = IDE_DMA;
	c->status = ATA_ST_BUSY;
	ide_bm_started(c);
	return true;
}

/* The buffer holds something for the guest. */
static void deliver(struct ide_channel *c)
{
	c->at = 0;
	if (by_dma(c))
		return;
	c->phase = IDE_PIO_IN;
	begin_block(c);
	raise(c);
}

/* The buffer is for the next chunk; nothing of the last one is left to move. */
static void begin_chunk(struct ide_channel *c)
{
	c->fill = MIN(c->left, (uint32_t)IDE_CHUNK);
	c->left -= c->fill;
	c->at = c->drq = 0;
}

/* The guest has to fill the buffer. */
static void collect(struct ide_channel *c, bool first)
{
	begin_chunk(c);
	if (by_dma(c))
		return;
	c->phase = IDE_PIO_OUT;
	begin_block(c);
	if (!first)
		raise(c);
}

static void next_chunk(struct ide_channel *c)
{
	if (!c->left && c->cmd.transfer != ATA_DISK) {
		end_command(c);
	} else if (!c->left) {
		ata_finish(selected(c), &c->cmd, 0);
		end_command(c);
	} else if (c->cmd.op == DISK_WRITE) {
		collect(c, false);
	} else {
		begin_chunk(c);
		want_disk(c);
	}
}

static void chunk_done(struct ide_channel *c, int result)
{
	c->cmd.offset += c->fill;
	if (result) {
		ata_finish(selected(c), &c->cmd, result);
		end_command(c);
	} else if (c->cmd.op == DISK_READ) {
		deliver(c);
	} else {
		next_chunk(c);
	}
}

/* The bus master runs, or the data is there: whichever comes last. */
void ide_bm_started(struct ide_channel *c)
{
	bool to_guest = c->cmd.op == DISK_READ;
	if (c->phase != IDE_DMA || !(c->bm_command & IDE_BM_START) || !pci_bus_master(&c->ide->fn))
		return;
	if (!move_dma(c, to_guest)) {
		c->bm_status |= IDE_BM_ERROR;
		abort_command(c);
	} else if (to_guest) {
		next_chunk(c);
	} else {
		want_disk(c);
	}
}

/* A block has gone through the data port. */
static void block_done(struct ide_channel *c)
{
	if (c->at < c->fill) {
		begin_block(c);
		raise(c);
	} else if (c->phase == IDE_PIO_OUT) {
		want_disk(c);
	} else if (!c->left && c->cmd.command != CMD_PACKET) {
		put_result(c);            /* the last block in ends without an interrupt */
		c->status = ATA_ST_READY | ATA_ST_SEEK;
		c->phase = IDE_IDLE;
	} else {
		next_chunk(c);
	}
}

/* --- commands -------------------------------------------------------------------------- */
static bool is_28bit(uint8_t command)
{
	static const uint8_t list[] = { 0x20, 0x21, 0x30, 0x31, 0xc4, 0xc5, 0xc8, 0xc9, 0xca, 0xcb, 0x40, 0x41 };
	return memchr(list, command, sizeof(list));
}

/* Cylinder, head, sector, for those who do not set the LBA bit (6.2.1). */
static uint64_t from_chs(const struct ata_command *c)
{
	uint64_t cylinder = c->lba >> 8 & 0xffff, sector = c->lba & 0xff;
	return (cylinder * HEADS + (c->device & 15)) * SECTORS + (sector ? sector - 1 : 0);
}

static void parse(struct ide_channel *c, uint8_t command)
{
	const uint8_t *r = c->reg, *o = c->old;
	struct ata_command *cmd = &c->cmd;
	*cmd = (struct ata_command){
		.command = command, .device = r[R_DEVICE], .op = DISK_READ,
		.feature = (uint16_t)(r[R_FEATURE] | o[R_FEATURE] << 8),
		.count = (uint16_t)(r[R_COUNT] | o[R_COUNT] << 8),
		.lba = r[R_LBA0] | (uint64_t)r[R_LBA1] << 8 | (uint64_t)r[R_LBA2] << 16 |
		       (uint64_t)o[R_LBA0] << 24 | (uint64_t)o[R_LBA1] << 32 | (uint64_t)o[R_LBA2] << 40,
	};
	if (is_28bit(command) && !(cmd->device & DEV_LBA)) {
		uint64_t lba = from_chs(cmd);
		cmd->lba = lba & 0xffffff;
		cmd->device = (uint8_t)((cmd->device & 0xf0) | (lba >> 24 & 15));
	}
}

static bool is_multiple(uint8_t command)
{
	return command == 0xc4 || command == 0xc5 || command == 0x29 || command == 0x39;
}

/* What the command asked for begins to move. */
static void begin_transfer(struct ide_channel *c)
{
	struct ata_command *cmd = &c->cmd;
	struct ata_drive *d = selected(c);
	c->left = 0;
	c->at = c->fill = c->drq = 0;
	if (cmd->transfer == ATA_NO_DATA) {
		end_command(c);
	} else if (cmd->transfer == ATA_BUFFER_IN) {
		memcpy(c->buffer, cmd->data, cmd->length);
		c->fill = cmd->length;
		if (c->fill)
			deliver(c);
		else
			end_command(c);
	} else {
		c->left = cmd->length;
		if (cmd->command != CMD_PACKET)
			c->limit = is_multiple(cmd->command) && d->multiple ? d->multiple * ATA_SECTOR : ATA_SECTOR;
		if (cmd->op == DISK_FLUSH)
			want_disk(c);
		else if (cmd->op == DISK_WRITE)
			collect(c, true);
		else
			next_chunk(c);
	}
}

static void begin_packet(struct ide_channel *c)
{
	uint32_t limit = (uint32_t)(c->reg[R_LBA1] | c->reg[R_LBA2] << 8) & ~1u;
	c->limit = limit ? limit : 0xfffe;
	c->dma = c->cmd.feature & 1;
	c->phase = IDE_PACKET;
	c->at = 0;
	c->fill = c->drq = PACKET_BYTES;
	c->reg[R_COUNT] = REASON_COMMAND;
	c->status = ATA_ST_READY | ATA_ST_DRQ;
}

static void run_packet(struct ide_channel *c)
{
	memcpy(c->cmd.packet, c->buffer, PACKET_BYTES);
	ata_execute(selected(c), &c->cmd);
	begin_transfer(c);
}

static void command(struct ide_channel *c, uint8_t v)
{
	struct ata_drive *d = selected(c);
	lower(c);
	if (!d || c->running || (c->phase != IDE_IDLE && v != CMD_DEVICE_RESET))
		return;
	parse(c, v);
	if (v == CMD_DEVICE_RESET || v == CMD_DIAGNOSE) {
		uint8_t device = c->reg[R_DEVICE];
		ide_reset_channel(c);
		c->reg[R_DEVICE] = v == CMD_DEVICE_RESET ? device : 0;
		signature(c);
		if (v == CMD_DIAGNOSE)
			raise(c);
		return;
	}
	if (v == CMD_PACKET && d->cdrom) {
		begin_packet(c);
		return;
	}
	if (v == 0x60 || v == 0x61) {     /* queued commands are SATA's */
		abort_command(c);
		return;
	}
	c->limit = ATA_SECTOR;
	ata_execute(d, &c->cmd);
	c->dma = c->cmd.transfer == ATA_DISK && !c->cmd.pio;
	begin_transfer(c);
	if (v == CMD_IDENTIFY && d->cdrom) {      /* refused, with the signature (9.12) */
		signature(c);
		c->status = ATA_ST_READY | ATA_ST_ERR;
		c->error = ATA_ERR_ABORT;
	}
}

/* --- registers ------------------------------------------------------------------------ */
static uint32_t read_data(struct ide_channel *c, unsigned size)
{
	uint32_t v = 0;
	if (c->phase != IDE_PIO_IN)
		return UINT32_MAX;
	uint32_t n = MIN((uint32_t)size, c->drq - c->at);
	memcpy(&v, c->buffer + c->at, n);
	c->at += n;
	if (c->at == c->drq)
		block_done(c);
	return le32toh(v);
}

static void write_data(struct ide_channel *c, uint32_t v, unsigned size)
{
	if (c->phase != IDE_PIO_OUT && c->phase != IDE_PACKET)
		return;
	uint32_t n = MIN((uint32_t)size, c->drq - c->at);
	v = htole32(v);
	memcpy(c->buffer + c->at, &v, n);
	c->at += n;
	if (c->at < c->drq)
		return;
	if (c->phase == IDE_PACKET)
		run_packet(c);
	else
		block_done(c);
}

/* A channel without drives floats; an absent drive beside another reads zero. */
uint8_t ide_alt_status(const struct ide_channel *c)
{
	if (!c->drive[0] && !c->drive[1])
		return 0xff;
	return !selected(c) ? 0 : c->running ? ATA_ST_BUSY : c->status;
}

uint32_t ide_read(struct ide_channel *c, unsigned reg, unsigned size)
{
	if (reg == R_DATA)
		return read_data(c, size);
	if (!c->drive[0] && !c->drive[1])
		return 0xff;
	if (reg == R_COMMAND) {
		uint8_t v = ide_alt_status(c);
		lower(c);
		return v;
	}
	if (reg == R_FEATURE)
		return selected(c) ? c->error : 0;
	return c->control & CTRL_HOB && reg != R_DEVICE ? c->old[reg] : c->reg[reg];
}

void ide_write(struct ide_channel *c, unsigned reg, uint32_t v, unsigned size)
{
	if (reg == R_DATA) {
		write_data(c, v, size);
	} else if (reg == R_COMMAND) {
		command(c, (uint8_t)v);
	} else if (c->phase == IDE_IDLE) {
		c->control &= (uint8_t)~CTRL_HOB;
		c->old[reg] = c->reg[reg];
		c->reg[reg] = (uint8_t)v;
	}
}

void ide_write_control(struct ide_channel *c, uint8_t v)
{
	bool was = c->control & CTRL_SRST;
	c->control = v;
	if (was && !(v & CTRL_SRST))
		ide_reset_channel(c);
	else if (v & CTRL_SRST)
		c->status = ATA_ST_BUSY;
	ide_update_irq(c);
}
