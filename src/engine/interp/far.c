/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Far JMP, CALL and RET: real and v86 mode, protected mode, long mode; call
 * gates of 16, 32 and 64 bits.  Follows the pseudo code of SDM 2A (JMP, CALL)
 * and 2B (RET); SDM 3A 5.8.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

struct far_target { uint16_t sel; uint64_t ip; };

static bool segments_are_real(const struct x86_cpu *c)
{
	return cpu_real_mode(c) || cpu_vm86(c);
}

static struct far_target far_operand(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t lin;

	if (i->o[0].kind == OPK_FAR)
		return (struct far_target) { .sel = i->imm2, .ip = i->imm };
	lin = op_linear(v, i, i->opsize + 2, MMU_READ);
	return (struct far_target) {
		.ip = mmu_load(v, lin, i->opsize, v->mmu->mode),
		.sel = mmu_load(v, lin + i->opsize, 2, v->mmu->mode),
	};
}

static void real_set_cs(struct vcpu *v, uint16_t sel, uint64_t ip)
{
	seg_set_real(v, CS, sel);
	v->cpu.rip = ip;
}

/* Any descriptor `sel` names, for a transfer; null and out of table raise. */
static struct x86_seg far_descriptor(struct vcpu *v, uint16_t sel, uint64_t *raw)
{
	if (sel_null(sel))
		raise_gp(v, 0);
	if (!desc_read(v, sel, raw))
		raise_sel(v, EXC_GP, sel);
	return desc_seg(sel, *raw);
}

/* A gate or TSS as the target: privilege, then presence. */
static void check_system_target(struct vcpu *v, const struct x86_seg *s)
{
	if (seg_dpl(s) < v->cpu.cpl || seg_dpl(s) < sel_rpl(s->sel))
		raise_sel(v, EXC_GP, s->sel);
	if (!(s->attr & SEG_P))
		raise_sel(v, EXC_NP, s->sel);
}

/* The code segment a call gate leads to. Privilege is the caller's to check:
 * a JMP may not change it. */
static struct x86_seg gate_code(struct vcpu *v, const struct gate *g)
{
	uint64_t raw;
	struct x86_seg cs = far_descriptor(v, g->sel, &raw);

	if (!seg_is_code(&cs) || seg_dpl(&cs) > v->cpu.cpl)
		raise_sel(v, EXC_GP, g->sel);
	if (cpu_long_mode(&v->cpu) && (cs.attr & (SEG_L | SEG_DB)) != SEG_L)
		raise_sel(v, EXC_GP, g->sel);
	return cs;
}

static struct gate gate_at(struct vcpu *v, const struct x86_seg *s, uint64_t raw)
{
	uint64_t upper = 0;

	check_system_target(v, s);
	if (cpu_long_mode(&v->cpu) && !desc_read_upper(v, s->sel, &upper))
		raise_sel(v, EXC_GP, s->sel);
	return gate_decode(raw, upper, seg_system_type(s));
}

static void gate_jump(struct vcpu *v, const struct gate *g)
{
	struct x86_seg cs = gate_code(v, g);

	if (!seg_is_conforming(&cs) && seg_dpl(&cs) != v->cpu.cpl)
		raise_sel(v, EXC_GP, g->sel);
	if (!(cs.attr & SEG_P))
		raise_sel(v, EXC_NP, g->sel);
	seg_check_ip(v, &cs, g->offset);
	cpu_set_cs(v, cs, v->cpu.cpl, g->offset);
}

static void gate_push_return(struct vcpu *v, struct stack *s, unsigned size)
{
	stack_put(v, s, v->cpu.seg[CS].sel, size);
	stack_put(v, s, v->cpu.rip, size);
}

static void gate_call_same(struct vcpu *v, const struct gate *g, struct x86_seg cs, unsigned size)
{
	struct stack s = stack_current(v);

	if (size == 8)
		s.width = 8;
	gate_push_return(v, &s, size);
	seg_check_ip(v, &cs, g->offset);
	cpu_set_cs(v, cs, v->cpu.cpl, g->offset);
	stack_commit(v, &s);
}

static void gate_call_inner64(struct vcpu *v, const struct gate *g, struct x86_seg cs)
{
	unsigned cpl = seg_dpl(&cs);
	struct x86_seg ss = { .sel = cpl, .attr = SEG_UNUSABLE | cpl << SEG_DPL_SHIFT };
	struct stack s = stack_inner(v, &ss, tss_stack64(v, cpl), cpl);

	stack_put(v, &s, v->cpu.seg[SS].sel, 8);
	stack_put(v, &s, v->cpu.gpr[RSP], 8);
	gate_push_return(v, &s, 8);
	seg_check_ip(v, &cs, g->offset);
	cpu_set_cs(v, cs, cpl, g->offset);
	v->cpu.seg[SS] = ss;
	stack_commit(v, &s);
}

static void gate_call_inner(struct vcpu *v, const struct gate *g, struct x86_seg cs, unsigned size)
{
	unsigned cpl = seg_dpl(&cs);
	struct stack outer = stack_current(v);
	uint16_t ss_sel;
	uint64_t sp = tss_stack(v, cpl, &ss_sel);
	struct x86_seg ss = seg_check_stack(v, ss_sel, cpl, EXC_TS);
	struct stack s = stack_inner(v, &ss, sp, cpl);

	stack_put(v, &s, v->cpu.seg[SS].sel, size);
	stack_put(v, &s, v->cpu.gpr[RSP], size);
	for (unsigned n = g->count; n-- > 0; )
		stack_put(v, &s, stack_peek(v, &outer, n * size, size), size);
	gate_push_return(v, &s, size);
	seg_check_ip(v, &cs, g->offset);
	desc_set_accessed(v, &ss);
	cpu_set_cs(v, cs, cpl, g->offset);
	v->cpu.seg[SS] = ss;
	stack_commit(v, &s);
}

