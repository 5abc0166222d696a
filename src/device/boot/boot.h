/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel loaders: what puts a kernel given by --kernel into a machine that has
 * no firmware, and CPU 0 to its entry point.  Kernels are hostile files: they
 * are parsed from a private copy, and every offset is checked against its size.
 * Runs after each reset, board lock held, vCPUs standing still.
 */
#ifndef DEVICE_BOOT_BOOT_H
#define DEVICE_BOOT_BOOT_H

#include "base/error.h"
#include "base/util.h"

struct machine;

struct boot {
	struct machine *machine;
	const uint8_t *image;     /* the kernel file */
	size_t size;
	const char *path;         /* for messages */
	uint64_t kernel_end;      /* first free byte above what was loaded */
	uint64_t initrd, initrd_size;
	const char *cmdline;
	uint64_t displaced;       /* ELF segments go so much above the addresses they name */
};

/* Where loaders put what they hand over (all below 640 KiB). */
enum { BOOT_GDT = 0x500, BOOT_MEMMAP = 0x1000, BOOT_INFO = 0x6000, BOOT_PARAMS = 0x7000,
       BOOT_RNG_SEED = 0x8800, BOOT_PAGE_TABLES = 0x9000, BOOT_CMDLINE = 0x20000,
       BOOT_CMDLINE_MAX = 0x10000, BOOT_LOW_MAX = 0x9fc00, BOOT_HIGH_MIN = 0x100000 };

bool boot_kernel(struct machine *m, struct error *err);

/* The formats: does the file claim to be one, and load it. */
bool bzimage_detect(const struct boot *b);
bool bzimage_load(struct boot *b, struct error *err);
bool multiboot_detect(const struct boot *b);
bool multiboot_load(struct boot *b, struct error *err);
bool elf_detect(const struct boot *b);
bool pvh_load(struct boot *b, struct error *err);

/* Is [off, off+len) inside the file? */
static inline bool boot_has(const struct boot *b, uint64_t off, uint64_t len)
{ return off <= b->size && len <= b->size - off; }
bool boot_truncated(const struct boot *b, struct error *err);   /* always false */
/* Into RAM; false with an error where there is none. */
bool boot_write(struct boot *b, uint64_t gpa, const void *p, size_t len, struct error *err);
bool boot_zero(struct boot *b, uint64_t gpa, uint64_t len, struct error *err);
/* The initrd, as high in low RAM as `limit` (last byte) allows. */
bool boot_load_initrd(struct boot *b, uint64_t limit, struct error *err);
bool boot_write_cmdline(struct boot *b, uint64_t max, struct error *err);

/* ELF program segments to their physical addresses (elf.c); sets *entry. */
struct elf_info { bool is64; uint16_t machine; uint64_t entry; };
bool elf_parse(const struct boot *b, struct elf_info *e, struct error *err);
bool elf_load(struct boot *b, struct error *err);
/* Are there segments, and all of them in [base, base + room)? */
bool elf_fits(const struct boot *b, uint64_t base, uint64_t room);
/* The note `type` of owner `name`: its payload's offset and length, or false. */
bool elf_note(const struct boot *b, const char *name, uint32_t type, uint64_t *off, uint64_t *len);

/* What a bzImage holds, at most `most` bytes; NULL: damaged, or packed in an unknown way (unpack.c). */
uint8_t *boot_unpack(const uint8_t *in, size_t n, size_t most, size_t *size);

/* The memory map as guests are told: type 1 RAM, 2 reserved. */
struct boot_range { uint64_t base, size; uint32_t type; };
enum { BOOT_RANGES = 8 };
unsigned boot_memory_map(struct machine *m, struct boot_range r[BOOT_RANGES]);

/* CPU 0: flat 32-bit protected mode without paging, or 64-bit mode with the
 * low 4 GiB mapped one to one. */
bool boot_enter_32(struct boot *b, uint64_t entry, uint64_t eax, uint64_t ebx, uint64_t esi,
		   struct error *err);
bool boot_enter_64(struct boot *b, uint64_t entry, uint64_t rsi, struct error *err);

#endif
