/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the system part share: descriptors, stacks that are not
 * loaded yet, segment loads, event delivery, far transfers.  SDM volume 3A,
 * chapters 3, 5, 6 and 7.
 *
 * The rule everywhere: look and check first (all of these may fault), commit to
 * struct x86_cpu last.  Error codes of faults met while an external event is
 * delivered carry EXT, which v->ext holds meanwhile.
 */
#ifndef ENGINE_INTERP_SYS_H
#define ENGINE_INTERP_SYS_H

#include "engine/interp/interp.h"

/* System descriptor types (S=0); +2 on a TSS: busy. */
enum { DT_TSS16 = 1, DT_LDT = 2, DT_TSS16_BUSY = 3, DT_CALL16 = 4, DT_TASK = 5,
       DT_INT16 = 6, DT_TRAP16 = 7, DT_TSS = 9, DT_TSS_BUSY = 11, DT_CALL = 12,
       DT_INT = 14, DT_TRAP = 15 };

enum { DR6_BD = 0x2000, DR6_BS = 0x4000, DR6_BT = 0x8000 };

static inline bool sel_null(uint16_t sel) { return !(sel & 0xfffc); }
static inline unsigned sel_rpl(uint16_t sel) { return sel & 3; }
static inline unsigned seg_dpl(const struct x86_seg *s) { return s->attr >> SEG_DPL_SHIFT & 3; }
static inline bool seg_is_code(const struct x86_seg *s)
{ return (s->attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE); }
static inline bool seg_is_conforming(const struct x86_seg *s)
{ return seg_is_code(s) && (s->attr & SEG_C); }
static inline bool seg_is_data(const struct x86_seg *s)
{ return (s->attr & (SEG_S | SEG_CODE)) == SEG_S; }
static inline bool seg_is_writable(const struct x86_seg *s)
{ return seg_is_data(s) && (s->attr & SEG_W); }
static inline bool seg_is_readable(const struct x86_seg *s)
{ return (s->attr & SEG_S) && (!(s->attr & SEG_CODE) || (s->attr & SEG_R)); }
/* Type of a system descriptor, 16 and up: not one. */
static inline unsigned seg_system_type(const struct x86_seg *s)
{ return s->attr & (SEG_TYPE | SEG_S); }
static inline bool canonical(uint64_t lin) { return (uint64_t)((int64_t)(lin << 16) >> 16) == lin; }
static inline uint32_t sel_error(const struct vcpu *v, uint16_t sel) { return (sel & 0xfffcu) | v->ext; }

#define raise_sel(v, vector, sel) cpu_raise(v, vector, true, sel_error(v, sel))

/* --- descriptors (desc.c) --- */
/* Read the 8 bytes of `sel`'s descriptor; false: outside its table. */
bool desc_read(struct vcpu *v, uint16_t sel, uint64_t *raw);
/* The upper 8 bytes of a 16-byte system descriptor; false: outside, or not one. */
bool desc_read_upper(struct vcpu *v, uint16_t sel, uint64_t *raw);
struct x86_seg desc_seg(uint16_t sel, uint64_t raw);
/* Base of a system segment, long mode's upper half included. */
bool desc_system_base(struct vcpu *v, uint16_t sel, struct x86_seg *s);
/* Set the accessed bit in table and cache. May fault (read-only table). */
void desc_set_accessed(struct vcpu *v, struct x86_seg *s);
/* Change a TSS descriptor's busy bit in the GDT. */
void desc_set_busy(struct vcpu *v, uint16_t sel, bool busy);

struct gate {
	uint16_t sel;
	uint8_t type, dpl, count;      /* count: parameters, or IST index in long mode */
	bool present;
	uint64_t offset;
};
struct gate gate_decode(uint64_t lo, uint64_t hi, unsigned type);

/* --- segment registers (segment.c) --- */
/* Load ES..GS as MOV does, in whatever mode; faults before any change. */
void seg_load(struct vcpu *v, unsigned seg, uint16_t sel);
void seg_set_real(struct vcpu *v, unsigned seg, uint16_t sel);   /* real and v86 mode */
void seg_set_null(struct vcpu *v, unsigned seg, uint16_t sel);
/* Stack segment for privilege `cpl`: `bad` is the vector of most violations
 * (#TS from a TSS, #GP else). */
