/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile rings, and hostile use of the transport's registers.  The input is a
 * list of 8-byte operations on a block device with a real disk: writes to the
 * rings, the descriptors, the registers, kicks, turns of the loop.
 */
#include <fcntl.h>

#include "disk/disk.h"
#include "lib/fuzz.h"
#include "virtio_guest.h"

enum { QSIZE = 16, AREA = 0x40000 };
enum { OP_POKE, OP_DESC, OP_AVAIL, OP_KICK, OP_REG, OP_TURN, OP_HEADER, OP_SETUP, OPS };

static struct guest g;
static struct g_queue q;

static void make_machine(void)
{
	guest_init(&g);
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0 || ftruncate(fd, 1 << 20))
		abort();
	struct disk_options o = { .path = "fuzz", .fd = fd, .no_uring = true };
	struct disk *d = disk_open(&o, g.m.loop, NULL);
	if (!d || !virtio_blk_create(&g.m, d, "fuzz", NULL))
		abort();
}

static void operate(const uint8_t *p)
{
	uint32_t v = le32_get(p + 4);
	unsigned i = p[1];
	/* addresses: mostly in RAM, sometimes anywhere */
	uint64_t gpa = p[3] & 0x80 ? (uint64_t)v << (p[3] & 31) : v % AREA;
	switch (p[0] % OPS) {
	case OP_POKE: le32_put(g_ptr(&g, 0x10000 + (le16_get(p + 1) & ~3u) % 0x8000), v); break;
	case OP_DESC: g_desc(&g, q.desc, i % QSIZE, gpa, i & 0x40 ? v : v % 5000, p[2] & 7, p[2] >> 4); break;
	case OP_AVAIL: g_avail(&g, &q, i % (QSIZE + 1)); break;
	case OP_KICK: g_kick(&g, &q); break;
	case OP_REG: g_set(&g, le16_get(p + 1) % 0x2100, v, 1u << (p[3] % 3)); break;
	case OP_TURN: g_turn(&g); break;
	case OP_HEADER: le32_put(g_ptr(&g, gpa < AREA ? gpa : 0), i % 14); break;
	case OP_SETUP: g_begin(&g, &q, QSIZE); break;
	}
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	static const uint8_t ops[][8] = {
		{ OP_SETUP }, { OP_HEADER, 0 }, { OP_DESC, 0, 0x11, 0, 0, 0 }, { OP_DESC, 1, 0x23, 0, 0, 0x10 },
		{ OP_DESC, 2, 2, 0, 1, 0x20 }, { OP_AVAIL, 0 }, { OP_KICK }, { OP_TURN }, { OP_TURN },
		{ OP_DESC, 3, 4, 0, 0, 0x30 }, { OP_AVAIL, 3 }, { OP_KICK }, { OP_TURN },
		{ OP_REG, 0x14, 0, 0, 0 }, { OP_TURN },
	};
	if (n)
		return 0;
	memcpy(buf, ops, sizeof(ops));
	return sizeof(ops);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static pid_t owner;
	if (owner != getpid())        /* threads do not live on in a child process */
		make_machine();
	owner = getpid();
	g_begin(&g, &q, QSIZE);
	for (size_t at = 0; at + 8 <= size && at < 8 * 2000; at += 8)
		operate(data + at);
	g_turn(&g);
	g_device(&g)->pci.dev.ops->drain(&g_device(&g)->pci.dev);
	if (g_device(&g)->held)
		abort();
	g_device(&g)->pci.dev.ops->undrain(&g_device(&g)->pci.dev);
}
