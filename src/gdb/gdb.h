/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-gdb: serves one gdb at a time over TCP (GDB Remote Serial Protocol) and
 * speaks the debug channel (machine/debug.h) with the machine process.
 */
#ifndef GDB_GDB_H
#define GDB_GDB_H

#include "machine/debug.h"

/* Accept clients on listen_fd until the channel closes. Returns exit status. */
int gdb_main(int listen_fd, int channel_fd);

/* gdb/regs.c: registers in the order of the target description. */
enum { GDB_REG_COUNT = 16 + 1 + 1 + 6 + 8 + 8 + 16 + 1 + 9, GDB_REG_BYTES_MAX = 16 };
extern const char gdb_target_xml[];
/* Where register n lives in r: its bytes and size; false: no such register. */
bool gdb_reg(struct debug_regs *r, unsigned n, void **p, unsigned *size);

#endif
