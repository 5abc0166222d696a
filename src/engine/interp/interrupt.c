/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delivery of one event through the IVT (real mode), the IDT (16- and 32-bit
 * gates, v86 entry included) or the 64-bit IDT with its IST.  SDM 3A ch. 6,
 * 20.2 and the pseudo code of INT n (SDM 2A).  May fault at any point up to the
 * commit; raise.c turns such a fault into the next event.
 */
#include "base/trace.h"
#include "engine/interp/sys.h"

/* Error code that names the IDT entry. */
static uint32_t idt_error(const struct vcpu *v, unsigned vector)
{
	return vector << 3 | 2 | v->ext;
}

static void real_interrupt(struct vcpu *v, const struct intr *in)
{
	struct x86_cpu *c = &v->cpu;
	struct stack s = stack_current(v);
	uint32_t entry;

	if (in->vector * 4u + 3 > c->idtr.limit)
		raise_gp(v, idt_error(v, in->vector));
	entry = mmu_load(v, c->idtr.base + in->vector * 4u, 4, MMU_SUPER);
	stack_put(v, &s, in->eflags & 0xffff, 2);
	stack_put(v, &s, c->seg[CS].sel, 2);
	stack_put(v, &s, in->rip & 0xffff, 2);
	if ((entry & 0xffff) > c->seg[CS].limit)
		raise_gp(v, v->ext);
	stack_commit(v, &s);
	seg_set_real(v, CS, entry >> 16);
	c->rip = entry & 0xffff;
	c->rflags &= ~(uint64_t)(FL_IF | FL_TF | FL_AC | FL_RF);
}

/* Read and check the gate of a vector (SDM 2A INT n, PROTECTED-MODE). */
static struct gate idt_gate(struct vcpu *v, const struct intr *in)
{
	struct x86_cpu *c = &v->cpu;
	bool lng = cpu_long_mode(c);
	unsigned entry = lng ? 16 : 8;
	uint32_t error = idt_error(v, in->vector);
	uint64_t lin = c->idtr.base + in->vector * entry, lo, hi = 0;
	struct gate g;
	unsigned type;

	if (in->vector * entry + entry - 1 > c->idtr.limit)
		raise_gp(v, error);
	lo = mmu_load(v, lng ? lin : (uint32_t)lin, 8, MMU_SUPER);
	if (lng)
		hi = mmu_load(v, lin + 8, 8, MMU_SUPER);
	type = lo >> 40 & 0x1f;
	if (lng ? type != DT_INT && type != DT_TRAP : type != DT_TASK && type != DT_INT16 &&
	    type != DT_TRAP16 && type != DT_INT && type != DT_TRAP)
		raise_gp(v, error);
	g = gate_decode(lo, hi & 0xffffffff, type);
	if (in->soft && g.dpl < c->cpl)
		raise_gp(v, error);
	if (!g.present)
		cpu_raise(v, EXC_NP, true, error);
	return g;
}

/* Handler's code segment; on return it is conforming, or DPL <= CPL holds. */
static struct x86_seg gate_handler(struct vcpu *v, const struct gate *g)
{
	struct x86_seg cs;
	uint64_t raw;

	if (sel_null(g->sel))
		raise_gp(v, v->ext);
	if (!desc_read(v, g->sel, &raw))
		raise_sel(v, EXC_GP, g->sel);
	cs = desc_seg(g->sel, raw);
	if (!seg_is_code(&cs) || seg_dpl(&cs) > v->cpu.cpl)
		raise_sel(v, EXC_GP, g->sel);
	if (cpu_long_mode(&v->cpu) && (cs.attr & (SEG_L | SEG_DB)) != SEG_L)
		raise_sel(v, EXC_GP, g->sel);
	if (!(cs.attr & SEG_P))
		raise_sel(v, EXC_NP, g->sel);
	if (cpu_vm86(&v->cpu) && (seg_is_conforming(&cs) || seg_dpl(&cs) != 0))
		raise_sel(v, EXC_GP, g->sel);
	return cs;
}

uint64_t tss_stack(struct vcpu *v, unsigned cpl, uint16_t *ss)
{
	const struct x86_seg *tr = &v->cpu.tr;
	bool wide = tr->attr & 8;
	uint32_t offset = wide ? 4 + cpl * 8 : 2 + cpl * 4;
	unsigned size = wide ? 4 : 2;

	if (offset + size + 1 > tr->limit)
		raise_sel(v, EXC_TS, tr->sel);
	*ss = mmu_load(v, tr->base + offset + size, 2, MMU_SUPER);
	return mmu_load(v, tr->base + offset, size, MMU_SUPER);
}

uint64_t tss_stack64(struct vcpu *v, unsigned index)
{
	const struct x86_seg *tr = &v->cpu.tr;
	uint32_t offset = 4 + index * 8;
	uint64_t sp;

	if (offset + 7 > tr->limit)
		raise_sel(v, EXC_TS, tr->sel);
	sp = mmu_load(v, tr->base + offset, 8, MMU_SUPER);
	if (!canonical(sp))
		cpu_raise(v, EXC_SS, true, v->ext);
	return sp;
}

static void enter_handler(struct vcpu *v, const struct gate *g)
{
	uint64_t clear = FL_TF | FL_NT | FL_RF | FL_VM;

	if (!(g->type & 1))
		clear |= FL_IF;
	v->cpu.rflags &= ~clear;
	v->step_tf = 0;
}

/* One store for the frame of n words; a fault names the word that would have
 * been pushed first, from the top or from the top of the lower page. */
