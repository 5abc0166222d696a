/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware (--firmware): its image ends at 4 GiB, with the last 128 KiB seen
 * below 1 MiB too; PAM puts RAM over that.  fw_cfg carries memory map, ACPI
 * tables with the loader script that places them, SMBIOS, boot order; CMOS what
 * is older than that.  Its debug port 0x402 goes to the log.
 */
#include "device/firmware.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "device/acpi/acpi.h"
#include "device/chipset.h"
#include "device/fw_cfg.h"
#include "device/smbios.h"
#include "device/tpm/crb.h"
#include "machine/machine.h"

enum { ROM_MIN = 0x10000, ROM_MAX = 0x1000000, LOW_WINDOW = 0x20000 };
enum { DEBUG_PORT = 0x402, DEBUG_PRESENT = 0xe9 };

/* --- the ROM ------------------------------------------------------------------- */
static bool rom_size(const struct machine_config *c, uint64_t *size, struct error *err)
{
	struct stat st;
	if (fstat(c->firmware_fd, &st))
		return error_set(err, errno, "cannot read firmware '%s'", c->firmware_path);
	*size = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode) || *size < ROM_MIN || *size > ROM_MAX || *size % PAGE_SIZE)
		return error_set(err, 0, "'%s' is not a firmware image: its size must be a multiple "
				 "of 4 KiB, from 64 KiB to 16 MiB", c->firmware_path);
	return true;
}

static bool map_rom(struct machine *m, struct error *err)
{
	const struct machine_config *c = m->config;
	uint64_t size = 0, low;
	if (!rom_size(c, &size, err))
		return false;
	struct ram_slot *rom = memory_add_ram(m->memory, "firmware", 4 * GiB - size, size, 20,
					      true, -1, 0, err);
	if (!rom)
		return false;
	if (!fd_pread_full(c->firmware_fd, rom->host, size, 0))
		return error_set(err, errno, "cannot read firmware '%s'", c->firmware_path);
	low = MIN(size, (uint64_t)LOW_WINDOW);
	memory_add_alias(m->memory, "firmware-low", MiB - low, low, 4, true, rom, size - low);
	return c->nvram_fd < 0 || pflash_create(m, 4 * GiB - size, err);
}

/* --- its words ------------------------------------------------------------------ */
struct debug_port { struct device dev; char line[200]; unsigned len; };

static uint64_t debug_read(void *opaque, uint64_t at, unsigned size) { return DEBUG_PRESENT; }

static void debug_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct debug_port *p = opaque;
	char c = (char)value;
	if (c != '\n')
		p->line[p->len++] = c >= ' ' && c < 127 ? c : ' ';
	if (c == '\n' || p->len == sizeof(p->line) - 1) {
		p->line[p->len] = 0;
		p->len = 0;
		log_debug("firmware: %s", p->line);
	}
}

static void debug_destroy(struct device *d)
{
	free(container_of(d, struct debug_port, dev));
}

static bool debug_xfer(struct device *d, struct state *s, uint32_t version) { return true; }

static void add_debug_port(struct machine *m)
{
	static const struct io_ops io = { debug_read, debug_write, 1, 1 };
	static const struct device_ops ops = {
		.name = "debug-port", .version = 1, .xfer = debug_xfer, .destroy = debug_destroy,
	};
	struct debug_port *p = xnew(struct debug_port);
	device_add(m, &p->dev, &ops, "debug-port");
	memory_add_io(m->ports, "debug-port", DEBUG_PORT, 1, 0, &io, p);
}

bool firmware_create(struct machine *m, struct error *err)
{
	if (m->config->firmware_fd < 0)
		return true;
	add_debug_port(m);
	return map_rom(m, err);
}

/* --- ACPI through the loader script ------------------------------------------------ */
enum { CMD_ALLOCATE = 1, CMD_POINTER, CMD_CHECKSUM, CMD_WRITE_POINTER, CMD_SIZE = 128,
       ZONE_HIGH = 1, ZONE_FSEG = 2 };
