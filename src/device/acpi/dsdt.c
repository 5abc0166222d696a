/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT: what of the board a guest cannot find by itself.  The PCI root with
 * its windows and interrupt wires, ISA devices, processors, the generation id,
 * soft-off.
 */
#include <stdio.h>

#include "device/acpi/acpi.h"
#include "device/chipset.h"
#include "device/ps2.h"
#include "device/tpm/crb.h"
#include "machine/machine.h"

static void root_resources(struct machine *m, struct aml *a)
{
	struct aml_crs c = { .len = 0 };
	uint64_t hole = MAX(m->ram_low->size, BOARD_PCI32);
	crs_window(&c, 2, 0, 255);
	crs_io(&c, 0xcf8, 8);
	crs_window(&c, 1, 0, 0xcf7);
	crs_window(&c, 1, 0xd00, 0xffff);
	crs_window(&c, 0, 0xa0000, 0xbffff);
	crs_window(&c, 0, hole, BOARD_PCI32_END - 1);
	crs_window(&c, 0, BOARD_PCI64, BOARD_PCI64_END - 1);
	aml_resources(a, &c);
}

/* Every slot's four pins, straight to I/O APIC inputs 16..23. */
static void routing_table(struct aml *a)
{
	aml_name(a, "_PRT");
	aml_package(a, 31 * 4);
	for (unsigned slot = 1; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++) {
			aml_package(a, 4);
			aml_int(a, slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, 16 + board_pirq(slot, pin));
			aml_end(a);
		}
	aml_end(a);
}

static void isa_device(struct aml *a, const char *name, const char *hid, unsigned port,
		       unsigned len, int irq, unsigned uid)
{
	struct aml_crs c = { .len = 0 };
	aml_device(a, name);
	aml_name_eisa(a, "_HID", hid);
	if (uid)
		aml_name_int(a, "_UID", uid);
	aml_name_int(a, "_STA", 0xf);
	if (len)
		crs_io(&c, port, len);
	if (irq == 1)
		crs_io(&c, port + 4, 1);    /* the keyboard controller's command port */
	if (irq >= 0)
		crs_irq(&c, (unsigned)irq);
	aml_resources(a, &c);
	aml_end(a);
}

/* ACPI 6.5 9.8: which of four drives there are, and that there is no tape. */
static void floppy_controller(struct aml *a, unsigned drives)
{
	uint8_t there[20] = { drives > 0, [4] = drives > 1, [16] = 2 };
	struct aml_crs c = { .len = 0 };
	aml_device(a, "FDC0");
	aml_name_eisa(a, "_HID", "PNP0700");
	aml_name_int(a, "_STA", 0xf);
	crs_io(&c, 0x3f0, 6);
	crs_io(&c, 0x3f7, 1);
	crs_irq(&c, 6);
	crs_dma(&c, 2);
	aml_resources(a, &c);
	aml_name(a, "_FDE");
	aml_buffer(a, there, sizeof(there));
	aml_end(a);
}

static void isa_bridge(struct machine *m, struct aml *a)
{
	aml_device(a, "ISA");
	aml_name_int(a, "_ADR", 0x001f0000);
	isa_device(a, "COM1", "PNP0501", 0x3f8, 8, 4, 1);
	isa_device(a, "COM2", "PNP0501", 0x2f8, 8, 3, 2);
	isa_device(a, "RTC", "PNP0B00", 0x70, 2, 8, 0);
	if (i8042_has_keyboard(m))
		isa_device(a, "KBD", "PNP0303", 0x60, 1, 1, 0);
	if (m->board_data->floppies)
		floppy_controller(a, m->board_data->floppies);
	aml_end(a);
}

/* What is decoded and must not be given to anything else. */
static void motherboard(struct machine *m, struct aml *a)
{
	struct aml_crs c = { .len = 0 };
	aml_device(a, "MBRD");
	aml_name_eisa(a, "_HID", "PNP0C02");
	crs_memory32(&c, (uint32_t)pci_host_ecam(m), (uint32_t)(256 * MiB), true);
	crs_io(&c, BOARD_PM_BASE, 0x80);
	crs_io(&c, 0x4d0, 2);
	aml_resources(a, &c);
	aml_end(a);
}

