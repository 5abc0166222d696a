/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge, after Intel's 82G33/Q35 MCH (8086:29c0, datasheet 316966):
 * config ports 0xcf8/0xcfc, the ECAM window (PCIEXBAR, 0x60), the programmable
 * attribute map of 0xc0000..0xfffff (PAM, 0x90..0x96); and reset control at
 * port 0xcf9, which shares its address with the config port.
 */
#include "device/chipset.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { REG_PCIEXBAR = 0x60, REG_PAM = 0x90, PAMS = 7, SEGMENTS = 13, REG_SMRAM = 0x9d };
enum { PAM_READ = 1, PAM_WRITE = 2 };
enum { RCR_SYSTEM = 2, RCR_RESET = 4 };

struct pci_host {
	struct pci_function fn;
	uint32_t address;         /* 0xcf8 */
	uint8_t reset_control;
	struct mem_region *ecam;
	struct mem_region *segment[SEGMENTS];   /* RAM over the BIOS ROM */
};

/* --- configuration access -------------------------------------------------- */
static uint64_t ports_read(void *opaque, uint64_t at, unsigned size)
{
	struct pci_host *h = opaque;
	if (at == 0 && size == 4)
		return h->address;
	if (at == 1 && size == 1)
		return h->reset_control;
	if (at < 4 || !(h->address & 0x80000000) || h->address & 0x00ff0000)
		return UINT32_MAX;
	return pci_config_read(h->fn.dev.machine, h->address >> 8 & 0xff,
			       (h->address & 0xfc) + (unsigned)(at & 3), size);
}

static void write_reset(struct pci_host *h, uint8_t v)
{
	bool rising = v & RCR_RESET && !(h->reset_control & RCR_RESET);
	h->reset_control = v & (RCR_SYSTEM | 8);
	if (rising)
		machine_reset_request(h->fn.dev.machine);
}

static void ports_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct pci_host *h = opaque;
	if (at == 0 && size == 4)
		h->address = (uint32_t)value & 0x80fffffc;
	else if (at == 1 && size == 1)
		write_reset(h, (uint8_t)value);
	else if (at >= 4 && h->address & 0x80000000 && !(h->address & 0x00ff0000))
		pci_config_write(h->fn.dev.machine, h->address >> 8 & 0xff,
				 (h->address & 0xfc) + (unsigned)(at & 3), (uint32_t)value, size);
}

static uint64_t ecam_read(void *opaque, uint64_t at, unsigned size)
{
	struct pci_host *h = opaque;
	if (at >> 20)
		return UINT32_MAX;
	return pci_config_read(h->fn.dev.machine, at >> 12 & 0xff, at & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct pci_host *h = opaque;
	if (!(at >> 20))
		pci_config_write(h->fn.dev.machine, at >> 12 & 0xff, at & 0xfff,
				 (uint32_t)value, size);
}

/* --- memory map ------------------------------------------------------------ */
static void place_ecam(struct pci_host *h)
{
	static const uint32_t size[4] = { 256 * MiB, 128 * MiB, 64 * MiB, 0 };
	uint64_t bar = le32_get(h->fn.config + REG_PCIEXBAR) |
		       (uint64_t)le32_get(h->fn.config + REG_PCIEXBAR + 4) << 32;
	uint64_t base = bar & 0xff0000000ull;   /* 256 MiB whatever the length field says */
	bool on = bar & 1 && size[bar >> 1 & 3] && base;
	mem_region_set(h->fn.dev.machine->memory, h->ecam, on, on ? base : 0);
}

/* Segment 0 is 0xf0000 (PAM0's high nibble), then 16 KiB each from 0xc0000. */
static unsigned segment_mode(const struct pci_host *h, unsigned seg)
{
	unsigned nibble = seg ? seg + 1 : 1;
	return h->fn.config[REG_PAM + nibble / 2] >> (nibble & 1 ? 4 : 0) & 3;
}

/* RAM that is written but not read has no use here: ROM stays in front. */
static void apply_pam(struct pci_host *h)
{
	struct memory *mem = h->fn.dev.machine->memory;
	memory_begin(mem);
	for (unsigned i = 0; i < SEGMENTS; i++) {
		unsigned mode = segment_mode(h, i);
		uint64_t base = i ? 0xc0000 + (i - 1) * 0x4000ull : 0xf0000;
		mem_region_readonly(mem, h->segment[i], !(mode & PAM_WRITE));
		mem_region_set(mem, h->segment[i], mode & PAM_READ, base);
	}
	memory_commit(mem);
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
	struct pci_host *h = container_of(f, struct pci_host, fn);
	if (offset < REG_PCIEXBAR + 8 && offset + size > REG_PCIEXBAR)
		place_ecam(h);
	if (offset < REG_PAM + PAMS && offset + size > REG_PAM)
		apply_pam(h);
}

uint64_t pci_host_ecam(struct machine *m)
{
	const uint8_t *bar = m->board_data->host->fn.config + REG_PCIEXBAR;
	return bar[0] & 1 ? le64_get(bar) & 0xff0000000ull : BOARD_ECAM;
}

void pci_host_shadow_all(struct machine *m)
{
	struct pci_host *h = m->board_data->host;
	memset(h->fn.config + REG_PAM, 0x33, PAMS);
	le32_put(h->fn.config + REG_PCIEXBAR, BOARD_ECAM | 1);
	apply_pam(h);
	place_ecam(h);
}

static void add_segments(struct pci_host *h, struct machine *m)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		uint64_t base = i ? 0xc0000 + (i - 1) * 0x4000ull : 0xf0000;
		uint64_t size = i ? 0x4000 : 0x10000;
		h->segment[i] = memory_add_alias(m->memory, "pam", base, size, 5, false,
						 m->ram_low, base);
	}
}