static void gate_call(struct vcpu *v, const struct gate *g)
{
	struct x86_seg cs = gate_code(v, g);
	bool inner = !seg_is_conforming(&cs) && seg_dpl(&cs) < v->cpu.cpl;

	if (!(cs.attr & SEG_P))
		raise_sel(v, EXC_NP, g->sel);
	if (cpu_long_mode(&v->cpu) && inner)
		gate_call_inner64(v, g, cs);
	else if (cpu_long_mode(&v->cpu))
		gate_call_same(v, g, cs, 8);
	else if (inner)
		gate_call_inner(v, g, cs, g->type == DT_CALL ? 4 : 2);
	else
		gate_call_same(v, g, cs, g->type == DT_CALL ? 4 : 2);
}

/* Gates and TSSs as targets of far JMP and CALL. */
static void far_system(struct vcpu *v, struct x86_seg *s, uint64_t raw, bool call)
{
	unsigned type = seg_system_type(s);
	bool lng = cpu_long_mode(&v->cpu);
	struct gate g;

	if (type == DT_CALL || (type == DT_CALL16 && !lng)) {
		g = gate_at(v, s, raw);
		if (call)
			gate_call(v, &g);
		else
			gate_jump(v, &g);
	} else if ((type == DT_TSS16 || type == DT_TSS) && !lng) {
		check_system_target(v, s);
		task_switch(v, s->sel, call ? TASK_CALL : TASK_JMP, v->cpu.rflags);
	} else if (type == DT_TASK && !lng) {
		check_system_target(v, s);
		task_gate(v, raw >> 16, call ? TASK_CALL : TASK_JMP, v->cpu.rflags);
	} else {
		raise_sel(v, EXC_GP, s->sel);
	}
}

void op_JMP_FAR(struct vcpu *v, const struct x86_insn *i)
{
	struct far_target t = far_operand(v, i);
	struct x86_seg s;
	uint64_t raw;

	if (segments_are_real(&v->cpu)) {
		seg_check_ip(v, &v->cpu.seg[CS], t.ip);
		real_set_cs(v, t.sel, t.ip);
		return;
	}
	s = far_descriptor(v, t.sel, &raw);
	if (!(s.attr & SEG_S)) {
		far_system(v, &s, raw, false);
		return;
	}
	seg_check_code(v, &s, sel_rpl(t.sel));
	seg_check_ip(v, &s, t.ip);
	cpu_set_cs(v, s, v->cpu.cpl, t.ip);
}

void op_CALL_FAR(struct vcpu *v, const struct x86_insn *i)
{
	struct far_target t = far_operand(v, i);
	struct stack st = stack_current(v);
	struct x86_seg s;
	uint64_t raw;

	if (segments_are_real(&v->cpu)) {
		gate_push_return(v, &st, i->opsize);
		seg_check_ip(v, &v->cpu.seg[CS], t.ip);
		real_set_cs(v, t.sel, t.ip);
		stack_commit(v, &st);
		return;
	}
	s = far_descriptor(v, t.sel, &raw);
	if (!(s.attr & SEG_S)) {
		far_system(v, &s, raw, true);
		return;
	}
	seg_check_code(v, &s, sel_rpl(t.sel));
	gate_push_return(v, &st, i->opsize);
	seg_check_ip(v, &s, t.ip);
	cpu_set_cs(v, s, v->cpu.cpl, t.ip);
	stack_commit(v, &st);
}

static void ret_outer(struct vcpu *v, const struct x86_insn *i, struct stack *s, struct x86_seg cs,
		      uint64_t ip)
{
	unsigned cpl = sel_rpl(cs.sel);
	uint64_t sp;
	struct x86_seg ss;

	stack_drop(s, i->imm);
	sp = stack_take(v, s, i->opsize);
	ss = seg_check_return_stack(v, stack_peek(v, s, 0, i->opsize), &cs);
	seg_check_ip(v, &cs, ip);
	desc_set_accessed(v, &ss);
	cpu_set_cs(v, cs, cpl, ip);
	v->cpu.seg[SS] = ss;
	*s = stack_outer(v, sp);
	stack_drop(s, i->imm);
	stack_commit(v, s);
	seg_drop_inner(v, cpl);
}

void op_RET_FAR(struct vcpu *v, const struct x86_insn *i)
{
	struct stack s = stack_current(v);
	uint64_t ip = stack_take(v, &s, i->opsize);
	uint16_t sel = stack_take(v, &s, i->opsize);
	struct x86_seg cs;

	if (segments_are_real(&v->cpu)) {
		seg_check_ip(v, &v->cpu.seg[CS], ip);
		real_set_cs(v, sel, ip);
		stack_drop(&s, i->imm);
		stack_commit(v, &s);
		return;
	}
	cs = seg_check_return_code(v, sel);
	if (sel_rpl(sel) > v->cpu.cpl) {
		ret_outer(v, i, &s, cs, ip);
		return;
	}
	seg_check_ip(v, &cs, ip);
	cpu_set_cs(v, cs, v->cpu.cpl, ip);
	stack_drop(&s, i->imm);
	stack_commit(v, &s);
}
