/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces: overlap and priority, access sizes, aliases, the dirty log, no re-entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/epoch.h"
#include "memory/memory.h"

static struct memory *mem;
static unsigned last_size;
static uint64_t last_offset, last_value, calls;

static uint64_t dev_read(void *opaque, uint64_t offset, unsigned size)
{
	last_size = size;
	last_offset = offset;
	calls++;
	return 0x1122334455667788ull >> (offset % 8 * 8);
}

static void dev_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	last_size = size;
	last_offset = offset;
	last_value = value;
	calls++;
}

static const struct io_ops dword_ops = { dev_read, dev_write, 4, 4, true };
static const struct io_ops byte_ops = { dev_read, dev_write, 1, 1, true };

static int setup(void **unused)
{
	mem = memory_new(BIT(40) - 1);
	epoch_enter();
	calls = 0;
	return 0;
}

static int teardown(void **unused)
{
	epoch_leave();
	memory_free(mem);
	return 0;
}

static struct ram_slot *add_ram(unsigned pages)
{
	struct error err;
	struct ram_slot *r = memory_add_ram(mem, "ram", 0, pages * PAGE_SIZE, 0, false, -1, 0, &err);
	assert_non_null(r);
	return r;
}

/* An offset counts only where there is a file. */
static void no_file(void **unused)
{
	struct error err;
	struct ram_slot *r = memory_add_ram(mem, "ram", 0, PAGE_SIZE, 0, false, -1, 2 * GiB, &err);
	assert_non_null(r);
	r->host[PAGE_SIZE - 1] = 1;
	assert_int_equal(memory_load(mem, PAGE_SIZE - 1, 1), 1);
}

/* Anonymous RAM: aligned for huge pages, holes known, pages given back. */
static void huge_ram(void **unused)
{
	struct error err;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	assert_true(pagemap >= 0);
	memory_use_huge_pages(mem, pagemap);
	struct ram_slot *r = memory_add_ram(mem, "ram", 0, 64 * MiB, 0, false, -1, 0, &err);
	assert_true(r && r->fd < 0 && !((uintptr_t)r->host % (2 * MiB)));
	assert_int_equal(memory_next_data(r, 0), 64 * MiB);
	memory_store(mem, 40 * MiB + 8, 7, 4);
	assert_int_equal(memory_next_data(r, 0), 40 * MiB);
	assert_int_equal(memory_next_data(r, 40 * MiB + 16), 40 * MiB + 16);
	assert_int_equal(memory_next_data(r, 44 * MiB), 64 * MiB);
	memory_discard(mem, 40 * MiB, 2 * MiB);
	assert_int_equal(memory_load(mem, 40 * MiB + 8, 4), 0);
	close(pagemap);
	assert_int_equal(memory_next_data(r, 50 * MiB), 50 * MiB);      /* nobody tells: data */
	assert_true(add_ram(16)->fd >= 0);                              /* too small for it */
}

static void ram_and_holes(void **unused)
{
	add_ram(16);
	memory_store(mem, 0x123, 0xdeadbeefcafef00d, 8);
	assert_true(memory_load(mem, 0x123, 8) == 0xdeadbeefcafef00d);
	/* Half in RAM, half in nothing: all ones there, stores vanish. */
	memory_store(mem, 16 * PAGE_SIZE - 4, 0, 8);
	assert_true(memory_load(mem, 16 * PAGE_SIZE - 4, 8) == 0xffffffff00000000ull);
	assert_null(mem_pin_read(mem, 16 * PAGE_SIZE - 4, 8));
	assert_non_null(mem_pin_write(mem, 0, 16 * PAGE_SIZE));
}

static void sizes_are_declared(void **unused)
{
	memory_add_io(mem, "d", 0x1000, 0x100, 0, &dword_ops, NULL);
	memory_add_io(mem, "b", 0x2000, 0x100, 0, &byte_ops, NULL);
	assert_int_equal(memory_load(mem, 0x1001, 1), 0x77);
	assert_int_equal(last_size, 4);
	assert_int_equal(last_offset, 0);
	calls = 0;
	memory_load(mem, 0x1008, 8);
	assert_int_equal(calls, 2);
	memory_store(mem, 0x2004, 0xa1b2c3d4, 4);
	assert_int_equal(calls, 6);
	assert_int_equal(last_value, 0xa1);
	assert_int_equal(last_offset, 7);
	/* Unaligned: split into natural pieces, none crosses the region. */
	calls = 0;
	memory_store(mem, 0x20ff, 0x1234, 2);
	assert_int_equal(calls, 1);
}

