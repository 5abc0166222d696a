/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware: the ROM below 4 GiB and what it is told through fw_cfg and CMOS. */
#ifndef DEVICE_FIRMWARE_H
#define DEVICE_FIRMWARE_H

#include "base/error.h"

struct machine;

/* Map the ROM, if the machine has one. */
bool firmware_create(struct machine *m, struct error *err);
/* After all devices: items, tables, CMOS. */
void firmware_describe(struct machine *m);

#endif