static void push_frame(struct vcpu *v, uint64_t sp, const uint64_t *frame, unsigned n, unsigned mode)
{
	uint64_t last = sp + (n - 1) * 8;

	if (!canonical(sp) || !canonical(last + 7))
		cpu_raise(v, EXC_SS, true, v->ext);
	mmu_probe(v, last, 8, MMU_WRITE, mode);
	if ((sp ^ last) & ~PAGE_MASK)
		mmu_probe(v, (last & ~PAGE_MASK) - 8, 8, MMU_WRITE, mode);
	mmu_write(v, sp, frame, n * 8, mode);
}

/* 64-bit: always SS:RSP, on a 16-byte boundary. */
static void gate64(struct vcpu *v, const struct intr *in, const struct gate *g, struct x86_seg cs)
{
	struct x86_cpu *c = &v->cpu;
	unsigned cpl = seg_is_conforming(&cs) ? c->cpl : seg_dpl(&cs);
	unsigned ist = g->count & 7, n = in->has_error ? 6 : 5;
	uint64_t sp = c->gpr[RSP];
	uint64_t frame[6] = { in->error, in->rip, c->seg[CS].sel, in->eflags, sp, c->seg[SS].sel };

	if (ist)
		sp = tss_stack64(v, ist + 3);
	else if (cpl < c->cpl)
		sp = tss_stack64(v, cpl);
	sp = (sp & ~15ull) - n * 8;
	push_frame(v, sp, frame + 6 - n, n, mmu_mode_for(v, cpl));
	seg_check_ip(v, &cs, g->offset);
	if (cpl < c->cpl)
		c->seg[SS] = (struct x86_seg) { .sel = cpl, .attr = SEG_UNUSABLE | cpl << SEG_DPL_SHIFT };
	cpu_set_cs(v, cs, cpl, g->offset);
	c->gpr[RSP] = sp;
	enter_handler(v, g);
}

static void push_return(struct vcpu *v, struct stack *s, const struct intr *in, unsigned size)
{
	stack_put(v, s, in->eflags, size);
	stack_put(v, s, v->cpu.seg[CS].sel, size);
	stack_put(v, s, in->rip, size);
	if (in->has_error)
		stack_put(v, s, in->error, size);
}

static void gate_same(struct vcpu *v, const struct intr *in, const struct gate *g, struct x86_seg cs)
{
	struct stack s = stack_current(v);

	s.error = v->ext;
	push_return(v, &s, in, g->type & 8 ? 4 : 2);
	seg_check_ip(v, &cs, g->offset);
	cpu_set_cs(v, cs, v->cpu.cpl, g->offset);
	stack_commit(v, &s);
	enter_handler(v, g);
}

static void push_v86_segments(struct vcpu *v, struct stack *s, unsigned size)
{
	static const uint8_t order[] = { GS, FS, DS, ES };

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		stack_put(v, s, v->cpu.seg[order[i]].sel, size);
}

static void clear_v86_segments(struct vcpu *v)
{
	seg_set_null(v, GS, 0);
	seg_set_null(v, FS, 0);
	seg_set_null(v, DS, 0);
	seg_set_null(v, ES, 0);
}

static void gate_inner(struct vcpu *v, const struct intr *in, const struct gate *g, struct x86_seg cs)
{
	struct x86_cpu *c = &v->cpu;
	unsigned cpl = seg_dpl(&cs), size = g->type & 8 ? 4 : 2;
	uint16_t ss_sel;
	uint64_t sp = tss_stack(v, cpl, &ss_sel);
	struct x86_seg ss = seg_check_stack(v, ss_sel, cpl, EXC_TS);
	struct stack s = stack_inner(v, &ss, sp, cpl);
	bool v86 = cpu_vm86(c);

	if (v86)
		push_v86_segments(v, &s, size);
	stack_put(v, &s, c->seg[SS].sel, size);
	stack_put(v, &s, c->gpr[RSP], size);
	push_return(v, &s, in, size);
	seg_check_ip(v, &cs, g->offset);
	desc_set_accessed(v, &ss);
	cpu_set_cs(v, cs, cpl, g->offset);
	c->seg[SS] = ss;
	stack_commit(v, &s);
	enter_handler(v, g);
	if (v86)
		clear_v86_segments(v);
}

/* An error code goes onto the new task's stack, in the size of its TSS. */
static void gate_task(struct vcpu *v, const struct intr *in, const struct gate *g)
{
	struct stack s;

	task_gate(v, g->sel, TASK_INTERRUPT, in->eflags);
	if (!in->has_error)
		return;
	s = stack_current(v);
	s.error = v->ext;
	stack_put(v, &s, in->error, v->cpu.tr.attr & 8 ? 4 : 2);
	stack_commit(v, &s);
}

void intr_through_table(struct vcpu *v, const struct intr *in)
{
	struct x86_seg cs;
	struct gate g;

	if (cpu_real_mode(&v->cpu)) {
		real_interrupt(v, in);
		v->step_tf = 0;
		return;
	}
	g = idt_gate(v, in);
	if (g.type == DT_TASK) {
		gate_task(v, in, &g);
		return;
	}
	cs = gate_handler(v, &g);
	if (cpu_long_mode(&v->cpu))
		gate64(v, in, &g, cs);
	else if (!seg_is_conforming(&cs) && seg_dpl(&cs) < v->cpu.cpl)
		gate_inner(v, in, &g, cs);
	else
		gate_same(v, in, &g, cs);
}
