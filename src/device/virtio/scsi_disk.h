/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A SCSI disk, apart from its host adapter: what a command asks for. */
#ifndef DEVICE_VIRTIO_SCSI_DISK_H
#define DEVICE_VIRTIO_SCSI_DISK_H

#include "disk/disk.h"

enum { SCSI_BLOCK = 512, SCSI_DATA_MAX = 512, SCSI_SENSE = 18, SCSI_CDB = 32 };
enum { SCSI_GOOD = 0, SCSI_CHECK = 2 };

struct scsi_disk { struct disk *disk; struct disk_info info; char serial[16]; };

enum scsi_transfer { SCSI_NO_DATA, SCSI_ANSWER, SCSI_DISK };
struct scsi_command {
	uint8_t cdb[SCSI_CDB];            /* in */
	enum scsi_transfer transfer;      /* out: what remains to be done */
	uint8_t data[SCSI_DATA_MAX];      /* SCSI_ANSWER */
	uint32_t length;
	enum disk_op op;                  /* SCSI_DISK */
	uint64_t offset, bytes;
	uint8_t status, sense[SCSI_SENSE];
};

void scsi_execute(const struct scsi_disk *d, struct scsi_command *c);
/* The disk has ended with 0 or -errno. */
void scsi_finish(struct scsi_command *c, int result);

#endif
