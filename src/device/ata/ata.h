/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA and ATAPI drives, apart from any controller: what a command does.  The
 * controller takes the command apart into a struct ata_command, calls
 * ata_execute(), and moves the data that it asks for.
 */
#ifndef DEVICE_ATA_ATA_H
#define DEVICE_ATA_ATA_H

#include "base/state.h"
#include "disk/disk.h"

enum { ATA_SECTOR = 512, CD_SECTOR = 2048, ATA_DATA_MAX = 512 };
enum { ATA_ST_ERR = 1, ATA_ST_DRQ = 8, ATA_ST_SEEK = 0x10, ATA_ST_READY = 0x40, ATA_ST_BUSY = 0x80 };
enum { ATA_ERR_ABORT = 4, ATA_ERR_ID = 0x10, ATA_ERR_UNC = 0x40 };

struct ata_drive {
	struct disk *disk;        /* owned; NULL: a CD drive without a medium */
	struct disk_info info;
	bool cdrom;
	char serial[21];
	uint8_t multiple;         /* sectors a READ MULTIPLE block */
	bool locked;              /* CD: PREVENT MEDIUM REMOVAL */
	bool open;                /* CD: the tray is out */
	uint8_t event;            /* CD: enum cd_event that the host has not been told */
	uint8_t sense_key, asc;
};

/* MMC-5 6.6.2.3, media class */
enum cd_event { CD_NO_EVENT, CD_EJECT_REQUEST, CD_NEW_MEDIUM, CD_REMOVAL, CD_EVENTS };

/* What remains to be done for a command. */
enum ata_transfer { ATA_NO_DATA, ATA_BUFFER_IN, ATA_DISK };

struct ata_command {
	/* in: the task file, 48-bit fields joined */
	uint8_t command, device;
	uint16_t feature, count;
	uint64_t lba;
	uint8_t packet[16];
	/* out */
	enum ata_transfer transfer;
	uint8_t data[ATA_DATA_MAX];       /* ATA_BUFFER_IN */
	uint32_t length;                  /* bytes to move */
	enum disk_op op;                  /* ATA_DISK */
	uint64_t offset;
	bool pio, queued;
	uint8_t tag;                      /* queued: 0..31 */
	uint8_t status, error;
};

void ata_execute(struct ata_drive *d, struct ata_command *c);
/* The disk has finished ATA_DISK: result 0 or -errno, to status and error. */
void ata_finish(struct ata_drive *d, struct ata_command *c, int result);
void ata_reset(struct ata_drive *d);
/* version: of the controller's record; trays since 2. */
bool ata_xfer(struct ata_drive *d, struct state *s, uint32_t version);
/* A drive for the machine's disk `index`, which it owns from then on; `id`: for its serial. */
struct ata_drive *ata_plug(struct disk *disk, bool cdrom, const char *id, unsigned index);
void ata_unplug(struct ata_drive *d);
/* Wait for what is in flight; on the I/O loop. */
void ata_drain(struct ata_drive *d);
/* Another medium or none; requires the controller's lock, and nothing in flight. */
bool atapi_change(struct ata_drive *d, struct disk *disk, bool force, struct error *err);
/* LBA low/mid/high and count after a reset: how drives are told apart. */
uint32_t ata_signature(const struct ata_drive *d);

/* for atapi.c */
void atapi_packet(struct ata_drive *d, struct ata_command *c);
void ata_abort(struct ata_command *c);
void ata_buffer(struct ata_command *c, uint32_t len, uint32_t max);
void ata_put_string(uint8_t *identify, unsigned word, unsigned words, const char *text);
void atapi_identify(struct ata_drive *d, struct ata_command *c);

#endif
