/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other vendors' disk images: open, map and read what the input says. */
#include <sys/mman.h>

#include "disk/image.h"
#include "lib/fuzz.h"

enum { BLOCK = 4096, BLOCKS = 4, SECTOR = 512 };

static size_t vdi(uint8_t *p)
{
	le32_put(p + 0x40, 0xbeda107f);
	le32_put(p + 0x44, 0x00010001);
	le32_put(p + 0x4c, 1);
	le32_put(p + 0x154, 512);
	le32_put(p + 0x158, 1024);
	le64_put(p + 0x170, BLOCK * BLOCKS);
	le32_put(p + 0x178, BLOCK);
	le32_put(p + 0x180, BLOCKS);
	for (uint32_t k = 0; k < BLOCKS; k++)
		le32_put(p + 512 + 4 * k, k == 2 ? UINT32_MAX : k == 3 ? 0 : k);
	memset(p + 1024, 0x55, 2 * BLOCK);
	return 1024 + 2 * BLOCK;
}

static size_t parallels(uint8_t *p)
{
	memcpy(p, "WithouFreSpacExt", 16);
	le32_put(p + 16, 2);
	le32_put(p + 28, BLOCK / SECTOR);
	le64_put(p + 36, BLOCKS * BLOCK / SECTOR);
	le32_put(p + 64, 1);
	le32_put(p + 72, 2);
	memset(p + BLOCK, 0x66, 2 * BLOCK);
	return 3 * BLOCK;
}

static void be32_at(uint8_t *p, uint32_t v) { le32_put(p, htobe32(v)); }

static size_t vhd(uint8_t *p)
{
	memcpy(p, "conectix", 8);
	be32_at(p + 20, 512);                  /* the dynamic header */
	be32_at(p + 52, BLOCK * BLOCKS);
	be32_at(p + 60, 3);
	memcpy(p + 512, "cxsparse", 8);
	be32_at(p + 512 + 20, 1536);           /* the table */
	be32_at(p + 512 + 28, BLOCKS);
	be32_at(p + 512 + 32, BLOCK);
	memset(p + 1536, 0xff, 512);
	be32_at(p + 1536, 4);
	return 2048 + SECTOR + BLOCK;
}

static size_t vmdk(uint8_t *p, bool packed)
{
	memcpy(p, "KDMV", 4);
	le32_put(p + 8, packed ? 0x30000 : 0);
	le64_put(p + 12, BLOCKS * BLOCK / SECTOR);
	le64_put(p + 20, BLOCK / SECTOR);
	le32_put(p + 44, 512);
	le64_put(p + 56, 1);                   /* the directory */
	p[77] = packed;
	le32_put(p + 512, 2);                  /* its table */
	le32_put(p + 1024, 6);
	le32_put(p + 1028, 6);
	le32_put(p + 6 * 512 + 8, 20);
	memcpy(p + 6 * 512 + 12, "\x78\x9c\x63\x60\x18\x05\xa3\x60\x14\x0c\x04\x00\x10\x00\x00\x01", 16);
	return 6 * 512 + 2 * BLOCK;
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	memset(buf, 0, 32768);
	switch (n) {
	case 0: return vdi(buf);
	case 1: return parallels(buf);
	case 2: return vhd(buf);
	case 3: return vmdk(buf, false);
	case 4: return vmdk(buf, true);
	default: return 0;
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static uint8_t buf[64 << 10];
	struct error err;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (!fd_pwrite_full(fd, data, size, 0))
		abort();
	struct image_file *f = image_file_fd(fd);
	struct image *i = image_on(f, image_probe(f, true), "fuzz", true, &err);
	if (!i) {
		f->ops->close(f);
		return;
	}
	for (uint64_t at = 0, n, turns = 0; at < i->size && turns < 64; at += n, turns++) {
		enum image_kind kind;
		n = i->size - at;
		if (image_map(i, at, &n, &kind, NULL) || !n)
			break;
		if (strcmp(i->ops->format, "qcow2"))
			image_read(i, buf, MIN(n, (uint64_t)sizeof(buf)), at);
	}
	image_close(i);
}
