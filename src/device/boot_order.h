/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware may boot from, and in which order (--boot). */
#ifndef DEVICE_BOOT_ORDER_H
#define DEVICE_BOOT_ORDER_H

#include "device/pci.h"

/* X(kind, word of --boot) */
#define BOOT_KINDS(X) X(BOOT_DISK, "disk") X(BOOT_CDROM, "cdrom") X(BOOT_NET, "net") X(BOOT_FLOPPY, "floppy")
enum boot_kind {
#define X(kind, word) kind,
	BOOT_KINDS(X)
#undef X
};

struct boot_order;

/* A device of that kind: a place on PCI function `devfn`, in the words of Open
 * Firmware: type "scsi", below "/disk@0,0". While the board is built. */
void boot_order_add(struct machine *m, enum boot_kind kind, unsigned devfn, const char *type,
		    const char *below);
/* Tell firmware, if the machine has an order; NULL: firmware's own. */
void boot_order_describe(struct machine *m, const char *words);
void boot_order_free(struct machine *m);

#endif
