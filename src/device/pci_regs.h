/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Offsets and bits of PCI configuration space (PCI Local Bus 3.0, chapter 6). */
#ifndef DEVICE_PCI_REGS_H
#define DEVICE_PCI_REGS_H

enum {
	PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06,
	PCI_CLASS_REV = 0x08, PCI_CACHE_LINE = 0x0c, PCI_LATENCY = 0x0d, PCI_HEADER = 0x0e,
	PCI_BAR0 = 0x10, PCI_SUB_VENDOR = 0x2c, PCI_SUB_DEVICE = 0x2e, PCI_ROM = 0x30,
	PCI_CAP_PTR = 0x34, PCI_INT_LINE = 0x3c, PCI_INT_PIN = 0x3d,
};
enum { PCI_CMD_IO = 1, PCI_CMD_MEM = 2, PCI_CMD_MASTER = 4, PCI_CMD_INTX_OFF = 0x400 };
enum { PCI_STATUS_INTX = 8, PCI_STATUS_CAPS = 0x10 };
enum { PCI_CAP_ID_MSIX = 0x11 };
enum { PCI_MULTIFUNCTION = 0x80 };

#endif
