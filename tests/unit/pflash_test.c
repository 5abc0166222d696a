/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The variable store's flash: commands, and what reaches its file. */
#include "board_fixture.h"

enum { SIZE = 0x4000 };
#define BASE (4 * GiB - SIZE)

static struct machine *board(void)
{
	static uint8_t data[SIZE];
	memset(data, 0x5a, sizeof(data));
	struct machine *m = fixture_new(2 * MiB);
	fx.config.nvram_fd = fixture_file(data, sizeof(data));
	assert_true(pflash_create(m, 4 * GiB, NULL));
	return m;
}

static void done(struct machine *m)
{
	close(fx.config.nvram_fd);
	fixture_free(m);
}

static uint8_t in_file(uint32_t at)
{
	uint8_t b;
	assert_true(fd_pread_full(fx.config.nvram_fd, &b, 1, at));
	return b;
}

static void flash_out(uint32_t at, uint8_t v) { memory_store(fx.m.memory, BASE + at, v, 1); }
static uint8_t flash_in(uint32_t at) { return (uint8_t)memory_load(fx.m.memory, BASE + at, 1); }

/* What firmware does to tell flash from ROM and RAM. */
static void is_seen_as_flash(void **unused)
{
	struct machine *m = board();
	assert_int_equal(flash_in(0), 0x5a);
	flash_out(0, 0x50);
	assert_int_equal(flash_in(0), 0x5a);
	flash_out(0, 0x70);
	assert_int_equal(flash_in(0), 0);
	flash_out(0, 0xff);
	assert_int_equal(flash_in(0), 0x5a);
	assert_int_equal(memory_load(m->memory, BASE + 8, 8), 0x5a5a5a5a5a5a5a5aull);
	done(m);
}

static void erase_and_program(void **unused)
{
	struct machine *m = board();
	flash_out(0x1234, 0x20);
	flash_out(0x1234, 0xd0);
	assert_int_equal(flash_in(0x1234) & 0x80, 0x80);
	flash_out(0, 0xff);
	assert_int_equal(flash_in(0x1000), 0xff);
	assert_int_equal(flash_in(0x1fff), 0xff);
	assert_int_equal(flash_in(0x2000), 0x5a);
	flash_out(0x1001, 0x10);
	flash_out(0x1001, 0x42);
	flash_out(0, 0xff);
	assert_int_equal(flash_in(0x1001), 0x42);
	assert_int_equal(in_file(0x1001), 0x42);
	assert_int_equal(in_file(0x1002), 0xff);
	assert_int_equal(in_file(0xfff), 0x5a);
	flash_out(SIZE - 1, 0x20);           /* a wrong confirmation erases nothing */
	flash_out(SIZE - 1, 0x00);
	flash_out(0, 0xff);
	assert_int_equal(flash_in(SIZE - 1), 0x5a);
	fixture_state_round_trip(m->devices);
	done(m);
}

static void odd_sizes_are_refused(void **unused)
{
	struct error err;
	struct machine *m = fixture_new(2 * MiB);
	fx.config.nvram_fd = fixture_file("x", 1);
	assert_false(pflash_create(m, 4 * GiB, &err));
	assert_non_null(strstr(err.text, "size"));
	done(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_seen_as_flash),
		cmocka_unit_test(erase_and_program),
		cmocka_unit_test(odd_sizes_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
