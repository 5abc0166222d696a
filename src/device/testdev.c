/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ports and memory that test kernels of this field expect of a "test
 * device" (--test-device): a 32-bit latch at ports 0xe0 (any width) and 0xe8
 * (bytes), a page to flush at 0xe4, interrupt lines at 0x2000 + GSI, and 64 KiB
 * of I/O memory at 0xff000000 that remembers what is written.
 */
#include "device/chipset.h"
#include "machine/machine.h"

#define IOMEM_BASE 0xff000000ull
enum { IOMEM_SIZE = 0x10000, IRQ_PORTS = 0x2000, IRQ_LINES = 24 };

struct testdev {
	struct device dev;
	uint32_t latch;
	uint8_t iomem[IOMEM_SIZE];
};

static uint64_t latch_read(void *opaque, uint64_t at, unsigned size)
{
	struct testdev *t = opaque;
	return t->latch >> (at & 3) * 8 & (size == 4 ? UINT32_MAX : BIT(size * 8) - 1);
}

static void latch_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct testdev *t = opaque;
	uint32_t mask = (uint32_t)(size == 4 ? UINT32_MAX : BIT(size * 8) - 1);
	unsigned shift = (at & 3) * 8;
	t->latch = (t->latch & ~(mask << shift)) | ((uint32_t)value & mask) << shift;
}

static uint64_t nothing_read(void *opaque, uint64_t at, unsigned size) { return 0; }

/* "Forget what you know of this page": tests watch that execution goes on. */
static void flush_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct memory *mem = ((struct testdev *)opaque)->dev.machine->memory;
	if (mem_pin_write(mem, value & ~PAGE_MASK, PAGE_SIZE))
		mem_unpin_write(mem, value & ~PAGE_MASK, PAGE_SIZE);
}

static void irq_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct testdev *t = opaque;
	struct irq_line line = board_gsi(t->dev.machine, (unsigned)at);
	irq_set(&line, value);
}

static uint64_t iomem_read(void *opaque, uint64_t at, unsigned size)
{
	struct testdev *t = opaque;
	uint64_t v = 0;
	memcpy(&v, t->iomem + at, size);
	return le64toh(v);
}

static void iomem_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct testdev *t = opaque;
	uint64_t v = htole64(value);
	memcpy(t->iomem + at, &v, size);
}

static bool testdev_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct testdev *t = container_of(d, struct testdev, dev);
	xfer_u32(s, &t->latch);
	xfer_bytes(s, t->iomem, sizeof(t->iomem));
	return state_ok(s);
}

static void testdev_destroy(struct device *d)
{
	free(container_of(d, struct testdev, dev));
}

static const struct io_ops latch_io = { latch_read, latch_write, 1, 4 };
static const struct io_ops latch_byte_io = { latch_read, latch_write, 1, 1 };
static const struct io_ops flush_io = { nothing_read, flush_write, 4, 4 };
static const struct io_ops irq_io = { nothing_read, irq_write, 1, 1 };
static const struct io_ops iomem_io = { iomem_read, iomem_write, 1, 8 };
static const struct device_ops testdev_ops = {
	.name = "testdev", .version = 1, .xfer = testdev_xfer, .destroy = testdev_destroy,
};

bool testdev_create(struct machine *m, struct error *err)
{
	struct testdev *t = xnew(struct testdev);
	device_add(m, &t->dev, &testdev_ops, "testdev");
	memory_add_io(m->ports, "testdev-latch", 0xe0, 4, 0, &latch_io, t);
	memory_add_io(m->ports, "testdev-flush", 0xe4, 4, 0, &flush_io, t);
	memory_add_io(m->ports, "testdev-bytes", 0xe8, 4, 0, &latch_byte_io, t);
	memory_add_io(m->ports, "testdev-irq", IRQ_PORTS, IRQ_LINES, 0, &irq_io, t);
	memory_add_io(m->memory, "testdev-iomem", IOMEM_BASE, IOMEM_SIZE, 20, &iomem_io, t);
	return true;
}
