/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe as a driver sees it: queues made, several at once, data by pages and lists of pages, a full
 * completion queue, crooked commands, disabled under load. */
#include "board_fixture.h"

#include "device/drives.h"
#include "disk/disk.h"

enum { BAR = 0xc8000000, ASQ = 0x10000, ACQ = 0x11000, SQ = 0x12000, CQ = 0x13000, LIST = 0x14000,
       DATA = 0x100000, DISK_SIZE = 1 << 20 };
enum { CC = 0x14, CSTS = 0x1c };
/* further pairs of queues, two pages each */
enum { QUEUES = 5, MORE = 0x20000 };

static struct device *nvme;
static unsigned tail[QUEUES], head[QUEUES];
static bool phase[QUEUES];

static uint64_t sq_at(unsigned q) { return q == 0 ? ASQ : q == 1 ? SQ : MORE + (q - 2) * 0x2000; }
static uint64_t cq_at(unsigned q) { return q == 0 ? ACQ : q == 1 ? CQ : MORE + (q - 2) * 0x2000 + 0x1000; }

static uint32_t reg(unsigned at) { return mmio_in(BAR + at); }
static void set_reg(unsigned at, uint32_t v) { mmio_out(BAR + at, v); }

static struct disk *make_disk(struct machine *m)
{
	static uint8_t data[DISK_SIZE];
	for (unsigned i = 0; i < DISK_SIZE; i++)
		data[i] = (uint8_t)(i >> 9 ^ i);
	struct disk_options o = { .path = "test", .fd = fixture_file(data, sizeof(data)), .no_uring = true };
	struct disk *d = disk_open(&o, m->loop, NULL);
	assert_non_null(d);
	return d;
}

static void enable(void)
{
	set_reg(0x24, 15 << 16 | 15);
	set_reg(0x28, ASQ);
	set_reg(0x30, ACQ);
	set_reg(CC, 0x460001);
	assert_int_equal(reg(CSTS), 1);
	memset(tail, 0, sizeof(tail));
	memset(head, 0, sizeof(head));
	for (unsigned q = 0; q < QUEUES; q++) {
		phase[q] = true;
		for (unsigned i = 0; i < 64; i++)
			memory_store(fx.m.memory, cq_at(q) + i * 16 + 8, 0, 8);
	}
}

static void put(unsigned q, uint8_t op, uint32_t nsid, uint64_t prp1, uint64_t prp2, uint32_t d10,
		uint32_t d11, uint32_t d12)
{
	uint8_t c[64] = { op };
	le16_put(c + 2, (uint16_t)(100 + tail[q]));
	le32_put(c + 4, nsid);
	le64_put(c + 24, prp1);
	le64_put(c + 32, prp2);
	le32_put(c + 40, d10);
	le32_put(c + 44, d11);
	le32_put(c + 48, d12);
	memory_write(fx.m.memory, sq_at(q) + tail[q] * 64, c, sizeof(c));
	tail[q] = (tail[q] + 1) % 16;
}

/* The status of the next completion; -1: none came. */
static int next(unsigned q)
{
	uint64_t at = cq_at(q) + head[q] * 16;
	for (unsigned i = 0; i < FIXTURE_TURNS; i++) {
		uint32_t v = (uint32_t)memory_load(fx.m.memory, at + 12, 4);
		if ((v >> 16 & 1) == phase[q]) {
			if (++head[q] == 16) {
				head[q] = 0;
				phase[q] = !phase[q];
			}
			set_reg(0x1000 + (q * 2 + 1) * 4, head[q]);
			return (int)(v >> 17);
		}
		fixture_turn(&fx.m);
		usleep(200);
	}
	return -1;
}

static int go(unsigned q, uint8_t op, uint32_t nsid, uint64_t prp1, uint64_t prp2, uint32_t d10,
	      uint32_t d11, uint32_t d12)
{
	put(q, op, nsid, prp1, prp2, d10, d11, d12);
	set_reg(0x1000 + q * 8, tail[q]);
	return next(q);
}

static void make_queues(void)
{
	assert_int_equal(go(0, 5, 0, CQ, 0, 15 << 16 | 1, 3, 0), 0);
	assert_int_equal(go(0, 1, 0, SQ, 0, 15 << 16 | 1, 1 << 16 | 1, 0), 0);
}

