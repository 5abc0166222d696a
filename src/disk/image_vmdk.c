/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMware's VMDK in one file (Virtual Disk Format 5.0), read-only: hosted sparse extents
 * and stream-optimized ones, whose grains are compressed and whose directory is named by
 * a footer.  Little-endian; sizes and places in sectors.
 */
#include "disk/image_blocks.h"

#include <errno.h>
#include <zlib.h>

enum { SECTOR = 512, HEADER = 512, MARKER = 12, GTES = 512, DESCRIPTOR_MAX = 64 << 10 };
enum { FLAG_ZEROED = 4, FLAG_COMPRESSED = 1 << 16 };
#define AT_END UINT64_MAX

static bool is_header(const uint8_t *h) { return !memcmp(h, "KDMV", 4); }

/* The embedded text names the kind, and a parent if it is a snapshot. */
static bool check_descriptor(struct image *i, const uint8_t *h, struct error *err)
{
	uint64_t at = le64_get(h + 28), n = le64_get(h + 36);
	if (!at || !n || n > DESCRIPTOR_MAX / SECTOR || at > INT64_MAX / SECTOR)
		return true;
	auto_free char *text = xcalloc(1, n * SECTOR + 1);
	int r = file_read(i->file, text, n * SECTOR, at * SECTOR);
	if (r)
		return error_set(err, -r, "cannot read the descriptor of disk '%s'", i->path);
	const char *parent = strstr(text, "parentCID="), *kind = strstr(text, "createType=\"");
	if (parent && strncasecmp(parent + 10, "ffffffff", 8))
		return error_set(err, 0, "disk '%s' is a VMware snapshot: export the machine, or convert its whole disk there",
				 i->path);
	kind = kind ? kind + 12 : "monolithicSparse";
	if (strncmp(kind, "monolithicSparse\"", 17) && strncmp(kind, "streamOptimized\"", 16) &&
	    strcmp(kind, "monolithicSparse"))
		return error_set(err, 0, "disk '%s' is VMDK of the kind %.*s: monolithicSparse and streamOptimized are known",
				 i->path, (int)strcspn(kind, "\""), kind);
	return true;
}

/* One table of 512 grains. */
static bool load_grains(struct image *i, uint64_t table, uint64_t first, bool zeroed, struct error *err)
{
	struct blocks *b = i->format;
	uint8_t raw[4 * GTES];
	if (table * SECTOR > i->file->ops->size(i->file) || file_read(i->file, raw, sizeof(raw), table * SECTOR))
		return image_damaged(i, "a grain table lies beyond the end of the file", err);
	for (uint64_t k = 0; k < GTES && first + k < b->n; k++) {
		uint64_t e = le32_get(raw + 4 * k);
		if (e && !(zeroed && e == 1) && !blocks_put(i, first + k, e * SECTOR))
			return image_damaged(i, "a grain lies beyond the end of the file", err);
	}
	return true;
}

static bool load_directory(struct image *i, const uint8_t *h, struct error *err)
{
	struct blocks *b = i->format;
	uint64_t at = le64_get(h + 56), n = (b->n + GTES - 1) / GTES, file = i->file->ops->size(i->file);
	if (at > file / SECTOR || 4 * n > file - at * SECTOR)
		return image_damaged(i, "its grain directory is cut short", err);
	auto_free uint8_t *raw = xmalloc(4 * n);
	int r = file_read(i->file, raw, 4 * n, at * SECTOR);
	if (r)
		return error_set(err, -r, "cannot read the grain directory of disk '%s'", i->path);
	for (uint64_t k = 0; k < n; k++)
		if (le32_get(raw + 4 * k) &&
		    !load_grains(i, le32_get(raw + 4 * k), k * GTES, le32_get(h + 8) & FLAG_ZEROED, err))
			return false;
	return true;
}

/* A marker (the grain's first sector, the length), then zlib. */
static int unpack(struct image *i, uint64_t k, uint8_t *out)
{
	struct blocks *b = i->format;
	uint8_t marker[MARKER];
	int r = file_read(i->file, marker, MARKER, b->at[k]);
	uint64_t n = le32_get(marker + 8);
	if (r || le64_get(marker) != k * (b->block_size / SECTOR) || n > 2 * b->block_size)
		return r ? r : -EIO;
	auto_free uint8_t *in = xmalloc(n + 1);
	uLongf got = b->block_size;
	if ((r = file_read(i->file, in, n, b->at[k] + MARKER)))
		return r;
	if (uncompress(out, &got, in, n) != Z_OK)
		return -EIO;
	memset(out + got, 0, b->block_size - got);        /* the last grain may end with the disk */
	return 0;
}

static bool open_extent(struct image *i, const uint8_t *h, struct error *err)
{
	uint64_t capacity = le64_get(h + 12), grain = le64_get(h + 20);
	uint32_t flags = le32_get(h + 8);
	if (le32_get(h + 44) != GTES || capacity > INT64_MAX / SECTOR || grain > 1 << 16)
		return image_damaged(i, "its sizes are impossible", err);
	if (flags & FLAG_COMPRESSED && le16_get(h + 77) != 1)
		return image_damaged(i, "its compression is not known", err);
	i->size = capacity * SECTOR;
	struct blocks *b = blocks_new(i, grain * SECTOR, err);
	if (!b || !load_directory(i, h, err))
		return false;
	b->unpack = flags & FLAG_COMPRESSED ? unpack : NULL;
	return true;
}

static bool vmdk_open(struct image *i, struct error *err)
{
	uint8_t h[HEADER];
	uint64_t file = i->file->ops->size(i->file);
	if (file_read(i->file, h, HEADER, 0) || !is_header(h))
		return error_set(err, 0, "disk '%s' is not a VMDK in one file: one that is a text with names of others must be "
				 "converted with qemu-img first", i->path);
	if (!check_descriptor(i, h, err))
		return false;
	if (le64_get(h + 56) == AT_END &&
	    (file < 2 * SECTOR || file_read(i->file, h, HEADER, file - 2 * SECTOR) || !is_header(h)))
		return image_damaged(i, "its footer is missing: it is cut short", err);
	if (open_extent(i, h, err))
		return true;
	blocks_close(i);
	return false;
}

const struct image_ops image_vmdk = { .format = "vmdk", .open = vmdk_open, BLOCKS_OPS };
