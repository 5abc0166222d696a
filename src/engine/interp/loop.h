/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine `interp` of one machine. */
#ifndef ENGINE_INTERP_LOOP_H
#define ENGINE_INTERP_LOOP_H

#include "engine/interp/cache.h"
#include "engine/interp/turn.h"

struct interp {
	struct turn turn;
	struct machine *machine;
	struct icache cache;
	int budget;                   /* instructions left of the turn */
	uint64_t block_rip;           /* where the running block began */
};

/* A shortcut from rIP to the block there (64-bit and flat code: rIP is linear). */
struct jump { uint64_t rip, context; struct iblock *block; };
enum { JUMPS = 4096 };

/* A vCPU's engine_data. */
struct interp_vcpu {
	uint8_t kind;                 /* code_kind, as of the last system instruction */
	struct jump jump[JUMPS];
};
static inline unsigned jump_index(uint64_t rip) { return (rip ^ rip >> 12) & (JUMPS - 1); }

/* requires: the turn. Until an exit. */
enum vcpu_exit interp_loop(struct vcpu *v, struct interp *e);

#endif
