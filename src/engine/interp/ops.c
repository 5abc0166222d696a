/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of handlers, in the order of ops.def; ops.h says where each lives. */
#include "engine/interp/ops.h"

interp_fn *const interp_ops[OP_COUNT] = {
	[OP_INVALID] = op_UD,
#define OP(name, reads, writes, props) [OP_##name] = op_##name,
#include "x86/ops.def"
#undef OP
};
