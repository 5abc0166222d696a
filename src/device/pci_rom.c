/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Expansion ROMs (PCI Firmware 3.0, chapter 5): a file in BAR 6.  A ROM made for
 * another id of the same card gets the function's ids, as firmware compares them.
 */
#include <errno.h>
#include <sys/stat.h>

#include "device/pci.h"
#include "device/pci_regs.h"
#include "machine/machine.h"

enum { ROM_MAX = 1 << 20, UNIT = 512, CODE_PC = 0 };

struct pci_rom { struct pci_rom *next; size_t size; uint8_t data[]; };

static uint64_t rom_read(void *opaque, uint64_t at, unsigned size)
{
	uint64_t v = 0;
	memcpy(&v, ((struct pci_rom *)opaque)->data + at, size);
	return le64toh(v);
}

static void rom_write(void *opaque, uint64_t at, uint64_t value, unsigned size) { }

/* The bytes of a PC image add up to zero; its byte 6 is free for that. */
static void fix_sum(uint8_t *image, size_t n)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + image[i]);
	image[6] = (uint8_t)(image[6] - sum);
}

static void set_ids(struct pci_rom *r, const uint8_t *config)
{
	for (size_t at = 0; at + 0x1a <= r->size && le16_get(r->data + at) == 0xaa55; ) {
		size_t pcir = at + le16_get(r->data + at + 0x18);
		if (pcir + 0x18 > r->size || memcmp(r->data + pcir, "PCIR", 4))
			return;
		size_t n = (size_t)le16_get(r->data + pcir + 0x10) * UNIT;
		if (!n || n > r->size - at)
			return;
		memcpy(r->data + pcir + 4, config + PCI_VENDOR, 4);
		if (r->data[pcir + 0x14] == CODE_PC)
			fix_sum(r->data + at, n);
		at += n;
	}
}

bool pci_rom_add(struct pci_function *f, int fd, struct error *err)
{
	static const struct io_ops ops = { rom_read, rom_write, 1, 8, true };
	struct stat st;
	size_t size = PAGE_SIZE;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > ROM_MAX)
		return error_set(err, errno, "the ROM of %s is not a file of at most 1 MiB", f->dev.id);
	while (size < (size_t)st.st_size)
		size *= 2;
	struct pci_rom *r = xcalloc(1, sizeof(*r) + size);
	r->size = size;
	r->next = *pci_rom_list(f);
	*pci_rom_list(f) = r;
	if (!fd_pread_full(fd, r->data, (size_t)st.st_size, 0))
		return error_set(err, errno, "cannot read the ROM of %s", f->dev.id);
	set_ids(r, f->config);
	pci_bar_add(f, 6, size, 0, &ops, r);
	return true;
}

void pci_rom_free_all(struct pci_rom *list)
{
	for (struct pci_rom *next; list; list = next) {
		next = list->next;
		free(list);
	}
}
