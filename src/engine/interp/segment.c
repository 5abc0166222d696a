/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segment registers: the checks of SDM 3A 5.5 to 5.7 and the pseudo code of
 * MOV, POP and LDS..LGS (SDM 2A/2B).  In real mode a load changes selector and
 * base only, so that limits set in protected mode live on ("unreal" mode).
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

void seg_set_real(struct vcpu *v, unsigned seg, uint16_t sel)
{
	struct x86_seg *s = &v->cpu.seg[seg];

	s->sel = sel;
	s->base = (uint64_t)sel << 4;
	if (cpu_vm86(&v->cpu)) {
		s->limit = 0xffff;
		s->attr = 3 | SEG_S | 3 << SEG_DPL_SHIFT | SEG_P;
	} else if (s->attr & SEG_UNUSABLE) {
		s->limit = 0xffff;
		s->attr = 3 | SEG_S | SEG_P;
	} else {
		/* writable data, CS too: real-mode code stores through CS */
		s->attr = (s->attr & ~0xffu) | 3 | SEG_S | SEG_P;
	}
}

/* A null selector keeps CPL in SS's DPL, which is where CPL lives. */
void seg_set_null(struct vcpu *v, unsigned seg, uint16_t sel)
{
	v->cpu.seg[seg] = (struct x86_seg) {
		.sel = sel,
		.attr = SEG_UNUSABLE | (seg == SS ? v->cpu.cpl << SEG_DPL_SHIFT : 0),
	};
}

struct x86_seg seg_check_stack(struct vcpu *v, uint16_t sel, unsigned cpl, unsigned bad)
{
	struct x86_seg s;
	uint64_t raw;

	if (sel_null(sel))
		cpu_raise(v, bad, true, v->ext);
	if (!desc_read(v, sel, &raw))
		raise_sel(v, bad, sel);
	s = desc_seg(sel, raw);
	if (sel_rpl(sel) != cpl || !seg_is_writable(&s) || seg_dpl(&s) != cpl)
		raise_sel(v, bad, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_SS, sel);
	return s;
}

static void load_ss(struct vcpu *v, uint16_t sel)
{
	struct x86_seg s;

	/* SDM 2B MOV: null is fine in 64-bit mode below CPL 3 if RPL = CPL */
	if (sel_null(sel) && cpu_code64(&v->cpu) && v->cpu.cpl < 3 && sel_rpl(sel) == v->cpu.cpl) {
		seg_set_null(v, SS, sel);
		return;
	}
	s = seg_check_stack(v, sel, v->cpu.cpl, EXC_GP);
	desc_set_accessed(v, &s);
	v->cpu.seg[SS] = s;
}

static void load_data(struct vcpu *v, unsigned seg, uint16_t sel)
{
	struct x86_seg s;
	uint64_t raw;

	if (sel_null(sel)) {
		seg_set_null(v, seg, sel);
		return;
	}
	if (!desc_read(v, sel, &raw))
		raise_sel(v, EXC_GP, sel);
	s = desc_seg(sel, raw);
	if (!seg_is_readable(&s))
		raise_sel(v, EXC_GP, sel);
	if (!seg_is_conforming(&s) && (sel_rpl(sel) > seg_dpl(&s) || v->cpu.cpl > seg_dpl(&s)))
		raise_sel(v, EXC_GP, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_NP, sel);
	desc_set_accessed(v, &s);
	v->cpu.seg[seg] = s;
}

void seg_load(struct vcpu *v, unsigned seg, uint16_t sel)
{
	if (cpu_real_mode(&v->cpu) || cpu_vm86(&v->cpu))
		seg_set_real(v, seg, sel);
	else if (seg == SS)
		load_ss(v, sel);
	else
		load_data(v, seg, sel);
}

void seg_drop_inner(struct vcpu *v, unsigned cpl)
{
	static const uint8_t data[] = { ES, FS, GS, DS };

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		struct x86_seg *s = &v->cpu.seg[data[i]];

		if (!(s->attr & SEG_UNUSABLE) && !seg_is_conforming(s) && seg_dpl(s) < cpl)
			seg_set_null(v, data[i], 0);
	}
}

