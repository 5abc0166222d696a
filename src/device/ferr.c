/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x87's error line of a PC (SDM 1 8.7.2; ICH9 datasheet 5.9.4, "FERR#"): with
 * CR0.NE = 0 an unmasked exception does not raise #MF but FERR#, which the chipset
 * turns into IRQ 13; the processor waits for the interrupt before its next waiting
 * x87 instruction.  A write to port 0xf0 drops IRQ 13 and gives IGNNE#, which lets
 * the handler use the x87, until the exception has been cleared.
 */
#include "device/board.h"
#include "device/chipset.h"
#include "machine/machine.h"

enum { VERSION = 1, IRQ = 13 };

struct ferr { struct device dev; _Atomic bool line, ignne; };

static struct ferr *from(struct machine *m) { return m->board_data->ferr; }

static void set_line(struct ferr *f, bool level)
{
	struct irq_line irq = board_gsi(f->dev.machine, IRQ);
	if (atomic_exchange(&f->line, level) != level)
		irq_set(&irq, level);
}

/* On a vCPU's thread, without locks. */
bool ferr_pending(struct machine *m, bool pending)
{
	struct ferr *f = from(m);
	if (!pending) {
		if (atomic_load_explicit(&f->ignne, memory_order_relaxed))
			atomic_store(&f->ignne, false);
		return true;
	}
	if (atomic_load(&f->ignne))
		return true;
	set_line(f, true);
	return false;
}

static uint64_t ferr_read(void *opaque, uint64_t at, unsigned size) { return UINT64_MAX; }

/* 0xf0: busy latch cleared; 0xf1: a coprocessor's reset, of no effect. */
static void ferr_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct ferr *f = opaque;
	if (at || !atomic_load(&f->line))
		return;
	atomic_store(&f->ignne, true);
	set_line(f, false);
}

static void ferr_reset(struct device *d)
{
	struct ferr *f = container_of(d, struct ferr, dev);
	atomic_store(&f->ignne, false);
	set_line(f, false);
}

static bool ferr_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct ferr *f = container_of(d, struct ferr, dev);
	bool line = f->line, ignne = f->ignne;
	xfer_bool(s, &line);
	xfer_bool(s, &ignne);
	f->line = line;         /* the controllers have levels of their own */
	f->ignne = ignne;
	return state_ok(s);
}

static void ferr_destroy(struct device *d) { free(container_of(d, struct ferr, dev)); }

bool ferr_create(struct machine *m, struct error *err)
{
	static const struct io_ops io = { ferr_read, ferr_write, 1, 1, true };
	static const struct device_ops ops = {
		.name = "ferr", .version = VERSION, .reset = ferr_reset, .xfer = ferr_xfer, .destroy = ferr_destroy,
	};
	struct ferr *f = xnew(struct ferr);
	m->board_data->ferr = f;
	memory_add_io(m->ports, "coprocessor", 0xf0, 2, 0, &io, f);
	device_add(m, &f->dev, &ops, "ferr");
	return true;
}
