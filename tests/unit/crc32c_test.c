/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C: known answers; the fast way and the plain way agree at every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/crc32c.h"
#include "base/util.h"

static void known_answers(void **unused)
{
	uint8_t b[32] = { 0 };

	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, b, 32), 0x8a9136aa);         /* RFC 3720, B.4 */
	memset(b, 0xff, 32);
	assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
	for (unsigned n = 0; n < 32; n++)
		b[n] = (uint8_t)n;
	assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
}

static void fast_is_plain(void **unused)
{
	static uint8_t b[70000];
	static const size_t lengths[] = { 0, 1, 7, 8, 9, 4095, 4096, 12287, 12288, 12289, 24576, 65536, 69990 };
	uint64_t x = 1;

	for (size_t n = 0; n < sizeof(b); n++)
		b[n] = (uint8_t)((x = x * 6364136223846793005ull + 1442695040888963407ull) >> 56);
	for (unsigned n = 0; n < ARRAY_SIZE(lengths); n++)
		for (unsigned from = 0; from < 9; from += 4)
			assert_int_equal(crc32c(n, b + from, lengths[n]), crc32c_portable(n, b + from, lengths[n]));
}

static void goes_on(void **unused)
{
	static uint8_t b[40000];

	for (size_t n = 0; n < sizeof(b); n++)
		b[n] = (uint8_t)(n * n >> 3);
	assert_int_equal(crc32c(crc32c(0, b, 13001), b + 13001, sizeof(b) - 13001), crc32c(0, b, sizeof(b)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(fast_is_plain),
		cmocka_unit_test(goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
