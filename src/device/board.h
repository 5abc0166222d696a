/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boards, `pc-1` and `microvm-1`: memory map and fixed devices.  The layout is
 * part of the saved state's contract: a change is a new board version.
 */
#ifndef DEVICE_BOARD_H
#define DEVICE_BOARD_H

#include "device/device.h"

#define BOARD_LOW_RAM_MAX   0x80000000ull   /* RAM below the PCI hole: at most 2 GiB */
#define BOARD_ECAM          0xb0000000ull   /* 256 MiB */
#define BOARD_PCI32         0xc0000000ull   /* ..0xfebfffff */
#define BOARD_PCI32_END     0xfec00000ull
#define BOARD_VIRTIO_MMIO   0xfea00000ull   /* microvm: a page a device */
#define BOARD_IOAPIC        0xfec00000ull
#define BOARD_HPET          0xfed00000ull
#define BOARD_HIGH_RAM      0x100000000ull
#define BOARD_HOTPLUG_SIZE  0x2000000000ull /* reserved after high RAM for memory hotplug */
#define BOARD_PCI64         0x4000000000ull /* 64-bit BAR window: 256 GiB..512 GiB */
#define BOARD_PCI64_END     0x8000000000ull
/* The reset register of microvm: not 0xcf9, into which a search for PCI writes. */
enum { BOARD_MICROVM_RESET = 0x680, MICROVM_RESET_VALUE = 0x42 };
enum { BOARD_VIRTIO_MMIO_MAX = 32, BOARD_VIRTIO_MMIO_GSI = 16, BOARD_VIRTIO_MMIO_GSIS = 8 };
#define BOARD_VIDEO_RAM     0x8000000000000ull /* no address: a name (memory_add_hidden) */
enum { BOARD_PM_BASE = 0x600, BOARD_SCI = 9, BOARD_FWCFG = 0x510, BOARD_DEBUG_EXIT = 0xf4 };

/* Fixed devices in their order, then the kernel loader. */
bool board_create(struct machine *m, struct error *err);
/* "pc-1": what a state file says it was. */
const char *board_version(struct machine *m);
bool board_has_pci(struct machine *m);
/* Put CPU 0 (and memory) where the kernel or firmware starts; after each reset. */
bool board_boot(struct machine *m, struct error *err);
void board_power_button(struct machine *m);      /* requires: board lock */
/* The machine has ended: let its last words out. Board lock not held. */
void board_end(struct machine *m);
/* After all devices have been destroyed. */
void board_free(struct machine *m);

/* The devices of the board, one file each. */
bool i8259_create(struct machine *m, struct error *err);
bool ferr_create(struct machine *m, struct error *err);
bool i8254_create(struct machine *m, struct error *err);
bool ioapic_create(struct machine *m, struct error *err);
bool mc146818_create(struct machine *m, struct error *err);
bool hpet_create(struct machine *m, struct error *err);
bool ns16550_create(struct machine *m, unsigned com, int fd, struct error *err);
bool i8042_create(struct machine *m, struct error *err);
bool acpi_pm_create(struct machine *m, struct error *err);
bool fw_cfg_create(struct machine *m, struct error *err);
bool debug_exit_create(struct machine *m, struct error *err);
bool testdev_create(struct machine *m, struct error *err);

#endif
