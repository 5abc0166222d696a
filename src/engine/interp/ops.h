/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handler of op NAME is op_NAME (interp_fn: see interp.h for its duties).
 * Each is defined in exactly one file of this folder:
 *   alu.c shift.c bits.c muldiv.c   ADD .. DAS
 *   data.c                    MOV .. MOVNTI but PUSHF POPF (interrupt.c)
 *   string.c io.c             MOVS .. OUTS, IN OUT
 *   branch.c                  near JMP CALL RET, JCC .. LOOPNE, NOP PAUSE FENCE CLFLUSH UD
 *   far.c interrupt.c         far JMP CALL RET, INT .. SYSEXIT
 *   segment.c task.c msr.c system.c   HLT .. XSETBV but IN OUT
 *   x87.c vec.c xsave.c       X87 .. XRSTORS
 */
#ifndef ENGINE_INTERP_OPS_H
#define ENGINE_INTERP_OPS_H

#include "engine/interp/interp.h"

#define OP(name, reads, writes, props) interp_fn op_##name;
#include "x86/ops.def"
#undef OP

#endif
