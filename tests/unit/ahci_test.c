/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI as a driver sees it: identify, read, write, queued reads, a CD's packets,
 * scatter lists that point nowhere, and a reset under load. */
#include "board_fixture.h"

#include "device/ata/ahci.h"
#include "disk/disk.h"

enum { ABAR = 0xc8000000, LIST = 0x10000, FIS = 0x11000, TABLE = 0x12000, DATA = 0x20000 };
enum { DISK_SIZE = 1 << 20 };

static struct device *ahci;

static uint32_t reg(unsigned at) { return mmio_in(ABAR + at); }
static void set_reg(unsigned at, uint32_t v) { mmio_out(ABAR + at, v); }
static unsigned port(unsigned n, unsigned at) { return 0x100 + n * 0x80 + at; }

static struct disk *make_disk(struct machine *m, bool readonly)
{
	static uint8_t data[DISK_SIZE];
	for (unsigned i = 0; i < DISK_SIZE; i++)
		data[i] = (uint8_t)(i >> 9 ^ i);
	struct disk_options o = { .path = "test", .fd = fixture_file(data, sizeof(data)),
				  .readonly = readonly, .no_uring = true };
	struct error err;
	struct disk *d = disk_open(&o, m->loop, &err);
	if (!d)
		fail_msg("%s", err.text);
	return d;
}

static void start_port(unsigned n)
{
	set_reg(port(n, 0x00), LIST + n * 0x8000);
	set_reg(port(n, 0x08), FIS + n * 0x8000);
	set_reg(port(n, 0x14), 0xffffffff);
	set_reg(port(n, 0x18), 0x17);
}

static struct machine *board(void)
{
	struct machine *m = fixture_new(4 * MiB);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL));
	struct ahci_drive d[2] = { { make_disk(m, false), false }, { make_disk(m, true), true } };
	assert_true(ahci_create(m, d, 2, NULL));
	for (ahci = m->devices; ahci->next; ahci = ahci->next)
		;
	pci_config_write(m, 31 << 3 | 2, 0x24, ABAR, 4);
	pci_config_write(m, 31 << 3 | 2, 0x04, 6, 2);
	set_reg(4, 0x80000002);
	start_port(0);
	start_port(1);
	return m;
}

/* A command in a slot, with one scatter entry of `len` bytes at DATA. */
static void put_command(unsigned n, unsigned slot, const uint8_t fis[16], const uint8_t *packet,
			uint32_t len, uint64_t to)
{
	uint64_t list = LIST + n * 0x8000 + slot * 32, table = TABLE + n * 0x8000 + slot * 0x100;
	struct memory *mem = fx.m.memory;
	uint8_t cfis[0x50] = { 0 };
	memcpy(cfis, fis, 16);
	if (packet)
		memcpy(cfis + 0x40, packet, 12);
	memory_store(mem, list, 5 | (packet ? 0x20 : 0) | (len ? 1 << 16 : 0), 4);
	memory_store(mem, list + 8, table, 8);
	memory_write(mem, table, cfis, sizeof(cfis));
	memory_store(mem, table + 0x80, to, 8);
	memory_store(mem, table + 0x8c, len - 1, 4);
}

static bool wait_for(unsigned at, uint32_t mask)
{
	for (unsigned i = 0; i < FIXTURE_TURNS; i++) {
		fixture_turn(&fx.m);
		if (!(reg(at) & mask))
			return true;
		usleep(200);
	}
	return false;
}

static uint32_t ata(unsigned n, uint8_t cmd, uint64_t lba, uint16_t count, uint32_t len)
{
	uint8_t fis[16] = { 0x27, 0x80, cmd, 0, (uint8_t)lba, (uint8_t)(lba >> 8),
			    (uint8_t)(lba >> 16), 0x40, (uint8_t)(lba >> 24), 0, 0, 0,
			    (uint8_t)count, (uint8_t)(count >> 8) };
	put_command(n, 0, fis, NULL, len, DATA);
	set_reg(port(n, 0x38), 1);
	for (unsigned i = 0; i < FIXTURE_TURNS && reg(port(n, 0x38)) && !(reg(port(n, 0x10)) & 1 << 30); i++) {
		fixture_turn(&fx.m);
		usleep(200);
	}
	return reg(port(n, 0x20));
}

static void drives_are_found(void **unused)
{
	struct machine *m = board();
	assert_int_equal(reg(0x0c), 0x3f);
	assert_int_equal(reg(port(0, 0x28)), 0x113);
	assert_int_equal(reg(port(0, 0x24)), 0x101);
	assert_int_equal(reg(port(1, 0x24)), 0xeb140101);
	assert_int_equal(reg(port(2, 0x28)), 0);
	assert_int_equal(ata(0, 0xec, 0, 0, 512), 0x50);
	assert_int_equal(memory_load(m->memory, DATA + 120, 4), DISK_SIZE / 512);
	assert_memory_equal(mem_pin_read(m->memory, DATA + 54, 10), "bAmy eidks", 10);
	assert_int_equal(memory_load(m->memory, LIST + 4, 4), 512);
	assert_int_equal(ata(0, 0xa1, 0, 0, 512) & 1, 1);
	fixture_free(m);
}

