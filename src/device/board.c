/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boards put together: which chips, in which order (the order of state
 * sections and of PCI slots), and how interrupt lines run between them.
 */
#include "device/board.h"

#include <stdio.h>

#include "device/acpi/acpi.h"
#include "device/ata/ahci.h"
#include "device/ata/ide.h"
#include "device/boot/boot.h"
#include "device/boot_order.h"
#include "device/chipset.h"
#include "device/drives.h"
#include "device/firmware.h"
#include "device/hda/hda.h"
#include "device/i8237.h"
#include "device/keyboard.h"
#include "device/mouse.h"
#include "device/net.h"
#include "device/smbios.h"
#include "device/tpm/crb.h"
#include "device/usb/xhci.h"
#include "device/vga/screen.h"
#include "device/virtio/virtio.h"
#include "disk/disk.h"
#include "machine/machine.h"
#include "net/port.h"

#define MIN_RAM (2 * MiB)

/* --- interrupt lines ------------------------------------------------------- */
static void gsi_set(void *opaque, unsigned gsi, bool level)
{
	struct machine *m = opaque;
	if (gsi < 16)
		i8259_set(m, gsi, level);
	if (gsi != 2)     /* the 8259's cascade: the I/O APIC's input 2 is ISA IRQ 0 */
		ioapic_set(m, gsi ? gsi : 2, level);
}

struct irq_line board_gsi(struct machine *m, unsigned gsi)
{
	return (struct irq_line){ .set = gsi_set, .opaque = m, .pin = gsi };
}

static const struct interrupt_lines lines = {
	.extint_pending = i8259_pending, .extint_ack = i8259_ack, .eoi = ioapic_eoi, .fpu_error = ferr_pending,
};

void board_power_button(struct machine *m)
{
	acpi_pm_power_button(m);
}

/* --- holes ------------------------------------------------------------------ */
static uint64_t nothing_read(void *opaque, uint64_t at, unsigned size) { return UINT64_MAX; }
static void nothing_write(void *opaque, uint64_t at, uint64_t value, unsigned size) { }

/* Ports that PCs have and nobody needs answered: POST codes, the DMA page
 * registers, I/O delay at 0x80. */
static void add_holes(struct machine *m)
{
	static const struct io_ops ops = { nothing_read, nothing_write, 1, 8, true };
	memory_add_io(m->ports, "post", 0x80, 0x10, 0, &ops, NULL);
	memory_add_io(m->memory, "vga-hole", 0xa0000, 0x20000, 1, &ops, NULL);
}

/* --- microvm: what a kernel needs, and nothing to be found by trying ---------- */
static void reset_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	if (value == MICROVM_RESET_VALUE)
		machine_reset_request(opaque);
}

static bool microvm_chips(struct machine *m, struct error *err)
{
	static const struct io_ops reset = { nothing_read, reset_write, 1, 1 };
	const struct machine_config *c = m->config;
	if (c->firmware_fd >= 0 || c->screen)
		return error_set(err, 0, "board microvm has neither firmware nor a screen: use --kernel, or --board pc");
	memory_add_io(m->ports, "reset", BOARD_MICROVM_RESET, 1, 0, &reset, m);
	return i8259_create(m, err) && ferr_create(m, err) && ioapic_create(m, err) && i8254_create(m, err) &&
	       acpi_pm_create(m, err) && vmgenid_create(m, err) &&
	       ns16550_create(m, 0, c->serial_fd[0], err) &&
	       (!c->debug_exit || debug_exit_create(m, err)) &&
	       (!c->test_device || testdev_create(m, err));
}

static bool microvm_boot(struct machine *m, struct error *err)
{
	smbios_place(m);
	return acpi_place(m, err) && boot_kernel(m, err);
}

/* --- pc --------------------------------------------------------------------------- */
static bool pc_chips(struct machine *m, struct error *err)
{
	const struct machine_config *c = m->config;
	return firmware_create(m, err) && i8259_create(m, err) && ferr_create(m, err) &&
	       ioapic_create(m, err) && pci_host_create(m, err) && lpc_create(m, err) && i8254_create(m, err) &&
	       mc146818_create(m, err) && hpet_create(m, err) && i8042_create(m, err) &&
	       acpi_pm_create(m, err) && vmgenid_create(m, err) && fw_cfg_create(m, err) &&
	       ns16550_create(m, 0, c->serial_fd[0], err) &&
	       ns16550_create(m, 1, c->serial_fd[1], err) &&
	       (!c->screen || ((c->gpu_virtio || vga_create(m, err)) && ps2_keyboard_create(m, err) && mouse_create(m, err))) &&
	       (c->tpm_fd < 0 || tpm_create(m, c->tpm_fd, c->tpm_data_fd, err)) &&
	       (!c->debug_exit || debug_exit_create(m, err)) &&
	       (!c->test_device || testdev_create(m, err));
}

/* MTRRs (SDM 3A 12.11) as firmware sets them, on all CPUs alike: write-back, but
 * for the VGA's window and what lies between low RAM and 4 GiB; the BIOS area is
 * write-protected. */
