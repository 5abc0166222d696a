/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk controllers that are neither virtio's nor AHCI. Each owns its disks. */
#ifndef DEVICE_DRIVES_H
#define DEVICE_DRIVES_H

#include "base/error.h"

struct machine;
struct disk;

/* One NVMe controller with `disk` as its namespace; `index` tells several apart. */
bool nvme_create(struct machine *m, struct disk *disk, unsigned index, struct error *err);

#endif
