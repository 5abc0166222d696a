/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a bzImage holds, unpacked: each way that kernels in use are packed (Linux,
 * scripts/Makefile.lib; boot.rst, payload_offset). */
#include <lzma.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "device/boot/boot.h"

enum { HUGE_PAGE = 2 * MiB };

/* Large pieces in huge pages, where the host has any: a tenth of the time of unpacking. */
static void *allocate(size_t n)
{
	if (n < HUGE_PAGE)
		return malloc(n);
	size_t whole = ALIGN_UP(n, (size_t)HUGE_PAGE);
	void *p = aligned_alloc(HUGE_PAGE, whole);
	if (p)
		madvise(p, whole, MADV_HUGEPAGE);
	return p;
}

static void *xz_allocate(void *unused, size_t count, size_t n) { return allocate(count * n); }
static void xz_free(void *unused, void *p) { free(p); }

typedef bool unpack_fn(const uint8_t *in, size_t n, uint8_t *out, size_t size);

static bool unpack_xz(const uint8_t *in, size_t n, uint8_t *out, size_t size)
{
	const lzma_allocator memory = { xz_allocate, xz_free, NULL };
	uint64_t most = 160 * MiB;           /* a dictionary of 128 MiB */
	size_t at = 0, done = 0;

	return lzma_stream_buffer_decode(&most, 0, &memory, in, &at, n, out, &done, size) == LZMA_OK && done == size;
}

static bool unpack_zstd(const uint8_t *in, size_t n, uint8_t *out, size_t size)
{
	return ZSTD_decompress(out, size, in, n) == size;
}

static bool unpack_gzip(const uint8_t *in, size_t n, uint8_t *out, size_t size)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)size };

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return false;
	bool ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == size;
	inflateEnd(&z);
	return ok;
}

/* own_size: the format ends with its size; behind others the kernel's build writes it. */
static const struct { const char *magic; unsigned len; bool own_size; unpack_fn *unpack; } formats[] = {
	{ "\xfd" "7zXZ\0", 6, false, unpack_xz },
	{ "\x28\xb5\x2f\xfd", 4, false, unpack_zstd },
	{ "\x1f\x8b\x08", 3, true, unpack_gzip },
};

uint8_t *boot_unpack(const uint8_t *in, size_t n, size_t most, size_t *size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		if (n < 16 || memcmp(in, formats[i].magic, formats[i].len))
			continue;
		*size = le32_get(in + n - 4);
		if (!*size || *size > most)
			return NULL;
		auto_free uint8_t *out = allocate(*size);
		return out && formats[i].unpack(in, formats[i].own_size ? n : n - 4, out, *size) ? move_ptr(out) : NULL;
	}
	return NULL;
}