static void set_memory_types(struct machine *m)
{
	static const uint64_t back = 0x0606060606060606, protect = 0x0505050505050505;
	uint64_t addresses = (BIT(m->model->phys_bits) - 1) & ~PAGE_MASK;
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct x86_cpu *c = &m->vcpus[i]->cpu;
		c->mtrr_fixed[0] = c->mtrr_fixed[1] = back;
		c->mtrr_fixed[2] = 0;
		for (unsigned k = 3; k < ARRAY_SIZE(c->mtrr_fixed); k++)
			c->mtrr_fixed[k] = protect;
		c->mtrr_base[0] = BOARD_LOW_RAM_MAX;
		c->mtrr_mask[0] = (addresses & ~(BOARD_LOW_RAM_MAX - 1)) | 0x800;
		c->mtrr_def = 0xc06;
	}
}

/* Firmware starts by itself at the reset vector; without it, what it would
 * have done, then the kernel. */
static bool pc_boot(struct machine *m, struct error *err)
{
	if (m->config->firmware_fd >= 0)
		return true;
	pci_host_shadow_all(m);
	pci_assign(m);
	set_memory_types(m);
	smbios_place(m);
	return acpi_place(m, err) && boot_kernel(m, err);
}

static const struct board_kind kinds[] = {
	{ "pc", "pc-1", false, pc_chips, pc_boot },
	{ "microvm", "microvm-1", true, microvm_chips, microvm_boot },
};

static const struct board_kind *kind_find(const char *name, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(name ? name : "pc", kinds[i].name))
			return &kinds[i];
	return error_null(err, 0, "board '%s' is not known: use pc or microvm", name);
}

const char *board_version(struct machine *m) { return m->board_data->kind->version; }

bool board_has_pci(struct machine *m)
{
	return !m->board_data || !m->board_data->kind || !m->board_data->kind->virtio_mmio;
}

/* --- virtio and disks --------------------------------------------------------------- */
static struct disk *open_disk(struct machine *m, const struct disk_config *d, struct error *err)
{
	struct disk_options o = { .path = d->path, .fd = d->fd, .format = d->format,
				  .readonly = d->readonly,
				  .nbd_size = d->nbd_size, .nbd_flags = d->nbd_flags,
				  .nbd_line = d->nbd_line, .nbd_patience = d->nbd_patience,
				  .backing_fds = d->backing_fd, .nbacking_fds = d->nbacking, .data_fd = d->data_fd };
	return disk_open(&o, m->loop, err);
}

static bool is_bus(const struct disk_config *d, const char *bus)
{
	return d->bus && !strcmp(d->bus, bus);
}

/* The function made last. */
static struct pci_function *last_function(struct machine *m)
{
	struct device *d = m->devices;
	while (d->next)
		d = d->next;
	return container_of(d, struct pci_function, dev);
}

/* Where firmware finds a disk that has just been made, or that port of
 * AHCI, or that drive of the IDE controller. */
static void describe_disk(struct machine *m, const struct disk_config *d, unsigned port,
			  unsigned ide)
{
	enum boot_kind kind = d->cdrom ? BOOT_CDROM : BOOT_DISK;
	char below[32];
	if (!board_has_pci(m))
		return;
	snprintf(below, sizeof(below), "/drive@%x/disk@0", port);
	if (is_bus(d, "ide"))
		snprintf(below, sizeof(below), "/drive@%x/disk@%x", ide / 2, ide & 1);
	if (is_bus(d, "ahci"))
		boot_order_add(m, kind, AHCI_DEVFN, "pci8086,2922", below);
	else if (is_bus(d, "ide"))
		boot_order_add(m, kind, IDE_DEVFN, "ide", below);
	else if (is_bus(d, "nvme"))
		boot_order_add(m, kind, last_function(m)->devfn, "pci8086,5845", "/namespace@1,0");
	else
		boot_order_add(m, kind, last_function(m)->devfn, "scsi", "/disk@0,0");
}

static bool create_scsi(struct machine *m, struct disk *const *disks, unsigned n, struct error *err)
{
	if (!virtio_scsi_create(m, disks, n, err))
		return false;
	for (unsigned i = 0; i < n; i++) {
		char below[40];
		snprintf(below, sizeof(below), "/channel@0/disk@%x,0", i);
		boot_order_add(m, BOOT_DISK, last_function(m)->devfn, "scsi", below);
	}
	return true;
}

static bool create_floppies(struct machine *m, const struct floppy_config *drives, unsigned n, struct error *err)
{
	if (!i8237_create(m, err) || !i82077_create(m, drives, n, err))
		return false;
	boot_order_add(m, BOOT_FLOPPY, LPC_DEVFN, "isa", "/fdc@03f0/floppy@0");
	return true;
}

