/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Microsoft's VHD, version 1.0 (fixed and dynamic), read-only.  Big-endian; a footer in
 * the last sector, and of dynamic disks in the first too; each block is preceded by a
 * bitmap of its sectors, which needs no look: sectors not written are zero.
 */
#include "disk/image_blocks.h"

#include <endian.h>

enum { SECTOR = 512, TYPE_FIXED = 2, TYPE_DYNAMIC = 3 };

static uint32_t be32(const uint8_t *p) { return be32toh(le32_get(p)); }
static uint64_t be64(const uint8_t *p) { return be64toh(le64_get(p)); }

static bool footer_at(struct image *i, uint64_t at, uint8_t *f)
{
	return !file_read(i->file, f, SECTOR, at) && !memcmp(f, "conectix", 8);
}

/* The file without its footer. */
static bool open_fixed(struct image *i, uint64_t file, struct error *err)
{
	if (i->size > file - SECTOR)
		return image_damaged(i, "it is shorter than the disk", err);
	struct blocks *b = blocks_new(i, 1 << 20, err);
	if (b)
		b->plain = true;
	return b != NULL;
}

static bool open_dynamic(struct image *i, const uint8_t *footer, struct error *err)
{
	uint8_t h[1024];
	if (file_read(i->file, h, sizeof(h), be64(footer + 16)) || memcmp(h, "cxsparse", 8))
		return image_damaged(i, "it has no header of a dynamic disk", err);
	uint64_t table = be64(h + 16), file = i->file->ops->size(i->file);
	struct blocks *b = blocks_new(i, be32(h + 32), err);
	if (!b)
		return false;
	if (be32(h + 28) < b->n || table > file || 4 * b->n > file - table)
		return image_damaged(i, "its block table is cut short", err);
	auto_free uint8_t *raw = xmalloc(4 * b->n);
	uint64_t bitmap = ALIGN_UP((b->block_size / SECTOR + 7) / 8, SECTOR);
	int r = file_read(i->file, raw, 4 * b->n, table);
	if (r)
		return error_set(err, -r, "cannot read the block table of disk '%s'", i->path);
	for (uint64_t k = 0; k < b->n; k++) {
		uint32_t e = be32(raw + 4 * k);
		if (e != UINT32_MAX && !blocks_put(i, k, (uint64_t)e * SECTOR + bitmap))
			return image_damaged(i, "a block lies beyond the end of the file", err);
	}
	return true;
}

static bool vhd_open(struct image *i, struct error *err)
{
	uint8_t f[SECTOR];
	uint64_t file = i->file->ops->size(i->file);
	if (file < SECTOR || (!footer_at(i, 0, f) && !footer_at(i, ALIGN_DOWN(file - 1, SECTOR), f)))
		return error_set(err, 0, "disk '%s' is not a VHD image", i->path);
	uint32_t type = be32(f + 60);
	i->size = ALIGN_DOWN(be64(f + 48), SECTOR);
	if (type != TYPE_FIXED && type != TYPE_DYNAMIC)
		return error_set(err, 0, "disk '%s' is a VHD of type %u: fixed (2) and dynamic (3) are known", i->path, type);
	if (type == TYPE_FIXED ? open_fixed(i, file, err) : open_dynamic(i, f, err))
		return true;
	blocks_close(i);
	return false;
}

const struct image_ops image_vhd = { .format = "vhd", .open = vhd_open, BLOCKS_OPS };