/* --- device ---------------------------------------------------------------- */
static void pci_host_reset(struct device *d)
{
	struct pci_host *h = container_of(d, struct pci_host, fn.dev);
	h->address = 0;
	h->reset_control = 0;
	memset(h->fn.config + REG_PAM, 0, PAMS);
	memset(h->fn.config + REG_PCIEXBAR, 0, 8);
	h->fn.config[REG_SMRAM] = 2;
	pci_function_reset(&h->fn);
	apply_pam(h);
	place_ecam(h);
}

static bool pci_host_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct pci_host *h = container_of(d, struct pci_host, fn.dev);
	pci_xfer(&h->fn, s);
	xfer_u32(s, &h->address);
	xfer_u8(s, &h->reset_control);
	return state_ok(s);
}

static void pci_host_loaded(struct device *d)
{
	struct pci_host *h = container_of(d, struct pci_host, fn.dev);
	apply_pam(h);
	place_ecam(h);
}

static void pci_host_destroy(struct device *d)
{
	free(container_of(d, struct pci_host, fn.dev));
}

static const struct io_ops ports_io = { ports_read, ports_write, 1, 4 };
static const struct io_ops ecam_io = { ecam_read, ecam_write, 1, 4 };
static const struct device_ops host_ops = {
	.name = "pci-host", .version = 1, .reset = pci_host_reset, .xfer = pci_host_xfer,
	.loaded = pci_host_loaded, .destroy = pci_host_destroy,
};

bool pci_host_create(struct machine *m, struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x29c0, 0x1af4, 0x1100, 0x06000000 };
	struct pci_host *h = xnew(struct pci_host);
	m->board_data->host = h;
	if (!pci_function_init_at(m, &h->fn, 0, &ids, &host_ops, "pci-host", err))
		return false;
	h->fn.config_written = config_written;
	memset(h->fn.wmask + REG_PAM, 0x33, PAMS);
	le64_put(h->fn.wmask + REG_PCIEXBAR, 0xffc000007ull | 0xff0000000ull);
	h->fn.wmask[REG_SMRAM] = 0x7e;
	memory_add_io(m->ports, "pci-config", 0xcf8, 8, 0, &ports_io, h);
	h->ecam = memory_add_io(m->memory, "ecam", BOARD_ECAM, 256 * MiB, 5, &ecam_io, h);
	add_segments(h, m);
	pci_host_reset(&h->fn.dev);
	return true;
}
