/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 64-bit Linux unpacked from its bzImage: see vmlinux.c. */
#ifndef DEVICE_BOOT_VMLINUX_H
#define DEVICE_BOOT_VMLINUX_H

#include "device/boot/boot.h"

enum reloc_kind { RELOC_64, RELOC_32_NEGATED, RELOC_32 };
struct relocs { enum reloc_kind kind; const uint8_t *at; size_t count; };

struct vmlinux {
	uint64_t preferred, align, room;  /* as the header says: address, its alignment, RAM to start */
	uint8_t *unpacked;
	struct boot file;                 /* it as an ELF file */
	uint64_t entry;                   /* from its first byte */
	struct relocs relocs[3];
	bool has_relocs, random;          /* random: its addresses are */
	uint64_t at;                      /* where it has been placed */
};

/* Sets all but the first three. False: let it unpack itself. */
bool vmlinux_open(struct vmlinux *k, const struct boot *b, const uint8_t *payload, size_t n);
/* Into RAM, anywhere from its preferred address up to `top`. */
bool vmlinux_place(struct vmlinux *k, uint64_t top, struct error *err);
void vmlinux_close(struct vmlinux *k);

#endif
