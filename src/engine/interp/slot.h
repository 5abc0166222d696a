/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A decoded block is an array of slots, each with the function that runs it and
 * goes on to the next by a tail call; the last returns.  While a block runs,
 * v->insn_rip is where the block began; cpu.rip is stale until the last slot (or
 * one that may fault) sets it.  Slots for common forms do all themselves where
 * the TLB answers; whatever else goes through slot_generic, which keeps the
 * contract of interp.h for its handler.
 */
#ifndef ENGINE_INTERP_SLOT_H
#define ENGINE_INTERP_SLOT_H

#include "engine/interp/interp.h"

struct islot;
/* Returns the slot after the last one run. */
typedef const struct islot *slot_fn(struct vcpu *v, const struct islot *s);

struct islot {
	slot_fn *fn;
	uint64_t mask;                /* of addresses; of rIP in branches, of rSP in stack forms */
	uint16_t offset;              /* of the instruction from the block's start */
	struct x86_insn insn;
};

/*
 * The mode that code is decoded for: default size 2, 4 or 8; real or virtual-8086
 * mode; FLAT: 32-bit code whose CS, DS, ES and SS all span 4 GiB from 0, so that
 * an offset is an address and nothing needs to be checked.
 */
enum { KIND_REAL = 1, KIND_SIZE = 14, KIND_FLAT = 16 };
uint8_t code_kind(const struct x86_cpu *c);

slot_fn slot_generic;             /* any instruction that falls through */
slot_fn slot_last;                /* any instruction that ends its block */
slot_fn slot_stop;                /* no instruction: the block ends before this slot */

/* Fill in fn and mask of a slot whose insn is decoded; `last`: it ends the block. */
void slot_choose(struct islot *s, uint8_t kind, bool last);

#endif
