/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk controllers that are neither virtio's nor AHCI. Each owns its disks. */
#ifndef DEVICE_DRIVES_H
#define DEVICE_DRIVES_H

#include "base/error.h"

struct machine;
struct disk;

/* One NVMe controller with `disk` as its namespace; `index` tells several apart. */
bool nvme_create(struct machine *m, struct disk *disk, unsigned index, struct error *err);

/* The floppy controller with one or two drives, which may be empty (NULL); index: which of
 * the machine's disks. Needs the DMA controllers. */
struct floppy_config { struct disk *disk; unsigned index; };
bool i82077_create(struct machine *m, const struct floppy_config *drives, unsigned n, struct error *err);

#endif
