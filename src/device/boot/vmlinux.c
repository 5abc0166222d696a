/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel inside of a bzImage, unpacked and placed here instead of by its own
 * unpacker, which an emulated CPU runs more slowly than the host runs its library;
 * 64-bit kernels may be entered so by any loader (Linux, arch/x86/kernel/head_64.S).
 * The addresses are chosen at random as its unpacker would (arch/x86/boot/compressed/
 * kaslr.c): that of the RAM, and the virtual one, for which the payload ends with a
 * list of the places that hold addresses (arch/x86/tools/relocs.c).
 *
 * All is checked before anything is written: whatever looks unusual is left to the
 * kernel's own unpacker.
 */
#include <elf.h>
#include <sys/random.h>

#include "device/boot/vmlinux.h"
#include "machine/machine.h"

#define KERNEL_MAP 0xffffffff80000000ull        /* virtual address of physical 0 (Linux, page_64_types.h) */
#define KERNEL_SPACE GiB                        /* addresses for it there */
enum { LARGE_PAGE = 2 * MiB };

/* Words between zeroes: places of 64-bit addresses; 32-bit negated ones, until Linux 6.14; 32-bit ones. */
static bool find_relocs(struct vmlinux *k, uint64_t from)
{
	const uint8_t *words = k->file.image + from;
	size_t n = (k->file.size - from) / 4, zeroes[3], found = 0;

	if (!n || (k->file.size - from) % 4 || le32_get(words))
		return !n;
	for (size_t i = 0; i < n; i++) {
		if (le32_get(words + 4 * i))
			continue;
		if (found == ARRAY_SIZE(zeroes))
			return false;
		zeroes[found++] = i;
	}
	for (size_t i = 0; i < found; i++) {
		struct relocs *r = &k->relocs[i];
		r->kind = i == 0 ? RELOC_64 : i + 1 == found ? RELOC_32 : RELOC_32_NEGATED;
		r->at = words + 4 * (zeroes[i] + 1);
		r->count = (i + 1 < found ? zeroes[i + 1] : n) - zeroes[i] - 1;
		k->has_relocs |= r->count;
	}
	return found > 1;
}

/* From the image's first byte. */
static uint64_t reloc_offset(const struct vmlinux *k, const struct relocs *r, size_t i)
{
	uint64_t address = (uint64_t)(int64_t)(int32_t)le32_get(r->at + 4 * i);

	return address - KERNEL_MAP - k->preferred;
}

static bool relocs_ok(const struct vmlinux *k)
{
	for (unsigned n = 0; n < ARRAY_SIZE(k->relocs); n++)
		for (size_t i = 0; i < k->relocs[n].count; i++)
			if (reloc_offset(k, &k->relocs[n], i) > k->room - 8)
				return false;
	return true;
}

/* Where the ELF file ends, by its last table. */
static bool elf_end(const struct boot *b, uint64_t *end)
{
	uint64_t table = le64_get(b->image + 40), size = (uint64_t)le16_get(b->image + 58) * le16_get(b->image + 60);

	*end = table + size;
	return boot_has(b, table, size) && table >= sizeof(Elf64_Ehdr);
}

static bool is_kernel(struct vmlinux *k)
{
	struct error err;
	struct elf_info e;
	uint64_t end;

	if (!elf_detect(&k->file) || !elf_parse(&k->file, &e, &err) || !e.is64 || e.machine != EM_X86_64 ||
	    !elf_fits(&k->file, k->preferred, k->room) || e.entry - k->preferred >= k->room)
		return false;
	k->entry = e.entry - k->preferred;
	return elf_end(&k->file, &end) && find_relocs(k, end) && relocs_ok(k);
}

bool vmlinux_open(struct vmlinux *k, const struct boot *b, const uint8_t *payload, size_t n)
{
	size_t size;

	/* what its own unpacker looks for in the command line */
	if (strstr(b->cmdline, "mem=") || strstr(b->cmdline, "memmap=") || strstr(b->cmdline, "hugepages="))
		return false;
	if (k->align < LARGE_PAGE || k->align & (k->align - 1) || k->preferred % k->align || k->room < PAGE_SIZE)
		return false;
	k->unpacked = boot_unpack(payload, n, k->room, &size);
	k->file = *b;
	k->file.image = k->unpacked;
	k->file.size = size;
	return k->unpacked && is_kernel(k);
}

void vmlinux_close(struct vmlinux *k) { free(k->unpacked); }

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += n)
		if ((p == text || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

/* One of the multiples of the alignment in [0, space]. */
static uint64_t random_step(const struct vmlinux *k, uint64_t space)
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return 0;
	return r % (space / k->align + 1) * k->align;
}

static void relocate(const struct vmlinux *k, uint8_t *image, uint64_t by)
{
	for (unsigned n = 0; n < ARRAY_SIZE(k->relocs); n++) {
		const struct relocs *r = &k->relocs[n];
		for (size_t i = 0; i < r->count; i++) {
			uint8_t *p = image + reloc_offset(k, r, i);
			if (r->kind == RELOC_64)
				le64_put(p, le64_get(p) + by);
			else
				le32_put(p, le32_get(p) + (uint32_t)(r->kind == RELOC_32 ? by : -by));
		}
	}
}

bool vmlinux_place(struct vmlinux *k, uint64_t top, struct error *err)
{
	uint64_t end = k->preferred + k->room, by = 0;

	k->random = k->has_relocs && !has_word(k->file.cmdline, "nokaslr");
	if (k->random && top > end)
		k->file.displaced = random_step(k, top - end);
	if (k->random && KERNEL_SPACE > end)
		by = random_step(k, KERNEL_SPACE - end);
	if (!elf_load(&k->file, err))
		return false;
	k->at = k->preferred + k->file.displaced;
	uint8_t *image = mem_pin_write(k->file.machine->memory, k->at, k->room);
	if (!image)
		return error_set(err, 0, "kernel '%s' does not fit in memory", k->file.path);
	relocate(k, image, by);
	mem_unpin_write(k->file.machine->memory, k->at, k->room);
	return true;
}