/* Disks in their order; drives of a shared controller are collected for it. */
static bool create_disks(struct machine *m, struct error *err)
{
	struct ahci_drive sata[CONFIG_MAX_DISKS];
	struct ide_drive ide[CONFIG_MAX_DISKS];
	struct disk *scsi[CONFIG_MAX_DISKS];
	struct floppy_config floppy[CONFIG_MAX_DISKS];
	unsigned nsata = 0, nide = 0, nscsi = 0, nfloppy = 0;
	for (unsigned i = 0; i < m->config->ndisks; i++) {
		const struct disk_config *d = &m->config->disk[i];
		char serial[20];
		bool ok = true;
		snprintf(serial, sizeof(serial), "abyme-%u", i);
		if (!board_has_pci(m) && d->bus && !is_bus(d, "virtio"))
			return error_set(err, 0, "board microvm has virtio disks only: '%s' must be one", d->path);
		struct disk *disk = m->disks[i] = d->fd >= 0 ? open_disk(m, d, err) : NULL;
		if (!disk && d->fd >= 0)
			return false;
		if (is_bus(d, "ahci"))
			sata[nsata++] = (struct ahci_drive){ disk, d->cdrom, i };
		else if (is_bus(d, "ide"))
			ide[nide++] = (struct ide_drive){ disk, d->cdrom, i };
		else if (is_bus(d, "floppy"))
			floppy[nfloppy++] = (struct floppy_config){ disk, i };
		else if (is_bus(d, "scsi"))
			scsi[nscsi++] = disk;
		else if (is_bus(d, "nvme"))
			ok = nvme_create(m, disk, i, err);
		else
			ok = virtio_blk_create(m, disk, serial, err);
		if (!ok)
			return false;
		if (!is_bus(d, "scsi") && !is_bus(d, "floppy"))
			describe_disk(m, d, nsata - 1, nide - 1);
	}
	return (!nscsi || create_scsi(m, scsi, nscsi, err)) && (!nfloppy || create_floppies(m, floppy, nfloppy, err)) &&
	       (!nsata || ahci_create(m, sata, nsata, err)) && (!nide || ide_create(m, ide, nide, err));
}

static bool create_card(struct machine *m, unsigned i, struct net_port *port, struct error *err)
{
	const struct net_config *n = &m->config->net[i];
	bool intel = n->model && !strcmp(n->model, "e1000");
	if (intel && !board_has_pci(m))
		return error_set(err, 0, "board microvm has virtio network cards only");
	if (!(intel ? e1000_create(m, i, port, n->mac, err) : virtio_net_create(m, port, n->mac, err)))
		return false;
	if (!board_has_pci(m))
		return true;
	struct pci_function *f = last_function(m);
	boot_order_add(m, BOOT_NET, f->devfn, "ethernet", "/ethernet-phy@0");
	return n->rom_fd < 0 || pci_rom_add(f, n->rom_fd, err);
}

static bool create_virtio(struct machine *m, struct error *err)
{
	const struct machine_config *c = m->config;
	if (!create_disks(m, err))
		return false;
	for (unsigned i = 0; i < c->nnets; i++) {
		struct net_port *p = c->net[i].fd >= 0 ? net_socket_port(m->loop, c->net[i].fd, err) :
			net_ring_port(m->loop, &c->net[i].ring, err);
		if (!p || !create_card(m, i, p, err))
			return false;
	}
	if (c->console_fd >= 0 && !virtio_console_create(m, c->console_fd, err))
		return false;
	for (unsigned i = 0; i < c->nshares; i++)
		if (!virtio_9p_create(m, c->share[i].tag, c->share[i].fd, err))
			return false;
	if (c->vsock_cid && !virtio_vsock_create(m, c->vsock_cid, c->vsock_fd, c->vsock_dial_fd, err))
		return false;
	if (c->gpu_virtio && !virtio_gpu_create(m, err))
		return false;
	if (c->input_usb && !xhci_create(m, err))
		return false;
	if (c->input_virtio && !(virtio_input_create(m, false, err) && virtio_input_create(m, true, err)))
		return false;
	if (m->board_data->keyboard[0].ops && !typist_create(m, err))
		return false;
	if (c->sound && !hda_create(m, c->sound_fd, err))
		return false;
	return virtio_rng_create(m, err) && virtio_balloon_create(m, err);
}

bool board_create(struct machine *m, struct error *err)
{
	const struct board_kind *kind = kind_find(m->config->board, err);
	if (!kind)
		return false;
	if (m->ram_low->size < MIN_RAM)
		return error_set(err, 0, "a machine needs at least %llu MiB of memory",
				 (unsigned long long)(MIN_RAM / MiB));
	m->board_data = xnew(struct board);
	m->lines = &lines;
	m->board_data->kind = kind;
	m->virtio_bus = kind->virtio_mmio ? virtio_mmio_init : virtio_pci_init;
	add_holes(m);
	if (!kind->chips(m, err) || !create_virtio(m, err))
		return false;
	if (board_has_pci(m)) {
		firmware_describe(m);
		boot_order_describe(m, m->config->boot);
	}
	return true;
}

void board_end(struct machine *m)
{
	ns16550_flush_all(m);
}

void board_free(struct machine *m)
{
	pci_free(m);
	boot_order_free(m);
	free(m->board_data);
	m->board_data = NULL;
}

bool board_boot(struct machine *m, struct error *err)
{
	return m->board_data->kind->boot(m, err);
}
