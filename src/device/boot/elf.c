/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF executables, 32- and 64-bit little-endian x86, from a hostile file: a
 * table entry is read only after its bytes are known to be there.
 */
#include <elf.h>

#include "device/boot/boot.h"
#include "machine/machine.h"

struct segment { uint32_t type; uint64_t offset, paddr, filesz, memsz, align; };

bool elf_detect(const struct boot *b)
{
	return b->size >= sizeof(Elf32_Ehdr) && !memcmp(b->image, ELFMAG, SELFMAG);
}

bool elf_parse(const struct boot *b, struct elf_info *e, struct error *err)
{
	const uint8_t *p = b->image;
	e->is64 = p[EI_CLASS] == ELFCLASS64;
	if (!boot_has(b, 0, e->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return boot_truncated(b, err);
	e->machine = le16_get(p + 18);
	if (p[EI_DATA] != ELFDATA2LSB || (e->machine != EM_386 && e->machine != EM_X86_64))
		return error_set(err, 0, "kernel '%s' is an ELF file for another processor", b->path);
	e->entry = e->is64 ? le64_get(p + 24) : le32_get(p + 24);
	return true;
}

/* Program header i; false: there is no such. */
static bool get_segment(const struct boot *b, unsigned i, struct segment *s)
{
	bool is64 = b->image[EI_CLASS] == ELFCLASS64;
	if (!boot_has(b, 0, is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return false;
	uint64_t table = is64 ? le64_get(b->image + 32) : le32_get(b->image + 28);
	unsigned size = le16_get(b->image + (is64 ? 54 : 42));
	unsigned count = le16_get(b->image + (is64 ? 56 : 44));
	unsigned want = is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (i >= count || size < want || table > b->size ||
	    !boot_has(b, table + (uint64_t)i * size, want))
		return false;
	const uint8_t *p = b->image + table + (uint64_t)i * size;
	if (is64)
		*s = (struct segment){ le32_get(p), le64_get(p + 8), le64_get(p + 24),
				       le64_get(p + 32), le64_get(p + 40), le64_get(p + 48) };
	else
		*s = (struct segment){ le32_get(p), le32_get(p + 4), le32_get(p + 12),
				       le32_get(p + 16), le32_get(p + 20), le32_get(p + 28) };
	return true;
}

static bool load_segment(struct boot *b, const struct segment *s, struct error *err)
{
	if (!boot_has(b, s->offset, s->filesz) || s->filesz > s->memsz ||
	    s->paddr + s->memsz < s->paddr)
		return boot_truncated(b, err);
	/* The end first: a wild size must fail before it is filled with zeroes. */
	uint64_t at = s->paddr + b->displaced;
	if (s->memsz && !boot_zero(b, at + s->memsz - 1, 1, err))
		return false;
	b->kernel_end = MAX(b->kernel_end, at + s->memsz);
	return boot_write(b, at, b->image + s->offset, s->filesz, err) &&
	       boot_zero(b, at + s->filesz, s->memsz - s->filesz, err);
}

/* The next one that is to be loaded. */
static bool next_load(const struct boot *b, unsigned *i, struct segment *s)
{
	while (get_segment(b, (*i)++, s))
		if (s->type == PT_LOAD && s->memsz)
			return true;
	return false;
}

bool elf_fits(const struct boot *b, uint64_t base, uint64_t room)
{
	struct segment s;
	bool any = false;
	for (unsigned i = 0; next_load(b, &i, &s); any = true) {
		if (!boot_has(b, s.offset, s.filesz) || s.filesz > s.memsz || s.paddr < base || s.memsz > room ||
		    s.paddr - base > room - s.memsz)
			return false;
	}
	return any;
}

bool elf_load(struct boot *b, struct error *err)
{
	struct segment s;
	bool any = false;
	for (unsigned i = 0; next_load(b, &i, &s); any = true)
		if (!load_segment(b, &s, err))
			return false;
	return any || error_set(err, 0, "kernel '%s' is an ELF file with nothing to load", b->path);
}

/* One note segment: name, description, each padded. */
static bool find_note(const struct boot *b, const struct segment *s, const char *name,
		      uint32_t type, uint64_t *off, uint64_t *len)
{
	if (!boot_has(b, s->offset, s->filesz))
		return false;
	uint64_t at = s->offset, end = s->offset + s->filesz, pad = s->align == 8 ? 8 : 4;
	while (end - at >= 12) {
		uint64_t namesz = le32_get(b->image + at), descsz = le32_get(b->image + at + 4);
		uint64_t desc = at + 12 + ALIGN_UP(namesz, 4ull);
		uint64_t next = ALIGN_UP(desc + descsz, pad);
		if (next > end && desc + descsz > end)
			return false;
		if (le32_get(b->image + at + 8) == type && namesz == strlen(name) + 1 &&
		    !memcmp(b->image + at + 12, name, namesz)) {
			*off = desc;
			*len = descsz;
			return true;
		}
		at = MIN(next, end);
	}
	return false;
}

bool elf_note(const struct boot *b, const char *name, uint32_t type, uint64_t *off, uint64_t *len)
{
	struct segment s;
	for (unsigned i = 0; get_segment(b, i, &s); i++)
		if (s.type == PT_NOTE && find_note(b, &s, name, type, off, len))
			return true;
	return false;
}