static void reads_and_writes(void **unused)
{
	struct machine *m = board();
	assert_int_equal(ata(0, 0x25, 9, 2, 1024), 0x50);
	assert_int_equal(memory_load(m->memory, DATA + 3, 1), 9 ^ 3);
	assert_int_equal(memory_load(m->memory, DATA + 515, 1), 10 ^ 3);
	assert_int_equal(reg(8) & 1, 1);
	memory_store(m->memory, DATA, 0x1122334455667788, 8);
	assert_int_equal(ata(0, 0x35, 100, 1, 512), 0x50);
	memory_store(m->memory, DATA, 0, 8);
	assert_int_equal(ata(0, 0xc8, 100, 1, 512), 0x50);
	assert_int_equal(memory_load(m->memory, DATA, 8), 0x1122334455667788);
	assert_int_equal(ata(0, 0xe7, 0, 0, 0), 0x50);
	assert_int_equal(ata(0, 0x25, DISK_SIZE / 512, 1, 512) & 0xff, 0x51);
	assert_true(reg(port(0, 0x10)) & 1 << 30);
	fixture_free(m);
}

static void queued_reads(void **unused)
{
	struct machine *m = board();
	for (unsigned tag = 0; tag < 8; tag++) {
		uint8_t fis[16] = { 0x27, 0x80, 0x60, 1, (uint8_t)(tag * 3), 0, 0, 0x40, 0, 0, 0, 0,
				    (uint8_t)(tag << 3) };
		put_command(0, tag, fis, NULL, 512, DATA + tag * 512);
	}
	set_reg(port(0, 0x34), 0xff);
	set_reg(port(0, 0x38), 0xff);
	assert_true(wait_for(port(0, 0x34), 0xff));
	for (unsigned tag = 0; tag < 8; tag++)
		assert_int_equal(memory_load(m->memory, DATA + tag * 512 + 1, 1), (tag * 3) ^ 1);
	fixture_free(m);
}

static uint32_t packet(const uint8_t p[12], uint32_t len)
{
	uint8_t fis[16] = { 0x27, 0x80, 0xa0, 1 };
	put_command(1, 0, fis, p, len, DATA);
	set_reg(port(1, 0x38), 1);
	for (unsigned i = 0; i < FIXTURE_TURNS && reg(port(1, 0x38)) && !(reg(port(1, 0x10)) & 1 << 30); i++) {
		fixture_turn(&fx.m);
		usleep(200);
	}
	return reg(port(1, 0x20)) & 0xff;
}

static void recover(unsigned n)
{
	set_reg(port(n, 0x18), 0x16);
	set_reg(port(n, 0x10), 0xffffffff);
	set_reg(port(n, 0x18), 0x17);
}

static void cd_packets(void **unused)
{
	struct machine *m = board();
	assert_int_equal(packet((uint8_t[12]){ 0x00 }, 0) & 1, 1);   /* unit attention */
	recover(1);
	assert_int_equal(packet((uint8_t[12]){ 0x03, 0, 0, 0, 18 }, 18) & 1, 0);
	assert_int_equal(memory_load(m->memory, DATA + 2, 1), 6);
	assert_int_equal(packet((uint8_t[12]){ 0x00 }, 0) & 1, 0);
	assert_int_equal(packet((uint8_t[12]){ 0x25 }, 8) & 1, 0);
	assert_int_equal(be32toh((uint32_t)memory_load(m->memory, DATA, 4)), DISK_SIZE / 2048 - 1);
	assert_int_equal(packet((uint8_t[12]){ 0x28, 0, 0, 0, 0, 5, 0, 0, 1 }, 2048) & 1, 0);
	assert_int_equal(memory_load(m->memory, DATA + 7, 1), 20 ^ 7);
	assert_int_equal(packet((uint8_t[12]){ 0x43, 2, 0, 0, 0, 0, 0, 0, 20 }, 20) & 1, 0);
	assert_int_equal(memory_load(m->memory, DATA + 14, 1), 0xaa);
	assert_int_equal(packet((uint8_t[12]){ 0x28, 0, 0, 0, 0xff, 5, 0, 0, 1 }, 2048) & 1, 1);
	fixture_free(m);
}

static void wild_lists_harm_nobody(void **unused)
{
	struct machine *m = board();
	uint8_t fis[16] = { 0x27, 0x80, 0x25, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 8 };
	put_command(0, 0, fis, NULL, 4096, 0xfffffffff000);
	set_reg(port(0, 0x38), 1);
	for (unsigned i = 0; i < 20; i++)
		fixture_turn(m);
	assert_true(reg(port(0, 0x10)) & 1 << 29);
	recover(0);
	assert_int_equal(reg(port(0, 0x38)), 0);
	set_reg(port(0, 0x00), 0xfffffc00);      /* a command list in the firmware */
	set_reg(port(0, 0x38), 0xffffffff);
	for (unsigned i = 0; i < 20; i++)
		fixture_turn(m);
	recover(0);
	set_reg(port(0, 0x00), ABAR);            /* a command list in the controller itself */
	set_reg(port(0, 0x08), ABAR);
	set_reg(port(0, 0x38), 1);
	fixture_turn(m);
	assert_int_equal(reg(0x10), 0x00010300);
	ahci->ops->reset(ahci);
	fixture_free(m);
}

static void reset_under_load_and_state(void **unused)
{
	struct machine *m = board();
	uint8_t fis[16] = { 0x27, 0x80, 0x25, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 8 };
	put_command(0, 0, fis, NULL, 4096, DATA);
	set_reg(port(0, 0x38), 1);
	fixture_turn(m);
	set_reg(port(0, 0x18), 0);
	set_reg(port(0, 0x18), 0x17);
	set_reg(port(0, 0x38), 1);
	ahci->ops->drain(ahci);
	fixture_state_round_trip(ahci);
	ahci->ops->undrain(ahci);
	assert_true(wait_for(port(0, 0x38), 1));
	assert_int_equal(memory_load(m->memory, DATA + 513, 1), 0);
	ahci->ops->reset(ahci);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drives_are_found),
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(queued_reads),
		cmocka_unit_test(cd_packets),
		cmocka_unit_test(wild_lists_harm_nobody),
		cmocka_unit_test(reset_under_load_and_state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
