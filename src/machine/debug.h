/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The debug channel: how a stub outside the machine process (src/gdb/) looks
 * into a machine.  gdb's clients are never parsed in the process that maps
 * guest RAM; what crosses here are fixed records over a stream socket, in host
 * byte order, one request and one reply at a time, and events in between.
 */
#ifndef MACHINE_DEBUG_H
#define MACHINE_DEBUG_H

#include <stdint.h>
#include "base/error.h"

enum debug_op {
	DEBUG_STOP,           /* all vCPUs halt; the reply says they have */
	DEBUG_CONTINUE,
	DEBUG_STEP,           /* vcpu alone runs one instruction */
	DEBUG_GET_REGS,       /* reply payload: struct debug_regs */
	DEBUG_SET_REGS,       /* payload: struct debug_regs */
	DEBUG_READ,           /* len bytes at linear addr, as vcpu sees it; short at a hole */
	DEBUG_WRITE,          /* payload */
	DEBUG_POINT_ADD,      /* kind 1 break 2 write 3 read 4 access; addr, len */
	DEBUG_POINT_DEL,
	DEBUG_INFO,           /* status = number of vCPUs */
	DEBUG_EVENT = 100,    /* from the machine: vcpu stopped; status = hit kind, addr */
};
enum { DEBUG_PAYLOAD_MAX = 16384 };

struct debug_msg {
	uint32_t op, vcpu;
	int32_t status;       /* replies: 0 or above fine, -1 refused */
	uint32_t kind;
	uint64_t addr;
	uint32_t len;         /* of the payload that follows (READ request: wanted) */
	uint32_t size;        /* POINT_*: bytes watched */
};

struct debug_regs {
	uint64_t gpr[16];     /* x86 numbering: RAX RCX RDX RBX RSP ... */
	uint64_t rip, rflags;
	uint32_t seg[6];      /* ES CS SS DS FS GS */
	uint64_t fs_base, gs_base, kernel_gs_base, cr0, cr2, cr3, cr4, cr8, efer;
	uint8_t fxsave[512];
};

struct machine;
/* Serve the channel on the machine's loop; `fd` is owned from then on. */
bool debug_serve(struct machine *m, int fd, struct error *err);

#endif