static void priority_and_move(void **unused)
{
	struct ram_slot *ram = add_ram(16);
	memory_store(mem, 0x3000, 0x55, 1);
	struct mem_region *r = memory_add_io(mem, "bar", 0x3000, 0x1000, 1, &byte_ops, NULL);
	assert_int_equal(memory_load(mem, 0x3000, 1), 0x88);
	mem_region_set(mem, r, true, 0x5000);
	assert_int_equal(memory_load(mem, 0x3000, 1), 0x55);
	mem_region_set(mem, r, false, 0x5000);
	assert_int_equal(memory_load(mem, 0x5000, 1), 0);
	/* A base that wraps around the end of the space decodes nothing. */
	mem_region_set(mem, r, true, BIT(40) - 16);
	assert_null(memory_find(mem, BIT(40) - 16));
	struct mem_region *a = memory_add_alias(mem, "pam", 0x8000, 0x1000, 2, true, ram, 0x3000);
	assert_int_equal(memory_load(mem, 0x8000, 1), 0x55);
	memory_store(mem, 0x8000, 0x66, 1);
	assert_int_equal(memory_load(mem, 0x3000, 1), 0x55);
	mem_region_readonly(mem, a, false);
	memory_store(mem, 0x8000, 0x66, 1);
	assert_int_equal(memory_load(mem, 0x3000, 1), 0x66);
	mem_region_del(mem, a);
	assert_int_equal(memory_load(mem, 0x8000, 1), 0);
}

static unsigned code_hits;
static void code_written(void *opaque, uint64_t gpa, size_t len) { code_hits++; }

static void dirty_log_has_several_readers(void **unused)
{
	struct ram_slot *ram = add_ram(200);
	const struct memory_hooks hooks = { .on_code_write = code_written };
	memory_set_hooks(mem, &hooks);
	memory_dirty_start(mem, ram, DIRTY_SAVE);
	memory_dirty_start(mem, ram, DIRTY_DISPLAY);
	memory_store(mem, 70 * PAGE_SIZE - 1, 0x1111, 2);
	mem_pin_write(mem, 130 * PAGE_SIZE, PAGE_SIZE);
	mem_unpin_write(mem, 130 * PAGE_SIZE, PAGE_SIZE);
	uint64_t bits[4];
	memory_dirty_harvest(mem, ram, DIRTY_SAVE, bits);
	assert_true(bits[0] == 0 && bits[1] == (BIT(5) | BIT(6)) && bits[2] == BIT(2) && bits[3] == 0);
	memory_dirty_harvest(mem, ram, DIRTY_SAVE, bits);
	assert_true(!(bits[0] | bits[1] | bits[2]));
	memory_store(mem, 0, 1, 1);
	memory_dirty_harvest(mem, ram, DIRTY_DISPLAY, bits);
	assert_true(bits[0] == 1 && bits[1] == (BIT(5) | BIT(6)) && bits[2] == BIT(2));
	memory_flag_pages(mem, ram, 3, 1, PAGE_CODE);
	memory_store(mem, 3 * PAGE_SIZE + 8, 1, 1);
	memory_store(mem, 4 * PAGE_SIZE, 1, 1);
	assert_int_equal(code_hits, 1);
}

static uint64_t reentered;
static uint64_t evil_read(void *opaque, uint64_t offset, unsigned size)
{
	calls++;
	reentered = memory_load(mem, 0x1000, 4);
	return 0;
}

static void devices_are_not_reentered(void **unused)
{
	static const struct io_ops evil = { .read = evil_read, .lockless = true };
	memory_add_io(mem, "evil", 0x1000, 0x1000, 0, &evil, NULL);
	memory_load(mem, 0x1000, 4);
	assert_int_equal(calls, 1);
	assert_int_equal(reentered, 0xffffffff);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(ram_and_holes), T(no_file), T(huge_ram), T(sizes_are_declared), T(priority_and_move),
		T(dirty_log_has_several_readers), T(devices_are_not_reentered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