static struct machine *board(void)
{
	struct machine *m = fixture_new(4 * MiB);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL));
	assert_true(nvme_create(m, make_disk(m), 0, NULL));
	for (nvme = m->devices; nvme->next; nvme = nvme->next)
		;
	pci_config_write(m, 2 << 3, 0x10, BAR, 4);
	pci_config_write(m, 2 << 3, 0x04, 6, 2);
	enable();
	return m;
}

static void identifies(void **unused)
{
	struct machine *m = board();
	assert_int_equal(go(0, 6, 0, DATA, 0, 1, 0, 0), 0);
	assert_int_equal(memory_load(m->memory, DATA + 516, 4), 1);
	assert_int_equal(go(0, 6, 1, DATA, 0, 0, 0, 0), 0);
	assert_int_equal(memory_load(m->memory, DATA, 8), DISK_SIZE / 512);
	assert_int_equal(go(0, 6, 9, DATA, 0, 0, 0, 0), 0x400b);
	assert_int_equal(go(0, 0x77, 0, 0, 0, 0, 0, 0), 0x4001);
	assert_int_equal(go(0, 9, 0, 0, 0, 7, 0xffff, 0), 0);
	fixture_free(m);
}

static void reads_and_writes(void **unused)
{
	struct machine *m = board();
	make_queues();
	assert_int_equal(go(1, 2, 1, DATA + 0x200, 0, 9, 0, 1), 0);
	assert_int_equal(memory_load(m->memory, DATA + 0x203, 1), 9 ^ 3);
	for (unsigned i = 0; i < 32; i++)                 /* 128 KiB, pages backwards */
		memory_store(m->memory, LIST + i * 8, DATA + (40 - i) * 0x1000, 8);
	assert_int_equal(go(1, 2, 1, DATA + 0x40000, LIST, 0, 0, 255), 0);
	for (unsigned i = 8; i < 256; i++)
		assert_int_equal(memory_load(m->memory, DATA + (40 - (i - 8) / 8) * 0x1000 + i % 8 * 512 + 1, 1),
				 (uint8_t)(i ^ 1));
	memory_store(m->memory, DATA, 0x1122334455667788, 8);
	assert_int_equal(go(1, 1, 1, DATA, 0, 100, 0, 1 << 30), 0);
	memory_store(m->memory, DATA, 0, 8);
	assert_int_equal(go(1, 2, 1, DATA, 0, 100, 0, 0), 0);
	assert_int_equal(memory_load(m->memory, DATA, 8), 0x1122334455667788);
	assert_int_equal(go(1, 8, 1, 0, 0, 100, 0, 0), 0);
	assert_int_equal(go(1, 2, 1, DATA, 0, 100, 0, 0), 0);
	assert_int_equal(memory_load(m->memory, DATA, 8), 0);
	assert_int_equal(go(1, 0, 1, 0, 0, 0, 0, 0), 0);
	fixture_free(m);
}

/* As a driver does that has a queue a processor: each completion in the queue that belongs to it, which says
 * whose it is; also when all have work at the same time. */
static void several_queues(void **unused)
{
	struct machine *m = board();
	assert_int_equal(go(0, 9, 0, 0, 0, 7, (QUEUES - 2) << 16 | (QUEUES - 2), 0), 0);
	assert_true(memory_load(m->memory, ACQ, 2) >= QUEUES - 2 && memory_load(m->memory, ACQ + 2, 2) >= QUEUES - 2);
	for (unsigned q = 1; q < QUEUES; q++) {
		assert_int_equal(go(0, 5, 0, cq_at(q), 0, 15 << 16 | q, q << 16 | 3, 0), 0);
		assert_int_equal(go(0, 1, 0, sq_at(q), 0, 15 << 16 | q, q << 16 | 1, 0), 0);
	}
	for (unsigned q = 1; q < QUEUES; q++)
		for (unsigned i = 0; i < q; i++)          /* blocks 10 q + i, into pages of their own */
			put(q, 2, 1, DATA + (q * 8 + i) * 0x1000, 0, 10 * q + i, 0, 0);
	for (unsigned q = QUEUES - 1; q; q--)
		set_reg(0x1000 + q * 8, tail[q]);
	for (unsigned q = 1; q < QUEUES; q++) {
		for (unsigned i = 0; i < q; i++) {
			assert_int_equal(next(q), 0);
			assert_int_equal(memory_load(m->memory, cq_at(q) + i * 16 + 10, 2), q);
		}
		for (unsigned i = 0; i < q; i++)
			assert_int_equal(memory_load(m->memory, DATA + (q * 8 + i) * 0x1000 + 3, 1), (uint8_t)((10 * q + i) ^ 3));
		/* nothing of the others' */
		assert_int_equal(memory_load(m->memory, cq_at(q) + q * 16 + 8, 8), 0);
	}
	fixture_state_round_trip(nvme);
	fixture_free(m);
}

