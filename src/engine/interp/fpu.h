/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the floating-point and vector handlers of the interpreter:
 * availability checks, stubs of host code, and the x87 image.
 */
#ifndef ENGINE_INTERP_FPU_H
#define ENGINE_INTERP_FPU_H

#include "engine/interp/ops.h"
#include "engine/interp/thunk.h"

#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_WRITABLE 0xffffu           /* MXCSR_MASK: DAZ, no MISALIGNSSE */
#define FSW_ES 0x80u
#define FSW_B 0x8000u
#define FSW_TOP(fsw) ((fsw) >> 11 & 7)

/* --- vec_stub.c: the stub of a vector instruction; unwinds if the host refuses
 * executable memory. */
thunk_fn *vec_stub(struct vcpu *v, const struct x86_insn *i);

/* --- vec.c: #UD, #NM, #MF of vector instructions (SDM 2A 2.4, 3A 23.25.3) */
void vec_check(struct vcpu *v, const struct x86_insn *i);
/* Does an MMX register take part? CVTPI2PS with a memory operand has none: it
 * neither checks for #MF nor touches the x87 state. */
bool vec_is_mmx(const struct x86_insn *i);
/* The access mode of forms that never raise #AC (VMASKMOV, gathers, VCVTPH2PS). */
static inline unsigned mode_without_ac(const struct vcpu *v)
{
	return v->mmu->mode == MMU_USER_AC ? MMU_USER : v->mmu->mode;
}
/* Run a stub on the guest's state; unwinds with #XM or #UD. */
void thunk_call(struct vcpu *v, thunk_fn *fn, void *mem, struct thunk_io *io);
/* The guest's whole YMM register as two halves. */
void ymm_get(const struct x86_cpu *c, unsigned reg, uint8_t out[32]);
/* VEX: the bytes above `size` become zero. */
void ymm_set(struct x86_cpu *c, unsigned reg, const void *value, unsigned size);

/* --- x87.c */
void x87_check(struct vcpu *v, bool waiting);    /* #NM, then x87_errors */
void x87_external_error(struct vcpu *v, bool pending);
void x87_errors(struct vcpu *v);                 /* #MF, or the PC's way, if an error is pending */
/* What loading an image does to it: reserved bits, ES and B (SDM 1 8.1). */
void x87_normalize(struct x86_xsave *x);
/* MMX instructions: TOP = 0, all registers valid (SDM 1 12.5.1). */
void x87_enter_mmx(struct x86_xsave *x);

/* --- xsave.c: which components are not in their initial configuration (XINUSE). */
uint64_t xsave_inuse(const struct x86_cpu *c);

#endif