#define F_TABLES "etc/acpi/tables"
#define F_RSDP "etc/acpi/rsdp"
#define F_VMGENID "etc/vmgenid_guid"
#define F_VMGENID_ADDR "etc/vmgenid_addr"
#define F_TPM_LOG "etc/tpm/log"

struct script { uint8_t data[CMD_SIZE * (2 * ACPI_MAX_FIXUPS + 16)]; unsigned n; };

static uint8_t *command(struct script *s, unsigned cmd, const char *file)
{
	uint8_t *p = s->data + CMD_SIZE * s->n++;
	le32_put(p, cmd);
	snprintf((char *)p + 4, 56, "%s", file);
	return p;
}

static void allocate(struct script *s, const char *file, unsigned align, unsigned zone)
{
	uint8_t *p = command(s, CMD_ALLOCATE, file);
	le32_put(p + 60, align);
	p[64] = (uint8_t)zone;
}

static void pointer(struct script *s, const char *in, const char *to, unsigned at, unsigned size)
{
	uint8_t *p = command(s, CMD_POINTER, in);
	snprintf((char *)p + 60, 56, "%s", to);
	le32_put(p + 116, at);
	p[120] = (uint8_t)size;
}

static void checksum(struct script *s, const char *file, unsigned at, unsigned start, unsigned len)
{
	uint8_t *p = command(s, CMD_CHECKSUM, file);
	le32_put(p + 60, at);
	le32_put(p + 64, start);
	le32_put(p + 68, len);
}

static void write_pointer(struct script *s, const char *file, const char *to, unsigned size)
{
	uint8_t *p = command(s, CMD_WRITE_POINTER, file);
	snprintf((char *)p + 60, 56, "%s", to);
	p[124] = (uint8_t)size;
}

static void make_script(const struct acpi_tables *t, bool tpm, struct script *s)
{
	static const char *const files[] = { [ACPI_TABLES] = F_TABLES, [ACPI_VMGENID] = F_VMGENID, [ACPI_TPM_LOG] = F_TPM_LOG };
	*s = (struct script){ .n = 0 };
	allocate(s, F_RSDP, 16, ZONE_FSEG);
	allocate(s, F_VMGENID, PAGE_SIZE, ZONE_HIGH);
	allocate(s, F_TABLES, 64, ZONE_HIGH);
	if (tpm)
		allocate(s, F_TPM_LOG, 64, ZONE_HIGH);
	for (unsigned i = 0; i < t->npointers; i++)
		pointer(s, F_TABLES, files[t->pointer[i].to], t->pointer[i].at, t->pointer[i].size);
	for (unsigned i = 0; i < t->nchecksums; i++)
		checksum(s, F_TABLES, t->checksum[i].at, t->checksum[i].start, t->checksum[i].len);
	pointer(s, F_RSDP, F_TABLES, 16, 4);
	pointer(s, F_RSDP, F_TABLES, 24, 8);
	checksum(s, F_RSDP, 8, 0, 20);
	checksum(s, F_RSDP, 32, 0, RSDP_SIZE);
	write_pointer(s, F_VMGENID_ADDR, F_VMGENID, 8);
}

/* The tables name the ECAM window where firmware has put it by then. */
static void make_tables(struct machine *m, uint8_t *data)
{
	struct acpi_tables t;
	acpi_build(m, &t);
	memcpy(data, t.blob.data, t.blob.len);
	acpi_tables_free(&t);
}

static void vmgenid_placed(struct machine *m, const uint8_t *data)
{
	vmgenid_place(m, le64_get(data));
}

