/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the chips of the board know of each other: private to device/.  Each
 * chip is a struct of its own file; only these calls cross between them.  All
 * under the board lock, but where "any thread" is said.
 */
#ifndef DEVICE_CHIPSET_H
#define DEVICE_CHIPSET_H

#include "device/board.h"
#include "device/media.h"
#include "device/pci.h"
#include "machine/config.h"

struct acpi_tables;

/* What tells one board from another; its version is part of the saved state. */
struct board_kind {
	const char *name, *version;
	bool virtio_mmio;         /* else virtio devices are PCI functions */
	bool (*chips)(struct machine *m, struct error *err);
	bool (*boot)(struct machine *m, struct error *err);
};

struct board {
	const struct board_kind *kind;
	unsigned virtio_mmio;     /* how many there are */
	struct i8259 *pic;
	struct ferr *ferr;
	struct i8254 *pit;
	struct ioapic *ioapic;
	struct mc146818 *rtc;
	struct acpi_pm *pm;
	struct fw_cfg *fw_cfg;
	struct i8042 *kbc;
	struct lpc *lpc;
	struct device *com[2];
	struct pci_host *host;
	struct vmgenid *vmgenid;
	const struct screen_ops *screen;  /* NULL: none */
	void *screen_card;
	struct { const struct keyboard_sink *ops; void *opaque; } keyboard[3];
	struct typist *typist;
	struct { const struct tablet_sink *ops; void *opaque; } tablet;
	struct mouse *mouse;
	struct boot_order *boot_order;
	struct i8237 *dma;        /* where there are floppy drives */
	unsigned floppies;
	struct { media_change_fn *change; void *opaque; } media[CONFIG_MAX_DISKS];
};

/* Wait, a second at most, until the host has taken what the UARTs hold; board
 * lock not held. */
void ns16550_flush_all(struct machine *m);

/* Interrupt controllers: any thread. */
void i8259_set(struct machine *m, unsigned irq, bool level);
/* ferr.c: the x87's error line, as in struct interrupt_lines. */
bool ferr_pending(struct machine *m, bool pending);
bool i8259_pending(struct machine *m);
int i8259_ack(struct machine *m);
/* Which IRQs are level-triggered (ELCR), as firmware would set it. */
void i8259_set_level(struct machine *m, uint16_t irqs);
void ioapic_set(struct machine *m, unsigned pin, bool level);
void ioapic_eoi(struct machine *m, uint8_t vector);

/* HPET legacy replacement: PIT channel 0 and RTC let go of IRQ 0 and 8. */
void i8254_detach(struct machine *m, bool detached);
void mc146818_detach(struct machine *m, bool detached);
/* What firmware reads from CMOS; set at creation, survives resets. */
void mc146818_set_cmos(struct machine *m, unsigned index, uint8_t value);

void acpi_pm_power_button(struct machine *m);
/* Raise a general-purpose event: GPE0 bit 0..15. */
void acpi_pm_gpe(struct machine *m, unsigned bit);
enum { BOARD_GPE_VMGENID = 5 };


/* PCI bus 0 (pci.c): config access by devfn, any size of 1, 2, 4. */
uint32_t pci_config_read(struct machine *m, unsigned devfn, unsigned offset, unsigned size);
void pci_config_write(struct machine *m, unsigned devfn, unsigned offset, uint32_t value,
		      unsigned size);
/* Give every BAR an address and enable decoding, as firmware would have. */
void pci_assign(struct machine *m);
/* INTx of bus 0 (lpc.c): 0..7 = PIRQA..H; any thread. */
enum { LPC_DEVFN = 31 << 3 };
bool lpc_create(struct machine *m, struct error *err);
void lpc_pirq(struct machine *m, unsigned pirq, bool level);
void lpc_route_default(struct machine *m);
unsigned lpc_irq_of_pirq(struct machine *m, unsigned pirq);
/* Which PIRQ the slot's INTA..INTD (0..3) is wired to, as the _PRT says. */
static inline unsigned board_pirq(unsigned slot, unsigned pin)
{
	return slot < 25 ? 4 + ((slot + pin) & 3) : pin & 3;
}
/* Memory below 1 MiB as firmware leaves it: all RAM (pci_host.c). */
void pci_host_shadow_all(struct machine *m);
/* Where the ECAM window is, or will be. */
uint64_t pci_host_ecam(struct machine *m);

/* Where the tables of a machine without firmware lie (reserved in e820). */
enum { BOARD_TABLES = 0xe0000, BOARD_TABLES_END = 0x100000, BOARD_SMBIOS = 0xf8000 };
/* The variable store, whose last byte is at end - 1 (pflash.c). */
bool pflash_create(struct machine *m, uint64_t end, struct error *err);
/* The generation id that the guest finds through ACPI (vmgenid.c). */
bool vmgenid_create(struct machine *m, struct error *err);
/* Tell it where the page lies, and write the id there. */
void vmgenid_place(struct machine *m, uint64_t gpa);
enum { VMGENID_SIZE = 4096, VMGENID_OFFSET = 40 };

#endif
