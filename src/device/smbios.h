/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS tables: built once, placed by the monitor or by firmware. */
#ifndef DEVICE_SMBIOS_H
#define DEVICE_SMBIOS_H

#include "base/util.h"

struct machine;

enum { SMBIOS_ENTRY_SIZE = 24, SMBIOS_MAX = 4096 };

struct smbios {
	uint8_t entry[SMBIOS_ENTRY_SIZE];   /* 64-bit entry point, address 0 */
	uint8_t table[SMBIOS_MAX];
	size_t len;
};
void smbios_build(struct machine *m, struct smbios *s);
/* Write the table's address into the entry point. */
void smbios_set_address(struct smbios *s, uint64_t gpa);
/* Without firmware: at BOARD_SMBIOS. */
void smbios_place(struct machine *m);

#endif
