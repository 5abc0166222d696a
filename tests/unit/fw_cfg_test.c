/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: by port and by DMA, the directory, writable files, the loader script. */
#include "board_fixture.h"

#include "device/firmware.h"
#include "device/fw_cfg.h"

enum { REQUEST = 0x8000, BUFFER = 0x10000 };

static struct machine *board(void)
{
	struct machine *m = fixture_new(16 * MiB);
	board_free(m);
	assert_true(board_create(m, NULL));
	return m;
}

static uint32_t dma(uint32_t control, uint32_t len, uint64_t gpa)
{
	memory_store(fx.m.memory, REQUEST, htobe32(control), 4);
	memory_store(fx.m.memory, REQUEST + 4, htobe32(len), 4);
	memory_store(fx.m.memory, REQUEST + 8, htobe64(gpa), 8);
	out(0x514, 0, 4);
	out(0x518, htobe32(REQUEST), 4);
	return be32toh((uint32_t)memory_load(fx.m.memory, REQUEST, 4));
}

/* Selector of a file, its size in *len. */
static unsigned find_file(const char *name, uint32_t *len)
{
	assert_int_equal(dma(FW_CFG_DIRECTORY << 16 | 8 | 2, 4096, BUFFER), 0);
	const uint8_t *p = mem_pin_read(fx.m.memory, BUFFER, 4096);
	for (unsigned i = 0; i < be32toh(le32_get(p)); i++) {
		const uint8_t *e = p + 4 + i * 64;
		if (!strcmp((const char *)e + 8, name)) {
			*len = be32toh(le32_get(e));
			return be16toh(le16_get(e + 4));
		}
	}
	fail_msg("no file %s", name);
	return 0;
}

static void items_by_port(void **unused)
{
	struct machine *m = board();
	out(0x510, FW_CFG_SIGNATURE, 2);
	assert_int_equal(inb(0x511), 'Q');
	assert_int_equal(inb(0x511), 'E');
	out(0x510, FW_CFG_ID, 2);
	assert_int_equal(inb(0x511), 3);
	out(0x510, 0x4242, 2);
	assert_int_equal(inb(0x511), 0);
	assert_int_equal(in(0x514, 4), le32_get("QEMU"));
	fixture_free(m);
}

static void dma_errors(void **unused)
{
	struct machine *m = board();
	assert_int_equal(dma(FW_CFG_ID << 16 | 8 | 16, 4, BUFFER), 1);   /* read-only */
	assert_int_equal(dma(2, UINT32_MAX, BUFFER), 1);
	assert_int_equal(dma(FW_CFG_ID << 16 | 8 | 2, 4, 0xfffffffffff0ull), 0);
	assert_int_equal(dma(FW_CFG_ID << 16 | 8 | 4, UINT32_MAX / 32, 0), 0);
	assert_int_equal(dma(2, 4, BUFFER), 0);
	assert_int_equal(memory_load(m->memory, BUFFER, 4), 0);
	fixture_free(m);
}

static void generation_id_address_comes_back(void **unused)
{
	struct machine *m = board();
	uint32_t len;
	unsigned key = find_file("etc/vmgenid_addr", &len);
	assert_int_equal(len, 8);
	memory_store(m->memory, BUFFER, 0x20000, 8);
	assert_int_equal(dma(key << 16 | 8 | 16, 8, BUFFER), 0);
	assert_memory_equal(mem_pin_read(m->memory, 0x20000 + VMGENID_OFFSET, 16),
			    fx.config.vmgenid, 16);
	assert_int_equal(dma(16, 8, BUFFER), 1);   /* beyond its end */
	fixture_free(m);
}

/* Every command stays inside the files that it names. */
static void loader_script_is_sound(void **unused)
{
	struct machine *m = board();
	uint32_t script_len, len, src;
	unsigned key = find_file("etc/table-loader", &script_len);
	assert_int_equal(script_len % 128, 0);
	static uint8_t script[128 * 256];
	assert_int_equal(dma(key << 16 | 8 | 2, script_len, BUFFER), 0);
	memcpy(script, mem_pin_read(m->memory, BUFFER, script_len), script_len);
	for (uint8_t *p = script; p < script + script_len; p += 128) {
		find_file((const char *)p + 4, &len);
		if (le32_get(p) == 2) {
			assert_true(le32_get(p + 116) + p[120] <= len);
			find_file((const char *)p + 60, &src);
		} else if (le32_get(p) == 3) {
			assert_true(le32_get(p + 64) + le32_get(p + 68) <= len);
			assert_true(le32_get(p + 60) < len);
		} else {
			assert_in_range(le32_get(p), 1, 4);
		}
	}
	fixture_free(m);
}

static void state(void **unused)
{
	struct machine *m = board();
	for (struct device *d = m->devices; d; d = d->next)
		if (!strcmp(d->id, "fw-cfg"))
			fixture_state_round_trip(d);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_by_port),
		cmocka_unit_test(dma_errors),
		cmocka_unit_test(generation_id_address_comes_back),
		cmocka_unit_test(loader_script_is_sound),
		cmocka_unit_test(state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
