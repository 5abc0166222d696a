/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware is told about the machine: numbered items, and files in a
 * directory that is one of them.  Items are added while the board is built.
 */
#ifndef DEVICE_FW_CFG_H
#define DEVICE_FW_CFG_H

#include "base/util.h"

struct machine;

/* Items by number (the well-known ones). */
enum { FW_CFG_SIGNATURE = 0, FW_CFG_ID = 1, FW_CFG_UUID = 2, FW_CFG_RAM_SIZE = 3,
       FW_CFG_NOGRAPHIC = 4, FW_CFG_CPUS = 5, FW_CFG_BOOT_MENU = 0xe, FW_CFG_MAX_CPUS = 0xf,
       FW_CFG_DIRECTORY = 0x19, FW_CFG_FIRST_FILE = 0x20, FW_CFG_IRQ0_OVERRIDE = 0x8002 };

/* Copies `data`. */
void fw_cfg_add(struct machine *m, unsigned key, const void *data, size_t len);
void fw_cfg_add_file(struct machine *m, const char *name, const void *data, size_t len);
/* A file that the guest may write (by DMA); `written` is called after. */
void fw_cfg_add_writable(struct machine *m, const char *name, size_t len,
			 void (*written)(struct machine *m, const uint8_t *data));
/* Make the contents when the guest selects the file: it may depend on what
 * firmware has programmed.  Sizes must not change. */
void fw_cfg_add_made(struct machine *m, const char *name, size_t len,
		     void (*make)(struct machine *m, uint8_t *data));

#endif
