/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IDE controller, shared by its files: the PCI function with its bus master
 * (ide.c), and what happens on a channel (channel.c).
 */
#ifndef DEVICE_ATA_IDE_H
#define DEVICE_ATA_IDE_H

#include "device/ata/ata.h"
#include "device/pci.h"

enum { IDE_CHUNK = 64 * 1024 };
enum { IDE_BM_ACTIVE = 1, IDE_BM_ERROR = 2, IDE_BM_IRQ = 4, IDE_BM_START = 1 };
enum ide_phase { IDE_IDLE, IDE_PIO_IN, IDE_PIO_OUT, IDE_PACKET, IDE_DMA, IDE_BUSY, IDE_PHASES };

struct ide;

struct ide_channel {
	struct ide *ide;
	struct irq_line irq;
	struct ata_drive *drive[2];       /* NULL: nobody */
	uint8_t reg[8], old[8];           /* task file; what was written before (48-bit) */
	uint8_t control, status, error;
	enum ide_phase phase;
	struct ata_command cmd;
	bool dma, interrupt;
	uint32_t limit;                   /* bytes a DRQ block at most */
	uint32_t left;                    /* bytes of the command not yet in the buffer */
	uint32_t fill, at, drq;           /* buffer: bytes in it, position, end of the DRQ block */
	uint8_t bm_command, bm_status;
	uint32_t prd, prd_next, prd_at, prd_left;
	bool prd_end;
	uint32_t generation;              /* bumped by resets: the end of older work is ignored */
	bool wanted, running;             /* a request is to be, is with the disk */
	uint32_t request_generation;
	struct disk_request request;
	struct iovec iov;
	uint8_t buffer[IDE_CHUNK];
};

struct ide {
	struct pci_function fn;
	bool drained;
	struct ide_channel channel[2];
};

/* All under the board lock. */
uint32_t ide_read(struct ide_channel *c, unsigned reg, unsigned size);
void ide_write(struct ide_channel *c, unsigned reg, uint32_t v, unsigned size);
uint8_t ide_alt_status(const struct ide_channel *c);
void ide_write_control(struct ide_channel *c, uint8_t v);
void ide_bm_started(struct ide_channel *c);
void ide_reset_channel(struct ide_channel *c);
void ide_update_irq(struct ide_channel *c);
/* Hand a wanted request to the disk soon. */
void ide_post(struct ide_channel *c);

/* index: which of the machine's disks; a CD drive may be empty (NULL). */
struct ide_drive { struct disk *disk; bool cdrom; unsigned index; };
/* The controller with up to four drives, whose disks it owns from then on:
 * master and slave of the first channel, then of the second. */
enum { IDE_DEVFN = 31 << 3 | 1, IDE_DRIVES = 4 };
bool ide_create(struct machine *m, const struct ide_drive *drives, unsigned n, struct error *err);

#endif
