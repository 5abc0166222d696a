/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SATA controller, shared by its files: registers and life (ahci.c), and what
 * happens in a command slot (ahci_command.c).
 */
#ifndef DEVICE_ATA_AHCI_PORT_H
#define DEVICE_ATA_AHCI_PORT_H

#include <pthread.h>

#include "device/ata/ata.h"
#include "device/pci.h"

enum { AHCI_PORTS = 6, AHCI_SLOTS = 32, AHCI_MAX_SEGMENTS = 256 };
enum { AHCI_CMD_ST = 1, AHCI_CMD_FRE = 0x10 };
enum { PIS_D2H = 1, PIS_PIO = 2, PIS_SDB = 8, PIS_CONNECT = 0x40 };
#define PIS_HOST_BUS BIT(29)
#define PIS_TASKFILE BIT(30)

struct ahci_port;

struct ahci_slot {
	struct ahci_port *port;
	bool active;              /* the disk works for it */
	uint32_t generation;
	uint32_t header[2];       /* DW0, DW1 of the command header */
	uint64_t header_gpa, table;
	struct ata_command cmd;
	struct disk_request request;
	unsigned segments;
	struct iovec iov[AHCI_MAX_SEGMENTS];
	uint64_t gpa[AHCI_MAX_SEGMENTS];
};

struct ahci_port {
	struct ahci *ahci;
	unsigned index;
	struct ata_drive *drive;  /* NULL: nothing plugged in */
	uint64_t clb, fb;
	uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	bool halted;              /* after an error, until ST is cleared */
	bool soft_reset;          /* SRST has been seen */
	uint32_t generation;
	unsigned running;
	bool running_queued;
	struct ahci_slot *slot;   /* AHCI_SLOTS of them, where there is a drive */
};

struct ahci {
	struct pci_function fn;
	pthread_mutex_t lock;
	uint32_t ghc, is;
	bool work_posted, drained;
	struct ahci_port port[AHCI_PORTS];
};

/* All of these: requires the lock. */
void ahci_update_irq(struct ahci *a);
/* Have the loop look for commands. */
void ahci_post_work(struct ahci *a);
/* The first FIS after a reset: who is there. */
void ahci_send_signature(struct ahci_port *p);

#endif