static void describe_acpi(struct machine *m)
{
	struct acpi_tables t;
	auto_free struct script *s = xnew(struct script);
	uint8_t page[PAGE_SIZE] = { 0 };
	acpi_build(m, &t);
	make_script(&t, m->config->tpm_fd >= 0, s);
	memcpy(page + VMGENID_OFFSET, m->config->vmgenid, 16);
	fw_cfg_add_made(m, F_TABLES, t.blob.len, make_tables);
	fw_cfg_add_file(m, F_RSDP, t.rsdp, RSDP_SIZE);
	fw_cfg_add_file(m, F_VMGENID, page, sizeof(page));
	fw_cfg_add_writable(m, F_VMGENID_ADDR, 8, vmgenid_placed);
	if (m->config->tpm_fd >= 0) {
		auto_free uint8_t *log = xcalloc(1, TPM_LOG_SIZE);
		fw_cfg_add_file(m, F_TPM_LOG, log, TPM_LOG_SIZE);
	}
	fw_cfg_add_file(m, "etc/table-loader", s->data, CMD_SIZE * s->n);
	acpi_tables_free(&t);
}

/* --- the rest ---------------------------------------------------------------------- */
static void describe_memory(struct machine *m)
{
	uint8_t map[3 * 20];
	unsigned n = 0;
	const struct { uint64_t base, size; uint32_t type; } r[] = {
		{ 0, m->ram_low->size, 1 },
		{ BOARD_ECAM, 256 * MiB, 2 },
		{ BOARD_HIGH_RAM, m->ram_high ? m->ram_high->size : 0, 1 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		if (!r[i].size)
			continue;
		le64_put(map + n * 20, r[i].base);
		le64_put(map + n * 20 + 8, r[i].size);
		le32_put(map + n++ * 20 + 16, r[i].type);
	}
	fw_cfg_add_file(m, "etc/e820", map, n * 20);
}

static void set_cmos16(struct machine *m, unsigned at, uint64_t v)
{
	mc146818_set_cmos(m, at, (uint8_t)v);
	mc146818_set_cmos(m, at + 1, (uint8_t)(v >> 8));
}

static void describe_cmos(struct machine *m)
{
	uint64_t low = m->ram_low->size, high = m->ram_high ? m->ram_high->size : 0;
	uint64_t above1 = MIN((low - MiB) / KiB, 0xffffull);
	uint64_t above16 = low > 16 * MiB ? MIN((low - 16 * MiB) / (64 * KiB), 0xffffull) : 0;
	set_cmos16(m, 0x15, 640);
	set_cmos16(m, 0x17, above1);
	set_cmos16(m, 0x30, above1);
	set_cmos16(m, 0x34, above16);
	set_cmos16(m, 0x5b, high / (64 * KiB));
	mc146818_set_cmos(m, 0x5d, (uint8_t)(high / (64 * KiB) >> 16));
	unsigned floppies = m->board_data->floppies;
	mc146818_set_cmos(m, 0x14, (uint8_t)(6 | (floppies ? 1 | (floppies - 1) << 6 : 0)));  /* coprocessor, mouse */
	mc146818_set_cmos(m, 0x5f, (uint8_t)(m->config->vcpus - 1));
	mc146818_set_cmos(m, 0x3d, 0x32);    /* disk, then CD, then floppy or network */
	mc146818_set_cmos(m, 0x38, floppies ? 0x10 : 0x40);
}

static void describe_smbios(struct machine *m)
{
	struct smbios s;
	smbios_build(m, &s);
	fw_cfg_add_file(m, "etc/smbios/smbios-anchor", s.entry, SMBIOS_ENTRY_SIZE);
	fw_cfg_add_file(m, "etc/smbios/smbios-tables", s.table, s.len);
}

static void add_number(struct machine *m, const char *name, uint64_t v, unsigned size)
{
	uint8_t b[8];
	le64_put(b, v);
	fw_cfg_add_file(m, name, b, size);
}

void firmware_describe(struct machine *m)
{
	static const uint8_t zero[8];
	describe_memory(m);
	describe_cmos(m);
	describe_acpi(m);
	describe_smbios(m);
	fw_cfg_add(m, FW_CFG_NOGRAPHIC, zero, 2);
	fw_cfg_add(m, FW_CFG_BOOT_MENU, zero, 2);
	add_number(m, "etc/sercon-port", 0x3f8, 2);
	add_number(m, "etc/ps2-keyboard-spinup", 0, 8);
	add_number(m, "etc/show-boot-menu", 0, 2);
	add_number(m, "etc/max-cpus", m->config->vcpus, 2);
}
