/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See crc32c.h.  The instruction takes three cycles and one may begin each cycle, so
 * three lanes run side by side.  They are joined by shifting a lane's sum over the
 * bytes of the next, which is linear: the table holds what each byte of a sum becomes.
 */
#include "base/crc32c.h"

#include <nmmintrin.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/util.h"

enum { LANE = 4096, POLYNOMIAL = 0x82f63b78 };
#define SSE42 __attribute__((target("sse4.2")))

static uint32_t bytewise[256];
static uint32_t over_lane[4][256];
static bool hardware;
static pthread_once_t once = PTHREAD_ONCE_INIT;

SSE42 static uint64_t words(uint64_t c, const uint8_t *p, size_t n)
{
	for (size_t k = 0; k < n; k += 8)
		c = _mm_crc32_u64(c, le64_get(p + k));
	return c;
}

SSE42 static void make_over_lane(void)
{
	static const uint8_t zeros[LANE];

	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t moved = (uint32_t)words(1u << bit, zeros, LANE);
		uint32_t *t = over_lane[bit / 8], lone = 1u << bit % 8;
		for (unsigned k = 0; k < lone; k++)
			t[lone + k] = t[k] ^ moved;
	}
}

static void make_tables(void)
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t c = n;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? (uint32_t)POLYNOMIAL ^ c >> 1 : c >> 1;
		bytewise[n] = c;
	}
	__builtin_cpu_init();
	hardware = __builtin_cpu_supports("sse4.2");
	if (hardware)
		make_over_lane();
}

uint32_t crc32c_portable(uint32_t so_far, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint32_t c = ~so_far;

	pthread_once(&once, make_tables);
	while (n--)
		c = bytewise[(c ^ *p++) & 0xff] ^ c >> 8;
	return ~c;
}

static uint64_t shift(uint64_t c)
{
	return over_lane[0][c & 0xff] ^ over_lane[1][c >> 8 & 0xff] ^ over_lane[2][c >> 16 & 0xff] ^
	       over_lane[3][c >> 24 & 0xff];
}

SSE42 static uint64_t three_lanes(uint64_t a, const uint8_t *p)
{
	uint64_t b = 0, c = 0;

	for (size_t k = 0; k < LANE; k += 8) {
		a = _mm_crc32_u64(a, le64_get(p + k));
		b = _mm_crc32_u64(b, le64_get(p + LANE + k));
		c = _mm_crc32_u64(c, le64_get(p + 2 * LANE + k));
	}
	return shift(shift(a) ^ b) ^ c;
}

SSE42 static uint32_t crc32c_hardware(uint32_t so_far, const uint8_t *p, size_t n)
{
	uint64_t c = (uint32_t)~so_far;

	for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE)
		c = three_lanes(c, p);
	size_t whole = ALIGN_DOWN(n, 8);
	c = words(c, p, whole);
	for (size_t k = whole; k < n; k++)
		c = _mm_crc32_u8((uint32_t)c, p[k]);
	return ~(uint32_t)c;
}

uint32_t crc32c(uint32_t so_far, const void *p, size_t n)
{
	pthread_once(&once, make_tables);
	return hardware ? crc32c_hardware(so_far, p, n) : crc32c_portable(so_far, p, n);
}