struct x86_seg seg_check_stack(struct vcpu *v, uint16_t sel, unsigned cpl, unsigned bad);
/* Return to an outer level: drop data segments it may not have. */
void seg_drop_inner(struct vcpu *v, unsigned cpl);
/* May this be CS at `cpl` for a direct transfer? Raises if not; S and code are checked. */
void seg_check_code(struct vcpu *v, const struct x86_seg *s, unsigned rpl);
/* CS and SS popped by far RET and IRET. */
struct x86_seg seg_check_return_code(struct vcpu *v, uint16_t sel);
struct x86_seg seg_check_return_stack(struct vcpu *v, uint16_t sel, const struct x86_seg *cs);
/* #GP(ext) unless ip may be executed in cs. */
void seg_check_ip(struct vcpu *v, const struct x86_seg *cs, uint64_t ip);
/* Commit CS (accessed bit, RPL := cpl), RIP and CPL. */
void cpu_set_cs(struct vcpu *v, struct x86_seg cs, unsigned cpl, uint64_t ip);
void cpu_set_cpl(struct vcpu *v, unsigned cpl);

/* --- stacks (stack.c) --- */
/* A stack pointer on the move: nothing of the CPU changes until it is committed. */
struct stack {
	struct x86_seg ss;
	uint64_t sp;
	uint8_t width;       /* bytes of SP that move: 2, 4, 8 */
	unsigned mode;       /* MMU_* of its accesses */
	uint32_t error;      /* of #SS */
};
struct stack stack_current(struct vcpu *v);
/* A stack for `cpl`, not yet loaded. */
struct stack stack_inner(struct vcpu *v, const struct x86_seg *ss, uint64_t sp, unsigned cpl);
void stack_put(struct vcpu *v, struct stack *s, uint64_t value, unsigned size);
uint64_t stack_take(struct vcpu *v, struct stack *s, unsigned size);
/* The value `depth` bytes above the top. */
uint64_t stack_peek(struct vcpu *v, const struct stack *s, uint64_t depth, unsigned size);
void stack_drop(struct stack *s, uint64_t bytes);
void stack_commit(struct vcpu *v, const struct stack *s);       /* SP only */
/* After CS and SS of an outer level are loaded: its stack at the popped SP. A
 * 16-bit stack takes 16 bits of it and keeps the rest of RSP, as silicon does. */
struct stack stack_outer(struct vcpu *v, uint64_t sp);
unsigned mmu_mode_for(const struct vcpu *v, unsigned cpl);

/* --- events (interrupt.c) --- */
struct intr {
	uint8_t vector;
	bool soft;                /* INT n, INT3, INTO: gate DPL is checked, EXT is 0 */
	bool has_error;
	uint32_t error;
	uint32_t eflags;          /* image to push */
	uint64_t rip;             /* to return to */
};
void intr_through_table(struct vcpu *v, const struct intr *in);
/* Stack pointer (and selector) for `cpl` out of the TSS: legacy formats. */
uint64_t tss_stack(struct vcpu *v, unsigned cpl, uint16_t *ss);
/* Long mode: RSPn for index 0..2, IST1.. for 4..10. */
uint64_t tss_stack64(struct vcpu *v, unsigned index);
/* Change the flags in `mask`; IF and AC take effect. */
void cpu_set_flags(struct vcpu *v, uint64_t value, uint64_t mask);
/* Flags that POPF and IRET of this operand size may change at this CPL. */
uint64_t cpu_flags_mask(const struct x86_cpu *c, unsigned opsize);

/* --- task switch (task.c) --- */
enum task_reason { TASK_JMP, TASK_CALL, TASK_INTERRUPT, TASK_IRET };
/* `sel` and its descriptor have passed the checks of the instruction. The old
 * task resumes at cpu.rip with `eflags`. */
void task_switch(struct vcpu *v, uint16_t sel, enum task_reason why, uint32_t eflags);
/* Through a task gate: checks its TSS selector, then switches. */
void task_gate(struct vcpu *v, uint16_t tss_sel, enum task_reason why, uint32_t eflags);
void task_return(struct vcpu *v);                /* IRET with NT set */

/* --- control state (control.c) --- */
bool pae_load(struct vcpu *v, uint64_t cr3);     /* false: reserved bits set, nothing loaded */
void control_set_cr0(struct vcpu *v, uint64_t value);
void control_set_cr3(struct vcpu *v, uint64_t value);
void control_set_cr4(struct vcpu *v, uint64_t value);
bool control_set_efer(struct vcpu *v, uint64_t value);
uint64_t cpu_tsc(const struct vcpu *v);

/* --- MSRs (msr.c, kvmclock.c); false: #GP --- */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
void kvmclock_write_system(struct vcpu *v, uint64_t value);
void kvmclock_write_wall(struct vcpu *v, uint64_t value);
void kvmclock_refresh(struct vcpu *v);

/* IF was set or NMIs unblocked: look again at what waits. */
static inline void irq_window(struct vcpu *v)
{
	if (unlikely(v->irq_waiting)) {
		v->irq_waiting = false;
		atomic_fetch_or_explicit(&v->requests, REQ_INTERRUPT | REQ_NMI, memory_order_relaxed);
	}
}
static inline void require_cpl0(struct vcpu *v)
{
	if (v->cpu.cpl)
		raise_gp(v, 0);
}

#endif
