/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IRET in all modes (SDM 2A): real, v86, protected to the same or an outer
 * level, to v86, to the previous task, and from 64-bit mode.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

struct frame { uint64_t ip, flags; uint16_t cs; };

void cpu_set_flags(struct vcpu *v, uint64_t value, uint64_t mask)
{
	uint64_t old = v->cpu.rflags, new = (old & ~mask) | (value & mask) | FL_1;

	v->cpu.rflags = new;
	if ((old ^ new) & FL_AC)
		mmu_update_mode(v);
	if (new & ~old & FL_IF)
		irq_window(v);
}

uint64_t cpu_flags_mask(const struct x86_cpu *c, unsigned opsize)
{
	uint64_t mask = FL_STATUS | FL_TF | FL_DF | FL_NT;
	unsigned iopl = c->rflags >> 12 & 3;

	if (opsize > 2)
		mask |= FL_AC | FL_ID;
	if (c->cpl <= iopl)
		mask |= FL_IF;
	if (c->cpl == 0)
		mask |= FL_IOPL;
	return mask;
}

static void nmi_unblock(struct vcpu *v)
{
	if (v->cpu.nmi_blocked) {
		v->cpu.nmi_blocked = 0;
		irq_window(v);
	}
}

static struct frame take_frame(struct vcpu *v, struct stack *s, unsigned size)
{
	struct frame f;

	f.ip = stack_take(v, s, size);
	f.cs = stack_take(v, s, size);
	f.flags = stack_take(v, s, size);
	return f;
}

static void iret_real(struct vcpu *v, unsigned size)
{
	struct stack s = stack_current(v);
	struct frame f = take_frame(v, &s, size);

	seg_check_ip(v, &v->cpu.seg[CS], f.ip);
	stack_commit(v, &s);
	seg_set_real(v, CS, f.cs);
	v->cpu.rip = f.ip;
	cpu_set_flags(v, f.flags, cpu_flags_mask(&v->cpu, size) | (size > 2 ? FL_RF : 0));
}

/* v86 mode. Below IOPL 3 only the 16-bit form, and only with VME, where the
 * image's IF goes to VIF. */
static void iret_v86(struct vcpu *v, unsigned size)
{
	struct x86_cpu *c = &v->cpu;
	struct stack s = stack_current(v);
	struct frame f;
	uint64_t mask = cpu_flags_mask(c, size) | (size > 2 ? FL_RF : 0);

	if ((c->rflags & FL_IOPL) != FL_IOPL) {
		if (!(c->cr4 & CR4_VME) || size != 2)
			raise_gp(v, 0);
		f = take_frame(v, &s, 2);
		if ((f.flags & FL_TF) || ((f.flags & FL_IF) && (c->rflags & FL_VIP)))
			raise_gp(v, 0);
		f.flags |= f.flags & FL_IF ? FL_VIF : 0;
		mask |= FL_VIF;
	} else {
		f = take_frame(v, &s, size);
	}
	seg_check_ip(v, &c->seg[CS], f.ip);
	stack_commit(v, &s);
	seg_set_real(v, CS, f.cs);
	c->rip = f.ip;
	cpu_set_flags(v, f.flags, mask);
}

static void iret_to_v86(struct vcpu *v, struct stack *s, const struct frame *f)
{
	struct x86_cpu *c = &v->cpu;
	uint32_t esp = stack_take(v, s, 4);
	uint16_t sel[6];
	static const uint8_t order[] = { SS, ES, DS, FS, GS };

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		sel[order[i]] = stack_take(v, s, 4);
	if (f->ip > 0xffff)
		raise_gp(v, 0);
	sel[CS] = f->cs;
	cpu_set_flags(v, f->flags, cpu_flags_mask(c, 4) | FL_RF | FL_VM | FL_VIF | FL_VIP);
	for (unsigned i = ES; i <= GS; i++)
		seg_set_real(v, i, sel[i]);
	c->rip = f->ip;
	c->gpr[RSP] = esp;
	cpu_set_cpl(v, 3);
}

/* What IRET may change; the privilege that counts is the one before it. */
static uint64_t iret_mask(const struct x86_cpu *c, unsigned size)
{
	uint64_t mask = cpu_flags_mask(c, size);

	if (size > 2)
		mask |= FL_RF | (c->cpl == 0 ? FL_VIF | FL_VIP : 0);
	return mask;
}

static void iret_with_stack(struct vcpu *v, struct stack *s, const struct frame *f,
			    struct x86_seg cs, unsigned size)
{
	uint64_t mask = iret_mask(&v->cpu, size), sp = stack_take(v, s, size);
	struct x86_seg ss = seg_check_return_stack(v, stack_take(v, s, size), &cs);
	unsigned cpl = sel_rpl(f->cs);
	bool outer = cpl > v->cpu.cpl;

	seg_check_ip(v, &cs, f->ip);
	desc_set_accessed(v, &ss);
	cpu_set_cs(v, cs, cpl, f->ip);
	v->cpu.seg[SS] = ss;
	*s = stack_outer(v, sp);
	stack_commit(v, s);
	cpu_set_flags(v, f->flags, mask);
	if (outer)
		seg_drop_inner(v, cpl);
}

static void iret_protected(struct vcpu *v, unsigned size)
{
	struct x86_cpu *c = &v->cpu;
	struct stack s = stack_current(v);
	struct frame f = take_frame(v, &s, size);
	struct x86_seg cs;
	uint64_t mask;

	if ((f.flags & FL_VM) && c->cpl == 0 && size == 4 && !cpu_long_mode(c)) {
		iret_to_v86(v, &s, &f);
		return;
	}
	cs = seg_check_return_code(v, f.cs);
	if (sel_rpl(f.cs) > c->cpl || cpu_code64(c)) {
		iret_with_stack(v, &s, &f, cs, size);
		return;
	}
	mask = iret_mask(c, size);
	seg_check_ip(v, &cs, f.ip);
	cpu_set_cs(v, cs, c->cpl, f.ip);
	stack_commit(v, &s);
	cpu_set_flags(v, f.flags, mask);
}

void op_IRET(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;

	if (cpu_real_mode(c))
		iret_real(v, i->opsize);
	else if (cpu_vm86(c))
		iret_v86(v, i->opsize);
	else if ((c->rflags & FL_NT) && cpu_long_mode(c))
		raise_gp(v, 0);
	else if (c->rflags & FL_NT)
		task_return(v);
	else
		iret_protected(v, i->opsize);
	nmi_unblock(v);
}
