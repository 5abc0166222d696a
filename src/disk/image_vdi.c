/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VirtualBox's VDI, version 1.1 (dynamic and fixed), read-only.  Little-endian; a table
 * of 32-bit block numbers, 0xffffffff: never written, 0xfffffffe: zeros.
 */
#include "disk/image_blocks.h"

enum { HEADER = 512, TYPE_DYNAMIC = 1, TYPE_FIXED = 2 };
#define SIGNATURE 0xbeda107fu
#define FIRST_SPECIAL 0xfffffffeu

static bool load_table(struct image *i, const uint8_t *h, struct error *err)
{
	struct blocks *b = i->format;
	uint64_t table = le32_get(h + 0x154), data = le32_get(h + 0x158), extra = le32_get(h + 0x17c);
	if (le32_get(h + 0x180) < b->n || table + 4 * b->n > i->file->ops->size(i->file))
		return image_damaged(i, "its block table is cut short", err);
	auto_free uint8_t *raw = xmalloc(4 * b->n);
	int r = file_read(i->file, raw, 4 * b->n, table);
	if (r)
		return error_set(err, -r, "cannot read the block table of disk '%s'", i->path);
	for (uint64_t k = 0; k < b->n; k++) {
		uint32_t e = le32_get(raw + 4 * k);
		if (e < FIRST_SPECIAL && !blocks_put(i, k, data + e * (b->block_size + extra) + extra))
			return image_damaged(i, "a block lies beyond the end of the file", err);
	}
	return true;
}

static bool vdi_open(struct image *i, struct error *err)
{
	uint8_t h[HEADER], none[16] = { 0 };
	if (file_read(i->file, h, HEADER, 0) || le32_get(h + 0x40) != SIGNATURE)
		return error_set(err, 0, "disk '%s' is not a VDI image", i->path);
	uint32_t version = le32_get(h + 0x44), type = le32_get(h + 0x4c);
	if (version != 0x00010001 || (type != TYPE_DYNAMIC && type != TYPE_FIXED))
		return error_set(err, 0, "disk '%s' is VDI of version %u.%u, type %u: 1.1, dynamic or fixed, is known",
				 i->path, version >> 16, version & 0xffff, type);
	if (memcmp(h + 0x1a8, none, 16) && memcmp(h + 0x1b8, none, 16))
		return error_set(err, 0, "disk '%s' is a VDI snapshot: convert the machine's whole disk in VirtualBox", i->path);
	i->size = le64_get(h + 0x170);
	if (blocks_new(i, le32_get(h + 0x178), err) && load_table(i, h, err))
		return true;
	blocks_close(i);
	return false;
}

const struct image_ops image_vdi = { .format = "vdi", .open = vdi_open, BLOCKS_OPS };
