/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The debug-exit convention: a write of V to port 0xf4 ends the run with
 * status V << 1 | 1 (--debug-exit). */
#include "device/chipset.h"
#include "machine/machine.h"

static uint64_t exit_read(void *opaque, uint64_t at, unsigned size) { return 0; }

static void exit_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	machine_end_request(opaque, END_DEBUG_EXIT, (int)((value << 1 | 1) & 0xff));
}

bool debug_exit_create(struct machine *m, struct error *err)
{
	static const struct io_ops ops = { exit_read, exit_write, 1, 4 };
	memory_add_io(m->ports, "debug-exit", BOARD_DEBUG_EXIT, 4, 0, &ops, m);
	return true;
}
