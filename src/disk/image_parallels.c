/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallels' HDD ("WithoutFreeSpace" and "WithouFreSpacExt"), read-only: a header of 64
 * bytes, then a table of 32-bit places, in sectors or (the newer magic) in blocks.
 */
#include "disk/image_blocks.h"

enum { HEADER = 64, SECTOR = 512 };

static bool load_table(struct image *i, uint64_t unit, struct error *err)
{
	struct blocks *b = i->format;
	if (HEADER + 4 * b->n > i->file->ops->size(i->file))
		return image_damaged(i, "its block table is cut short", err);
	auto_free uint8_t *raw = xmalloc(4 * b->n);
	int r = file_read(i->file, raw, 4 * b->n, HEADER);
	if (r)
		return error_set(err, -r, "cannot read the block table of disk '%s'", i->path);
	for (uint64_t k = 0; k < b->n; k++) {
		uint64_t at = le32_get(raw + 4 * k) * unit;
		if (at && !blocks_put(i, k, at))
			return image_damaged(i, "a block lies beyond the end of the file", err);
	}
	return true;
}

static bool parallels_open(struct image *i, struct error *err)
{
	uint8_t h[HEADER];
	bool ok = !file_read(i->file, h, HEADER, 0), newer = ok && !memcmp(h, "WithouFreSpacExt", 16);
	if (!ok || (!newer && memcmp(h, "WithoutFreeSpace", 16)))
		return error_set(err, 0, "disk '%s' is not a Parallels image", i->path);
	uint64_t block = le32_get(h + 28) * (uint64_t)SECTOR, sectors = newer ? le64_get(h + 36) : le32_get(h + 36);
	if (le32_get(h + 16) != 2 || sectors > INT64_MAX / SECTOR)
		return image_damaged(i, "its version or size is impossible", err);
	i->size = sectors * SECTOR;
	if (blocks_new(i, block, err) && load_table(i, newer ? block : SECTOR, err))
		return true;
	blocks_close(i);
	return false;
}

const struct image_ops image_parallels = { .format = "parallels", .open = parallels_open, BLOCKS_OPS };