static void hpet_device(struct aml *a)
{
	struct aml_crs c = { .len = 0 };
	aml_device(a, "HPET");
	aml_name_eisa(a, "_HID", "PNP0103");
	crs_memory32(&c, (uint32_t)BOARD_HPET, 0x400, false);
	aml_resources(a, &c);
	aml_end(a);
}

static void tpm_device(struct aml *a)
{
	struct aml_crs c = { .len = 0 };
	aml_device(a, "TPM");
	aml_name(a, "_HID");
	aml_string(a, "MSFT0101");
	aml_name_int(a, "_STA", 0xf);
	crs_memory32(&c, (uint32_t)TPM_CRB_BASE, TPM_CRB_SIZE, true);
	aml_resources(a, &c);
	aml_end(a);
}

static void pci_root(struct machine *m, struct aml *a)
{
	aml_device(a, "PCI0");
	aml_name_eisa(a, "_HID", "PNP0A08");
	aml_name_eisa(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	root_resources(m, a);
	routing_table(a);
	isa_bridge(m, a);
	motherboard(m, a);
	hpet_device(a);
	aml_end(a);
}

/* The way Linux's virtio_mmio finds its devices. */
static void virtio_mmio(struct aml *a, unsigned n)
{
	struct aml_crs c = { .len = 0 };
	char name[8];
	snprintf(name, sizeof(name), "VR%02X", n & 0xff);
	aml_device(a, name);
	aml_name(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_name_int(a, "_UID", n);
	aml_name_int(a, "_CCA", 1);
	crs_memory32(&c, (uint32_t)(BOARD_VIRTIO_MMIO + n * PAGE_SIZE), (uint32_t)PAGE_SIZE, true);
	crs_interrupt(&c, BOARD_VIRTIO_MMIO_GSI + n % BOARD_VIRTIO_MMIO_GSIS);
	aml_resources(a, &c);
	aml_end(a);
}

static void microvm_devices(struct machine *m, struct aml *a)
{
	isa_device(a, "COM1", "PNP0501", 0x3f8, 8, 4, 1);
	for (unsigned i = 0; i < m->board_data->virtio_mmio; i++)
		virtio_mmio(a, i);
}

static void processors(struct machine *m, struct aml *a)
{
	for (unsigned i = 0; i < m->config->vcpus; i++) {
		char name[8];
		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_name_int(a, "_UID", i);
		aml_end(a);
	}
}

/* ADDR gives low and high half of the id's address.  Returns the offset of the
 * address to patch, counted from the end: closing what encloses it moves it. */
static size_t generation_id(struct aml *a)
{
	aml_device(a, "VGEN");
	aml_name(a, "_HID");
	aml_string(a, "ABYM0001");
	aml_name(a, "_CID");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "_DDN");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "PAGE");
	size_t at = aml_dword_at(a, 0);
	aml_method(a, "ADDR", 0, false);
	aml_store(a);
	aml_package(a, 2);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
	aml_local(a, 0);
	aml_store(a);                     /* Local0[0] = PAGE + VMGENID_OFFSET */
	aml_add(a);
	aml_path(a, "PAGE");
	aml_int(a, VMGENID_OFFSET);
	aml_no_target(a);
	aml_index(a);
	aml_local(a, 0);
	aml_int(a, 0);
	aml_no_target(a);
	aml_return(a);
	aml_local(a, 0);
	aml_end(a);
	size_t tail = a->len - at;
	aml_end(a);
	return tail;
}

void dsdt_build(struct machine *m, struct aml *a, size_t *vmgenid)
{
	aml_scope(a, "\\_SB");
	size_t tail = generation_id(a);
	aml_end(a);
	*vmgenid = a->len - tail;
	aml_scope(a, "\\_SB");
	(board_has_pci(m) ? pci_root : microvm_devices)(m, a);
	if (m->config->tpm_fd >= 0)
		tpm_device(a);
	processors(m, a);
	aml_end(a);
	aml_scope(a, "\\_GPE");
	aml_method(a, "_E05", 0, false);
	aml_notify(a, "\\_SB.VGEN", 0x80);
	aml_end(a);
	aml_end(a);
	aml_name(a, "\\_S5");
	aml_package(a, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_int(a, 0);
	aml_end(a);
}
