/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: compressed clusters, zlib (raw deflate, window of 4 KiB) and zstd.  They
 * are written by tools only: whole clusters, one after the other into clusters that
 * several of them share, each counted once for each part of one.
 */
#include "disk/qcow2.h"

#include <errno.h>
#include <zlib.h>
#include <zstd.h>

enum { ZLIB_WINDOW = -12, ZLIB_LEVEL = 6, ZLIB_MEMORY = 9, ZSTD_LEVEL = 3 };

static bool inflate_zlib(uint8_t *out, size_t n, uint8_t *in, size_t bytes)
{
	z_stream z = { .next_in = in, .avail_in = (uInt)bytes, .next_out = out, .avail_out = (uInt)n };
	if (inflateInit2(&z, ZLIB_WINDOW) != Z_OK)
		return false;
	int r = inflate(&z, Z_FINISH);
	/* sectors are counted whole: bytes may be left over */
	bool good = (r == Z_STREAM_END || r == Z_BUF_ERROR || r == Z_OK) && !z.avail_out;
	inflateEnd(&z);
	return good;
}

static bool inflate_zstd(uint8_t *out, size_t n, const uint8_t *in, size_t bytes)
{
	ZSTD_outBuffer to = { out, n, 0 };
	ZSTD_inBuffer from = { in, bytes, 0 };
	ZSTD_DCtx *z = ZSTD_createDCtx();
	size_t left = z ? 1 : 0;
	while (left && !ZSTD_isError(left) && from.pos < from.size)
		left = ZSTD_decompressStream(z, &to, &from);
	ZSTD_freeDCtx(z);
	return z && !left && to.pos == n;
}

int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint8_t *out)
{
	uint64_t offset, bytes;
	compressed_place(q, entry, &offset, &bytes);
	auto_free uint8_t *in = xmalloc(bytes);
	int r = file_read(q->file, in, bytes, offset);
	if (r)
		return r;
	bool good = q->zstd ? inflate_zstd(out, q->cluster_size, in, bytes) : inflate_zlib(out, q->cluster_size, in, bytes);
	return good ? 0 : -EIO;
}

/* How many bytes, 0 if it does not get smaller. */
static size_t deflate_zlib(uint8_t *out, const uint8_t *in, size_t n)
{
	z_stream z = { .next_in = (uint8_t *)in, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)n - 1 };
	if (deflateInit2(&z, ZLIB_LEVEL, Z_DEFLATED, ZLIB_WINDOW, ZLIB_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	int r = deflate(&z, Z_FINISH);
	size_t got = r == Z_STREAM_END ? n - 1 - z.avail_out : 0;
	deflateEnd(&z);
	return got;
}

/* With a checksum of the contents, so that reading finds every flipped bit. */
static size_t deflate_zstd(uint8_t *out, const uint8_t *in, size_t n)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	if (!z)
		return 0;
	ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	size_t got = ZSTD_compress2(z, out, n - 1, in, n);
	ZSTD_freeCCtx(z);
	return ZSTD_isError(got) ? 0 : got;
}

/* Room for n bytes: the rest of the last such cluster, a new one behind it, or elsewhere.
 * requires: q->lock */
static int place(struct qcow2 *q, uint64_t n, uint64_t *offset)
{
	uint64_t mask = q->cluster_size - 1, left = -q->packed_to & mask, fresh, got, count = 0;
	int r = left ? refcount_get(q, q->packed_to >> q->cluster_bits, &count) : 0;
	bool usable = left && !r && count && count < refcount_max(q);
	*offset = q->packed_to;
	if (!r && !(usable && left >= n)) {
		if ((r = clusters_alloc(q, 1, &fresh, &got)))
			return r;
		if (!usable || fresh != q->packed_to + left)
			*offset = fresh;
	}
	if (!r && *offset & mask)
		r = refcount_add(q, *offset >> q->cluster_bits, 1);
	q->packed_to = *offset + n;
	return r;
}

static uint64_t entry_for(const struct qcow2 *q, uint64_t offset, uint64_t n)
{
	uint64_t more = ((offset + n - 1) >> 9) - (offset >> 9);
	return offset | more << (62 - (q->cluster_bits - 8)) | L2_COMPRESSED;
}

int qcow2_write_compressed(struct image *i, const uint8_t *data, uint64_t offset)
{
	struct qcow2 *q = i->format;
	auto_free uint8_t *out = xmalloc(q->cluster_size);
	size_t n = q->zstd ? deflate_zstd(out, data, q->cluster_size) : deflate_zlib(out, data, q->cluster_size);
	uint64_t at;
	if (!n || q->external)
		return image_write(i, data, MIN(q->cluster_size, i->size - offset), offset);
	pthread_mutex_lock(&q->lock);
	int r = mark_dirty(q);
	if (!r)
		r = place(q, n, &at);
	if (!r)
		r = file_write(q->file, out, n, at);
	if (!r)
		r = entry_set(q, offset, entry_for(q, at, n));
	bitmaps_mark(q, offset, q->cluster_size);
	pthread_mutex_unlock(&q->lock);
	return r;
}
