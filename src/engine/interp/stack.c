/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stacks that are read or written before anything is committed: far calls and
 * returns, interrupts, POP of a segment register.  The limit and type checks
 * are those of SDM 3A 5.3; in 64-bit mode only canonicality counts.
 */
#include "engine/interp/sys.h"

unsigned mmu_mode_for(const struct vcpu *v, unsigned cpl)
{
	if (cpl == 3)
		return MMU_USER;
	return v->cpu.rflags & FL_AC ? MMU_SUPER_AC : MMU_SUPER;
}

struct stack stack_current(struct vcpu *v)
{
	return (struct stack) {
		.ss = v->cpu.seg[SS],
		.sp = v->cpu.gpr[RSP],
		.width = cpu_stack_size(&v->cpu),
		.mode = v->mmu->mode,
	};
}

struct stack stack_inner(struct vcpu *v, const struct x86_seg *ss, uint64_t sp, unsigned cpl)
{
	bool null = ss->attr & SEG_UNUSABLE;      /* 64-bit: SS is the null selector */

	return (struct stack) {
		.ss = *ss,
		.sp = sp,
		.width = null ? 8 : ss->attr & SEG_DB ? 4 : 2,
		.mode = mmu_mode_for(v, cpl),
		.error = null ? v->ext : sel_error(v, ss->sel),
	};
}

static uint64_t stack_mask(const struct stack *s)
{
	return s->width == 8 ? ~0ull : s->width == 4 ? 0xffffffffull : 0xffff;
}

static bool stack_in_limit(const struct stack *s, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;

	if ((s->ss.attr & (SEG_S | SEG_CODE | SEG_E)) == (SEG_S | SEG_E))
		return offset > s->ss.limit && last <= (s->ss.attr & SEG_DB ? 0xffffffff : 0xffff);
	return last <= s->ss.limit;
}

static uint64_t stack_linear(struct vcpu *v, const struct stack *s, uint64_t sp, unsigned size)
{
	uint64_t offset = sp & stack_mask(s);

	if (s->width == 8) {
		if (!canonical(offset) || !canonical(offset + size - 1))
			cpu_raise(v, EXC_SS, true, s->error);
		return offset;
	}
	if (!stack_in_limit(s, offset, size))
		cpu_raise(v, EXC_SS, true, s->error);
	return (uint32_t)(s->ss.base + offset);
}

void stack_drop(struct stack *s, uint64_t bytes)
{
	uint64_t mask = stack_mask(s);

	s->sp = (s->sp & ~mask) | ((s->sp + bytes) & mask);
}

void stack_put(struct vcpu *v, struct stack *s, uint64_t value, unsigned size)
{
	stack_drop(s, -(uint64_t)size);
	mmu_store(v, stack_linear(v, s, s->sp, size), value, size, s->mode);
}

uint64_t stack_peek(struct vcpu *v, const struct stack *s, uint64_t depth, unsigned size)
{
	return mmu_load(v, stack_linear(v, s, s->sp + depth, size), size, s->mode);
}

uint64_t stack_take(struct vcpu *v, struct stack *s, unsigned size)
{
	uint64_t value = stack_peek(v, s, 0, size);

	stack_drop(s, size);
	return value;
}

void stack_commit(struct vcpu *v, const struct stack *s)
{
	/* A 16-bit stack keeps the upper bits it came with. */
	v->cpu.gpr[RSP] = s->width == 4 ? (uint32_t)s->sp : s->sp;
}

struct stack stack_outer(struct vcpu *v, uint64_t sp)
{
	struct stack s = stack_current(v);

	if (s.width == 2)
		s.sp = (s.sp & ~0xffffull) | (sp & 0xffff);
	else
		s.sp = sp & stack_mask(&s);
	return s;
}
