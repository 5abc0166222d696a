/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PVH entry of x86 kernels (Xen, docs/misc/pvh.pandoc): an ELF file with a
 * note that names a 32-bit entry point; EBX points to hvm_start_info, version 1.
 */
#include "device/acpi/acpi.h"
#include "device/boot/boot.h"
#include "device/board.h"
#include "machine/machine.h"

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18, START_MAGIC = 0x336ec578 };
enum { START_SIZE = 56, MODULE_SIZE = 32, RANGE_SIZE = 24 };

static bool entry_point(const struct boot *b, uint64_t *entry, struct error *err)
{
	uint64_t off, len;
	if (!elf_note(b, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &off, &len) || len < 4)
		return error_set(err, 0, "kernel '%s' is an ELF file without a PVH entry point "
				 "(CONFIG_PVH=y makes one): use the bzImage", b->path);
	*entry = len >= 8 ? le64_get(b->image + off) : le32_get(b->image + off);
	if (*entry >> 32)
		return error_set(err, 0, "kernel '%s' has a wild PVH entry point", b->path);
	return true;
}

static bool write_start_info(struct boot *b, struct error *err)
{
	uint8_t s[START_SIZE + MODULE_SIZE] = { 0 }, map[BOOT_RANGES * RANGE_SIZE] = { 0 };
	struct boot_range r[BOOT_RANGES];
	unsigned n = boot_memory_map(b->machine, r);
	for (unsigned i = 0; i < n; i++) {
		le64_put(map + i * RANGE_SIZE, r[i].base);
		le64_put(map + i * RANGE_SIZE + 8, r[i].size);
		le32_put(map + i * RANGE_SIZE + 16, r[i].type);
	}
	le32_put(s, START_MAGIC);
	le32_put(s + 4, 1);
	le32_put(s + 12, b->initrd_size ? 1 : 0);
	le64_put(s + 16, b->initrd_size ? BOOT_INFO + START_SIZE : 0);
	le64_put(s + 24, BOOT_CMDLINE);
	le64_put(s + 32, ACPI_RSDP);
	le64_put(s + 40, BOOT_MEMMAP);
	le32_put(s + 48, n);
	le64_put(s + START_SIZE, b->initrd);
	le64_put(s + START_SIZE + 8, b->initrd_size);
	return boot_write(b, BOOT_MEMMAP, map, n * RANGE_SIZE, err) &&
	       boot_write(b, BOOT_INFO, s, sizeof(s), err);
}

bool pvh_load(struct boot *b, struct error *err)
{
	struct elf_info e;
	uint64_t entry = 0;
	return elf_parse(b, &e, err) && entry_point(b, &entry, err) && elf_load(b, err) &&
	       boot_load_initrd(b, UINT32_MAX, err) &&
	       boot_write_cmdline(b, BOOT_CMDLINE_MAX, err) && write_start_info(b, err) &&
	       boot_enter_32(b, entry, 0, BOOT_INFO, 0, err);
}
