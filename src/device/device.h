/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a device is: one .c file with a private struct (struct device embedded),
 * static callbacks, one const ops table at the bottom, one exported symbol
 *     bool i8254_create(struct machine *m, ..., struct error *err);
 * The machine owns it from then on.  I/O callbacks, timers that take the lock,
 * reset and xfer run under the board lock (machine.h).
 */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "base/error.h"
#include "base/state.h"
#include "memory/clock.h"
#include "memory/memory.h"

struct machine;
struct device;

struct device_ops {
	const char *name;                 /* "i8254": name of the state section, with id */
	uint32_t version;                 /* of the record that xfer writes */
	void (*reset)(struct device *d);  /* power-on values; may be NULL */
	bool (*xfer)(struct device *d, struct state *s, uint32_t version);
	/* After all devices have loaded: lines, timers, BARs. May be NULL. */
	void (*loaded)(struct device *d);
	/* Stop taking new work and finish what is in flight (before a save; on the
	 * I/O loop's thread, the board lock NOT held). May be NULL. */
	void (*drain)(struct device *d);
	void (*undrain)(struct device *d);
	void (*destroy)(struct device *d);
};

struct device {
	const struct device_ops *ops;
	struct machine *machine;
	char id[32];                      /* unique: "i8254", "virtio-blk.0" */
	struct device *next;
};

/* Register with the machine (order of registration = order in the state). */
void device_add(struct machine *m, struct device *d, const struct device_ops *ops,
		const char *id);

/*
 * An interrupt line: level-triggered wire to a controller's input. irq_set is
 * lock-free, callable from any thread; several sources on one line are OR-ed
 * by the owner of the line (PCI INTx).
 */
struct irq_line {
	void (*set)(void *opaque, unsigned pin, bool level);
	void *opaque;
	unsigned pin;
};
static inline void irq_set(const struct irq_line *l, bool level)
{
	if (l->set)
		l->set(l->opaque, l->pin, level);
}
static inline void irq_pulse(const struct irq_line *l) { irq_set(l, true); irq_set(l, false); }

/* ISA IRQ 0..15 / GSI 0..23 of the board: goes to the 8259 pair and the I/O
 * APIC (GSI 2 for ISA 0, as the MADT says). Defined in device/board.c. */
struct irq_line board_gsi(struct machine *m, unsigned gsi);

#endif