static void crooked_commands(void **unused)
{
	struct machine *m = board();
	make_queues();
	assert_int_equal(go(1, 2, 1, DATA, 0, DISK_SIZE / 512, 0, 0), 0x4080);
	assert_int_equal(go(1, 2, 1, DATA, 0, 0, 0, 0xffff), 0x4002);
	assert_int_equal(go(1, 2, 1, 0xfffffff000, 0, 0, 0, 0), 0x4013);
	assert_int_equal(go(1, 2, 1, BAR, 0, 0, 0, 0), 0x4013);
	assert_int_equal(go(1, 2, 1, DATA, DATA + 1, 0, 0, 15), 0x4013);
	assert_int_equal(go(1, 2, 2, DATA, 0, 0, 0, 0), 0x400b);
	assert_int_equal(go(0, 1, 0, SQ, 0, 15 << 16 | 1, 1 << 16 | 1, 0), 0x4101);
	assert_int_equal(go(0, 1, 0, SQ, 0, 15 << 16 | 2, 9 << 16 | 1, 0), 0x4100);
	assert_int_equal(go(0, 5, 0, CQ, 0, 0xffffu << 16 | 2, 3, 0), 0x4102);
	assert_int_equal(go(0, 4, 0, 0, 0, 1, 0, 0), 0x410c);
	assert_int_equal(go(0, 0, 0, 0, 0, 1, 0, 0), 0);
	assert_int_equal(go(0, 4, 0, 0, 0, 1, 0, 0), 0);
	for (unsigned i = 0; i < 6; i++)                  /* events: four are kept */
		put(0, 12, 0, 0, 0, 0, 0, 0);
	set_reg(0x1000, tail[0]);
	assert_int_equal(next(0), 0x4105);
	assert_int_equal(next(0), 0x4105);
	set_reg(0x1000, 0xffff);                          /* outside the ring */
	assert_int_equal(go(0, 6, 0, DATA, 0, 1, 0, 0), 0);
	fixture_state_round_trip(nvme);
	fixture_free(m);
}

/* Fifteen entries fit; the rest of the commands wait for the driver's head. */
static void full_completion_queue(void **unused)
{
	struct machine *m = board();
	assert_int_equal(go(0, 5, 0, CQ, 0, 3 << 16 | 1, 3, 0), 0);
	assert_int_equal(go(0, 1, 0, SQ, 0, 15 << 16 | 1, 1 << 16 | 1, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		put(1, 0x55, 1, 0, 0, 0, 0, 0);
	set_reg(0x1008, tail[1]);
	for (unsigned i = 0; i < 20; i++)
		fixture_turn(m);
	assert_int_equal(memory_load(m->memory, CQ + 2 * 16 + 14, 2), 0x4001 << 1 | 1);
	assert_int_equal(memory_load(m->memory, CQ + 3 * 16 + 14, 2), 0);
	set_reg(0x100c, 3);
	for (unsigned i = 0; i < 20; i++)
		fixture_turn(m);
	assert_int_equal(memory_load(m->memory, CQ + 3 * 16 + 14, 2), 0x4001 << 1 | 1);
	fixture_free(m);
}

static void disabled_under_load(void **unused)
{
	struct machine *m = board();
	make_queues();
	for (unsigned i = 0; i < 10; i++)
		put(1, 2, 1, DATA + i * 0x1000, 0, i, 0, 7);
	set_reg(0x1008, tail[1]);
	fixture_turn(m);
	set_reg(CC, 0);
	for (unsigned i = 0; i < FIXTURE_TURNS && reg(CSTS); i++) {
		fixture_turn(m);
		usleep(200);
	}
	assert_int_equal(reg(CSTS), 0);
	enable();
	make_queues();
	assert_int_equal(go(1, 2, 1, DATA, 0, 9, 0, 0), 0);
	nvme->ops->drain(nvme);
	fixture_state_round_trip(nvme);
	nvme->ops->reset(nvme);
	fixture_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifies),
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(several_queues),
		cmocka_unit_test(crooked_commands),
		cmocka_unit_test(full_completion_queue),
		cmocka_unit_test(disabled_under_load),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
