/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wires from a processor to its board that are not memory, ports or messages.
 * The board fills the table (machine->lines); engines know no more of it.  Callbacks
 * come on a vCPU's thread with no locks held.  A machine without a board has NULL:
 * machine_lines in machine.h then answers that nothing is there.
 */
#ifndef ENGINE_LINES_H
#define ENGINE_LINES_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

struct interrupt_lines {
	/* The 8259's INTR, for vCPUs whose LINT0 takes it; the vector, or -1. */
	bool (*extint_pending)(struct machine *m);
	int (*extint_ack)(struct machine *m);
	/* EOI of a level-triggered vector: the I/O APIC drops remote IRR. */
	void (*eoi)(struct machine *m, uint8_t vector);
	/* With CR0.NE = 0, at a waiting x87 instruction: is an unmasked exception
	 * pending (FERR#)? True back: the board says IGNNE#, go on. */
	bool (*fpu_error)(struct machine *m, bool pending);
};

#endif
