/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PNG (ISO/IEC 15948) without compression: the image data is one zlib stream of
 * stored blocks, so that a screenshot needs no library.
 */
#include "display/image.h"

#include <errno.h>

enum { STORED_MAX = 65535 };

void image_init(struct image *img, unsigned width, unsigned height)
{
	*img = (struct image){ width, height, xcalloc((size_t)width * height, 3) };
}

void image_free(struct image *img)
{
	free(img->rgb);
	*img = (struct image){ 0 };
}

static uint32_t crc(uint32_t c, const uint8_t *p, size_t n)
{
	while (n--) {
		c ^= *p++;
		for (unsigned k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
	}
	return c;
}

static void put_be32(uint8_t *p, uint32_t v) { le32_put(p, htobe32(v)); }

static bool chunk(int fd, const char type[4], const uint8_t *data, size_t n)
{
	uint8_t head[8], tail[4];
	put_be32(head, (uint32_t)n);
	memcpy(head + 4, type, 4);
	put_be32(tail, ~crc(crc(~0u, head + 4, 4), data, n));
	return fd_write_full(fd, head, 8) && (!n || fd_write_full(fd, data, n)) &&
	       fd_write_full(fd, tail, 4);
}

/* Rows with their filter byte (none). */
static uint8_t *filtered(const struct image *img, size_t *n)
{
	size_t row = (size_t)img->width * 3;
	*n = (row + 1) * img->height;
	uint8_t *out = xmalloc(*n);
	for (size_t y = 0; y < img->height; y++) {
		out[y * (row + 1)] = 0;
		memcpy(out + y * (row + 1) + 1, img->rgb + y * row, row);
	}
	return out;
}

static uint32_t adler(const uint8_t *p, size_t n)
{
	uint32_t a = 1, b = 0;
	while (n--) {
		a = (a + *p++) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

static uint8_t *stored(const uint8_t *data, size_t n, size_t *len)
{
	uint8_t *out = xmalloc(n + (n / STORED_MAX + 1) * 5 + 6), *p = out;
	*p++ = 0x78;
	*p++ = 0x01;
	for (size_t at = 0; at < n; ) {
		size_t part = MIN(n - at, (size_t)STORED_MAX);
		*p++ = at + part == n;
		le16_put(p, (uint16_t)part);
		le16_put(p + 2, (uint16_t)~part);
		memcpy(p + 4, data + at, part);
		p += 4 + part;
		at += part;
	}
	put_be32(p, adler(data, n));
	*len = (size_t)(p + 4 - out);
	return out;
}

bool image_write_png(const struct image *img, int fd, struct error *err)
{
	static const uint8_t magic[8] = "\x89PNG\r\n\x1a\n";
	uint8_t header[13] = { [8] = 8, [9] = 2 };
	size_t raw_len, len;
	put_be32(header, img->width);
	put_be32(header + 4, img->height);
	auto_free uint8_t *raw = filtered(img, &raw_len);
	auto_free uint8_t *data = stored(raw, raw_len, &len);
	return (fd_write_full(fd, magic, sizeof(magic)) && chunk(fd, "IHDR", header, sizeof(header)) &&
		chunk(fd, "IDAT", data, len) && chunk(fd, "IEND", NULL, 0)) ||
	       error_set(err, errno, "cannot write the picture");
}
