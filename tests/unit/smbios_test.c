/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS: found by a scan, sound, complete, and walkable as DSP0134 6.1.2 says. */
#include "board_fixture.h"

#include "device/smbios.h"

static const uint8_t *entry(void)
{
	for (uint64_t at = 0xf0000; at < 0x100000; at += 16) {
		const uint8_t *p = mem_pin_read(fx.m.memory, at, SMBIOS_ENTRY_SIZE);
		if (!memcmp(p, "_SM3_", 5))
			return p;
	}
	return NULL;
}

static void structures_can_be_walked(void **unused)
{
	static const uint8_t expected[] = { 0, 1, 3, 4, 16, 17, 19, 19, 32, 127 };
	struct machine *m = fixture_new(3 * GiB);
	for (unsigned i = 0; i < 16; i++)
		fx.config.uuid[i] = (uint8_t)i;
	smbios_place(m);
	const uint8_t *e = entry();
	assert_non_null(e);
	uint8_t sum = 0;
	for (unsigned i = 0; i < e[6]; i++)
		sum += e[i];
	assert_int_equal(sum, 0);
	uint32_t len = le32_get(e + 12);
	const uint8_t *p = mem_pin_read(m->memory, le64_get(e + 16), len), *end = p + len;
	for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_true(p + 4 <= end);
		assert_int_equal(p[0], expected[i]);
		if (p[0] == 1) {
			assert_int_equal(p[8], 3);   /* time_low is little-endian */
			assert_int_equal(p[16], 8);
		}
		for (p += p[1]; p[0] || p[1]; p++)
			assert_true(p + 2 <= end);
		p += 2;
	}
	assert_ptr_equal(p, end);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(structures_can_be_walked) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