void seg_check_code(struct vcpu *v, const struct x86_seg *s, unsigned rpl)
{
	unsigned cpl = v->cpu.cpl;

	if (!seg_is_code(s))
		raise_sel(v, EXC_GP, s->sel);
	if (cpu_long_mode(&v->cpu) && (s->attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		raise_sel(v, EXC_GP, s->sel);
	if (seg_is_conforming(s) ? seg_dpl(s) > cpl : rpl > cpl || seg_dpl(s) != cpl)
		raise_sel(v, EXC_GP, s->sel);
	if (!(s->attr & SEG_P))
		raise_sel(v, EXC_NP, s->sel);
}

struct x86_seg seg_check_return_code(struct vcpu *v, uint16_t sel)
{
	unsigned rpl = sel_rpl(sel);
	struct x86_seg s;
	uint64_t raw;

	if (sel_null(sel))
		raise_gp(v, 0);
	if (!desc_read(v, sel, &raw))
		raise_sel(v, EXC_GP, sel);
	s = desc_seg(sel, raw);
	if (!seg_is_code(&s) || rpl < v->cpu.cpl)
		raise_sel(v, EXC_GP, sel);
	if (cpu_long_mode(&v->cpu) && (s.attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		raise_sel(v, EXC_GP, sel);
	if (seg_is_conforming(&s) ? seg_dpl(&s) > rpl : seg_dpl(&s) != rpl)
		raise_sel(v, EXC_GP, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_NP, sel);
	return s;
}

/* Null is allowed on the way to 64-bit code below CPL 3 (SDM 2B RET). */
struct x86_seg seg_check_return_stack(struct vcpu *v, uint16_t sel, const struct x86_seg *cs)
{
	unsigned rpl = sel_rpl(cs->sel);

	if (sel_null(sel) && cpu_long_mode(&v->cpu) && (cs->attr & SEG_L) &&
	    rpl < 3 && sel_rpl(sel) == rpl)
		return (struct x86_seg) { .sel = sel, .attr = SEG_UNUSABLE | rpl << SEG_DPL_SHIFT };
	return seg_check_stack(v, sel, rpl, EXC_GP);
}

void seg_check_ip(struct vcpu *v, const struct x86_seg *cs, uint64_t ip)
{
	bool code64 = cpu_long_mode(&v->cpu) && (cs->attr & SEG_L);

	if (code64 ? !canonical(ip) : ip > cs->limit)
		raise_gp(v, v->ext);
}

void cpu_set_cpl(struct vcpu *v, unsigned cpl)
{
	if (v->cpu.cpl == cpl)
		return;
	v->cpu.cpl = cpl;
	mmu_update_mode(v);
}

void cpu_set_cs(struct vcpu *v, struct x86_seg cs, unsigned cpl, uint64_t ip)
{
	desc_set_accessed(v, &cs);
	cs.sel = (cs.sel & 0xfffc) | cpl;
	v->cpu.seg[CS] = cs;
	v->cpu.rip = ip;
	cpu_set_cpl(v, cpl);
}

/* After a load of SS: no interrupt and no #DB before the next instruction
 * (SDM 3A 6.8.3). */
static void ss_loaded(struct vcpu *v, unsigned seg)
{
	if (seg == SS)
		v->cpu.int_shadow = 2;
}

void op_MOV_SREG_LOAD(struct vcpu *v, const struct x86_insn *i)
{
	unsigned seg = i->o[0].reg;

	if (seg == CS || seg > GS)
		raise_ud(v);
	seg_load(v, seg, op_get(v, i, 1));
	ss_loaded(v, seg);
}

void op_MOV_SREG_STORE(struct vcpu *v, const struct x86_insn *i)
{
	if (i->o[1].reg > GS)
		raise_ud(v);
	op_set(v, i, 0, v->cpu.seg[i->o[1].reg].sel);
}

void op_PUSH_SREG(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t sel = v->cpu.seg[i->o[0].reg].sel;
	struct stack s = stack_current(v);

	/* A 32-bit push writes 16 bits and moves SP by 4 (SDM 2B PUSH). */
	if (i->opsize == 4) {
		stack_drop(&s, -2ull);
		stack_put(v, &s, sel, 2);
	} else {
		stack_put(v, &s, sel, i->opsize);
	}
	stack_commit(v, &s);
}

void op_POP_SREG(struct vcpu *v, const struct x86_insn *i)
{
	unsigned seg = i->o[0].reg;
	struct stack s = stack_current(v);
	uint16_t sel = stack_take(v, &s, 2);

	stack_drop(&s, i->opsize - 2);
	seg_load(v, seg, sel);
	stack_commit(v, &s);
	ss_loaded(v, seg);
}

/* LDS..LGS: offset of the operand size, then the selector. LSS brings the stack
 * pointer along and needs no shadow. */
static void load_far_pointer(struct vcpu *v, const struct x86_insn *i, unsigned seg)
{
	uint64_t lin = op_linear(v, i, i->opsize + 2, MMU_READ);
	uint64_t offset = mmu_load(v, lin, i->opsize, v->mmu->mode);

	seg_load(v, seg, mmu_load(v, lin + i->opsize, 2, v->mmu->mode));
	op_set(v, i, 0, offset);
}

void op_LDS(struct vcpu *v, const struct x86_insn *i) { load_far_pointer(v, i, DS); }
void op_LES(struct vcpu *v, const struct x86_insn *i) { load_far_pointer(v, i, ES); }
void op_LSS(struct vcpu *v, const struct x86_insn *i) { load_far_pointer(v, i, SS); }
void op_LFS(struct vcpu *v, const struct x86_insn *i) { load_far_pointer(v, i, FS); }
void op_LGS(struct vcpu *v, const struct x86_insn *i) { load_far_pointer(v, i, GS); }
