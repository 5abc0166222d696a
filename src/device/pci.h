/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions (PCI Local Bus 3.0, PCI Express base for the 4 KiB config
 * space) on bus 0, reached through ports 0xcf8/0xcfc and ECAM.  A device embeds
 * struct pci_function, fills in ids, adds BARs and capabilities, and registers.
 */
#ifndef DEVICE_PCI_H
#define DEVICE_PCI_H

#include "device/device.h"

struct pci_bus;
struct pci_function;

struct pci_bar {
	uint64_t size;                  /* 0: none; a power of two */
	uint8_t flags;                  /* PCI_BAR_* */
	struct mem_region *region;      /* in memory or ports */
	uint64_t base;                  /* where it is mapped now */
	bool mapped;
};
enum { PCI_BAR_IO = 1, PCI_BAR_64 = 4, PCI_BAR_PREFETCH = 8 };

struct pci_msix;

struct pci_function {
	struct device dev;              /* first */
	struct pci_bus *bus;
	uint8_t devfn;
	uint8_t config[4096];           /* as the guest reads it */
	uint8_t wmask[4096];            /* bits the guest may write */
	uint8_t w1c[4096];              /* bits cleared by writing 1 */
	uint16_t next_cap;              /* where pci_cap_add puts the next */
	struct pci_bar bar[7];          /* [6] = ROM */
	struct pci_msix *msix;
	bool intx;                      /* the device's interrupt condition */
	bool intx_wire;                 /* level of INTx#, as far as it reaches the board */
	/* Before a config read is answered, to refresh config[]; may be NULL. */
	void (*config_reading)(struct pci_function *f, unsigned offset, unsigned size);
	/* After a config write has been applied; may be NULL. */
	void (*config_written)(struct pci_function *f, unsigned offset, unsigned size);
};

struct pci_ids { uint16_t vendor, device, sub_vendor, sub_device; uint32_t class_rev; };

/* slot: 0..31 of bus 0, or -1 = the next free one from 2 on (slots are part of
 * the board version: creation order decides). */
bool pci_function_init(struct machine *m, struct pci_function *f, int slot,
		       const struct pci_ids *ids, const struct device_ops *ops,
		       const char *id, struct error *err);
/* The same for one function of a slot with several: devfn = slot << 3 | function;
 * the interrupt pin is the caller's. */
bool pci_function_init_at(struct machine *m, struct pci_function *f, unsigned devfn,
			  const struct pci_ids *ids, const struct device_ops *ops,
			  const char *id, struct error *err);
void pci_bar_add(struct pci_function *f, unsigned n, uint64_t size, unsigned flags,
		 const struct io_ops *ops, void *opaque);
/* A BAR that shows a whole RAM slot. */
void pci_bar_add_ram(struct pci_function *f, unsigned n, unsigned flags, struct ram_slot *ram);
/* Append a capability of `len` bytes (id and next pointer included); returns its
 * offset in config space, contents zero, read-only. */
unsigned pci_cap_add(struct pci_function *f, uint8_t id, unsigned len);
/* MSI-X with `vectors` entries: table and PBA in BAR `bar` (size 4096 or more is
 * added by this call). */
void pci_msix_add(struct pci_function *f, unsigned bar, unsigned vectors);
/* An expansion ROM from a file (its descriptor stays the caller's). */
bool pci_rom_add(struct pci_function *f, int fd, struct error *err);
/* Between pci.c and pci_rom.c: the bus's list, and its end. */
struct pci_rom;
struct pci_rom **pci_rom_list(struct pci_function *f);
void pci_rom_free_all(struct pci_rom *list);
/* Raise a vector: any thread, lock-free; masked vectors set their pending bit. */
void pci_msix_raise(struct pci_function *f, unsigned vector);
bool pci_msix_enabled(const struct pci_function *f);
/* Drive INTA#; routed as the DSDT says; ignored while MSI-X is enabled. */
void pci_intx(struct pci_function *f, bool level);
/* Config header, BARs, MSI-X: call first in the device's own xfer. */
bool pci_xfer(struct pci_function *f, struct state *s);
void pci_function_reset(struct pci_function *f);
bool pci_bus_master(const struct pci_function *f);

/* Frees what all functions share, after the devices. */
void pci_free(struct machine *m);

/* The host bridge, config ports and ECAM window (device/pci_host.c). */
bool pci_host_create(struct machine *m, struct error *err);

#endif
