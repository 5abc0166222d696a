/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The board's SATA controller; see ahci.c. */
#ifndef DEVICE_ATA_AHCI_H
#define DEVICE_ATA_AHCI_H

#include "base/error.h"

struct machine;
struct disk;

enum { AHCI_DEVFN = 31 << 3 | 2 };

/* index: which of the machine's disks; a CD drive may be empty (NULL). */
struct ahci_drive { struct disk *disk; bool cdrom; unsigned index; };

/* One controller with up to six drives, whose disks it owns from then on. */
bool ahci_create(struct machine *m, const struct ahci_drive *drives, unsigned n, struct error *err);

#endif
