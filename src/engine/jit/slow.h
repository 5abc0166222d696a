/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between translated code and C: flags, and what the run loop shares with slow.c. */
#ifndef ENGINE_JIT_SLOW_H
#define ENGINE_JIT_SLOW_H

#include "engine/jit/jit.h"

enum { LAHF_FLAGS = FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF };

void flags_in(struct vcpu *v);       /* HOT_FLAGS to cpu.rflags */
void flags_out(struct vcpu *v);      /* and back */
bool jit_careful(struct vcpu *v);
struct ram_slot *slot_of(struct vcpu *v, const uint8_t *host);   /* NULL: not RAM */

/* At cpu.rip, with this added to its key; NULL: not in RAM. May fault. */
struct jit_block *slow_block(struct vcpu *v, uint32_t key);
void jit_enter(struct vcpu *v, const uint8_t *code); /* run.c: until STUB_LEAVE */

#endif
