/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 (specification 0.6.96): a header in the first 8 KiB, then either
 * an ELF32 file or the load addresses in the header itself.  The initrd, if
 * any, is the only module.  A command line begins with the kernel's name.
 */
#include "device/boot/boot.h"
#include "device/board.h"
#include "machine/machine.h"

enum { HEADER_MAGIC = 0x1badb002, ENTRY_MAGIC = 0x2badb002, SEARCH = 8192 };
enum { FLAG_ADDRESSES = 0x10000, FLAGS_KNOWN = 7 };
enum { INFO_MEM = 1, INFO_CMDLINE = 4, INFO_MODS = 8, INFO_MMAP = 0x40, INFO_NAME = 0x200 };
enum { INFO_SIZE = 88, AT_MODULE = INFO_SIZE, AT_NAME = AT_MODULE + 16, INFO_TOTAL = AT_NAME + 8 };

/* Offset of the header, or -1. */
static int64_t find_header(const struct boot *b)
{
	for (uint64_t at = 0; at + 12 <= MIN(b->size, (size_t)SEARCH); at += 4) {
		const uint8_t *p = b->image + at;
		if (le32_get(p) == HEADER_MAGIC &&
		    !(uint32_t)(le32_get(p) + le32_get(p + 4) + le32_get(p + 8)))
			return (int64_t)at;
	}
	return -1;
}

bool multiboot_detect(const struct boot *b) { return find_header(b) >= 0; }

/* The header says itself where the file goes ("a.out kludge", 3.1.3). */
static bool load_flat(struct boot *b, uint64_t header, uint64_t *entry, struct error *err)
{
	if (!boot_has(b, header, 32))
		return boot_truncated(b, err);
	const uint8_t *p = b->image + header;
	uint64_t header_addr = le32_get(p + 12), load = le32_get(p + 16);
	uint64_t load_end = le32_get(p + 20), bss_end = le32_get(p + 24);
	*entry = le32_get(p + 28);
	if (load > header_addr || header < header_addr - load)
		return boot_truncated(b, err);
	uint64_t off = header - (header_addr - load);
	uint64_t len = load_end ? load_end - load : b->size - off;
	if ((load_end && load_end < load) || !boot_has(b, off, len))
		return boot_truncated(b, err);
	uint64_t end = MAX(load + len, bss_end);
	b->kernel_end = end;
	return boot_zero(b, end - 1, 1, err) && boot_write(b, load, b->image + off, len, err) &&
	       boot_zero(b, load + len, end - load - len, err);
}

static bool load_elf(struct boot *b, uint64_t *entry, struct error *err)
{
	struct elf_info e;
	if (!elf_detect(b))
		return error_set(err, 0, "multiboot kernel '%s' is not an ELF file", b->path);
	if (!elf_parse(b, &e, err))
		return false;
	if (e.is64)
		return error_set(err, 0, "multiboot kernel '%s' is a 64-bit ELF file: multiboot 1 "
				 "needs a 32-bit one (objcopy -O elf32-i386)", b->path);
	*entry = e.entry;
	return elf_load(b, err);
}

static bool write_map(struct boot *b, uint32_t *len, struct error *err)
{
	struct boot_range r[BOOT_RANGES];
	uint8_t map[BOOT_RANGES * 24];
	unsigned n = boot_memory_map(b->machine, r);
	for (unsigned i = 0; i < n; i++) {
		le32_put(map + i * 24, 20);
		le64_put(map + i * 24 + 4, r[i].base);
		le64_put(map + i * 24 + 12, r[i].size);
		le32_put(map + i * 24 + 20, r[i].type);
	}
	*len = n * 24;
	return boot_write(b, BOOT_MEMMAP, map, *len, err);
}

static bool write_info(struct boot *b, struct error *err)
{
	uint8_t p[INFO_TOTAL] = { 0 };
	uint32_t map_len;
	if (!write_map(b, &map_len, err))
		return false;
	le32_put(p, INFO_MEM | INFO_CMDLINE | INFO_MODS | INFO_MMAP | INFO_NAME);
	le32_put(p + 4, BOOT_LOW_MAX / KiB);
	le32_put(p + 8, (uint32_t)((b->machine->ram_low->size - BOOT_HIGH_MIN) / KiB));
	le32_put(p + 16, BOOT_CMDLINE);
	le32_put(p + 20, b->initrd_size ? 1 : 0);
	le32_put(p + 24, BOOT_INFO + AT_MODULE);
	le32_put(p + 44, map_len);
	le32_put(p + 48, BOOT_MEMMAP);
	le32_put(p + 64, BOOT_INFO + AT_NAME);
	le32_put(p + AT_MODULE, (uint32_t)b->initrd);
	le32_put(p + AT_MODULE + 4, (uint32_t)(b->initrd + b->initrd_size));
	memcpy(p + AT_NAME, "abyme", 6);
	return boot_write(b, BOOT_INFO, p, sizeof(p), err);
}

bool multiboot_load(struct boot *b, struct error *err)
{
	uint64_t header = (uint64_t)find_header(b), entry = 0;
	uint32_t flags = le32_get(b->image + header + 4);
	if (flags & 0xffff & ~(unsigned)FLAGS_KNOWN)
		return error_set(err, 0, "multiboot kernel '%s' requires features unknown here "
				 "(flags 0x%x)", b->path, flags & 0xffff);
	if (b->machine->ram_low->size < 2 * MiB)
		return error_set(err, 0, "a multiboot kernel needs 2 MiB of memory");
	auto_free char *line = xasprintf("%s%s%s", b->path, *b->cmdline ? " " : "", b->cmdline);
	b->cmdline = line;
	return (flags & FLAG_ADDRESSES ? load_flat(b, header, &entry, err) : load_elf(b, &entry, err)) &&
	       boot_load_initrd(b, UINT32_MAX, err) &&
	       boot_write_cmdline(b, BOOT_CMDLINE_MAX, err) && write_info(b, err) &&
	       boot_enter_32(b, entry, ENTRY_MAGIC, BOOT_INFO, 0, err);
}
