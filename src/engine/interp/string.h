/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What string.c and io.c share. */
#ifndef ENGINE_INTERP_STRING_H
#define ENGINE_INTERP_STRING_H

#include "engine/interp/interp.h"

/* Up to `count` iterations; updates rSI, rDI and returns how many it did. */
typedef uint64_t string_fn(struct vcpu *v, const struct x86_insn *i, uint64_t count);

void string_repeat(struct vcpu *v, const struct x86_insn *i, string_fn *fn);
/* Take `done` off rCX; true: more to do. */
bool string_more(struct vcpu *v, const struct x86_insn *i, uint64_t done);
void string_advance(struct vcpu *v, const struct x86_insn *i, unsigned reg, uint64_t n);
/* Is something waiting that comes between two iterations? */
bool string_yield(const struct vcpu *v);
/* Stop here; the instruction goes on when it is run again. */
void string_leave(struct vcpu *v);
uint64_t string_source(struct vcpu *v, const struct x86_insn *i);
uint64_t string_dest(struct vcpu *v, const struct x86_insn *i, enum mmu_access acc);

#endif
