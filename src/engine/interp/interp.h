/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interpreter: the reference every other engine is checked against, and
 * the fall-back for whatever a translation does not do itself.
 *
 * An op handler runs ONE decoded instruction.  interp_exec() has stored the
 * instruction's start in v->insn_rip and set cpu.rip to the NEXT instruction;
 * a branch overwrites cpu.rip; a fault puts insn_rip back.  A handler that
 * faults must have changed nothing else (but finished REP iterations, whose
 * registers are then up to date).
 */
#ifndef ENGINE_INTERP_INTERP_H
#define ENGINE_INTERP_INTERP_H

#include "engine/engine.h"
#include "engine/soft/mmu.h"
#include "x86/insn.h"

typedef void interp_fn(struct vcpu *v, const struct x86_insn *insn);

/* One handler per op; all non-NULL. Filled by the files of this folder:
 *   alu.c data.c string.c branch.c       integer
 *   system.c segment.c far.c task.c interrupt.c msr.c   system
 *   x87.c vec.c xsave.c                  floating point and vectors */
extern interp_fn *const interp_ops[OP_COUNT];

/* Run one decoded instruction at cpu.rip (rip is advanced, int_shadow cleared,
 * then the handler called; interpreted is counted). Used by interp's loop and by
 * translations. After a handler that set int_shadow (STI, MOV SS) one more
 * instruction must run before interp_poll may deliver. */
void interp_exec(struct vcpu *v, const struct x86_insn *insn);

/* Fetch, decode and run the instruction at cpu.rip, with all that debugging asks
 * for. Unwinds on faults and at debug stops. */
void interp_step(struct vcpu *v);

/* What arrives at v->unwind by siglongjmp: an exception that waits in cpu.event
 * for interp_deliver_event, or UNWIND_EXIT + the enum vcpu_exit. */
enum { UNWIND_EXCEPTION = 1, UNWIND_EXIT = 2 };

/* Raise an exception at the current instruction: fills cpu.event, restores rip
 * to the instruction's start (for faults), unwinds to v->unwind. */
void cpu_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error) NORETURN;
#define raise_ud(v) cpu_raise(v, EXC_UD, false, 0)
#define raise_gp(v, e) cpu_raise(v, EXC_GP, true, e)
void cpu_raise_pf(struct vcpu *v, uint64_t lin, uint32_t error) NORETURN;
/* Leave the run loop from inside an instruction with this exit. */
void cpu_exit(struct vcpu *v, enum vcpu_exit why) NORETURN;

/* Deliver cpu.event (after an unwind), or a pending interrupt: through the IDT
 * or IVT, with double and triple fault rules. Returns false: shutdown. */
bool interp_deliver_event(struct vcpu *v);
/* At an instruction boundary: INIT, SIPI, NMI, external interrupt if allowed
 * by IF and int_shadow; may deliver. Returns false: shutdown. */
bool interp_poll(struct vcpu *v);

/*
 * Single-step and debug registers (debug.c; SDM 3B ch. 17).  A loop that runs
 * one instruction at a time does, where debug_armed():
 *     debug_before(v);  interp_exec(v, insn);  debug_after(v);
 * A translator leaves code to the interpreter while debug_armed(). Data
 * breakpoints: the MMU gives no TLB tag to a page debug_page_watched(), and its
 * slow path calls debug_access() for each access to one.
 */
static inline bool debug_armed(const struct vcpu *v)
{
	return (v->cpu.rflags & (FL_TF | FL_RF)) | (v->cpu.dr[7] & 0xff) | v->cpu.debug_pending;
}
void debug_before(struct vcpu *v);   /* instruction breakpoint (unwinds); RF ends; TF latched */
void debug_after(struct vcpu *v);    /* traps of the instruction just done (unwinds) */
bool debug_page_watched(const struct vcpu *v, uint64_t lin);
void debug_access(struct vcpu *v, uint64_t lin, unsigned size, bool write);
void debug_io(struct vcpu *v, uint16_t port, unsigned size);   /* IN OUT INS OUTS, once checked */

/* Helpers for handlers (operand.c). Linear address of the memory operand with
 * segment limit/type checks (access for the check); may fault #GP/#SS. */
uint64_t op_linear(struct vcpu *v, const struct x86_insn *i, unsigned size, enum mmu_access acc);
uint64_t op_effective(struct vcpu *v, const struct x86_insn *i);          /* LEA: no segment */
uint64_t op_get(struct vcpu *v, const struct x86_insn *i, unsigned n);    /* operand n, zero-extended */
void op_set(struct vcpu *v, const struct x86_insn *i, unsigned n, uint64_t value);
uint64_t seg_linear(struct vcpu *v, unsigned seg, uint64_t offset, unsigned size, enum mmu_access acc);
void stack_push(struct vcpu *v, uint64_t value, unsigned size);
uint64_t stack_pop(struct vcpu *v, unsigned size);
/* Status flags of the low `size` bytes of a result. */
bool cpu_cond(const struct x86_cpu *c, unsigned cond);

#endif
