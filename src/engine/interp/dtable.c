/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Table registers: LGDT LIDT SGDT SIDT, LLDT LTR SLDT STR (SDM 2A/2B), the
 * storing ones under UMIP.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

static void require_umip(struct vcpu *v)
{
	if (v->cpu.cpl && (v->cpu.cr4 & CR4_UMIP))
		raise_gp(v, 0);
}

/* LLDT LTR SLDT STR exist in protected mode only. */
static void require_protected(struct vcpu *v)
{
	if (cpu_real_mode(&v->cpu) || cpu_vm86(&v->cpu))
		raise_ud(v);
}

static void load_table(struct vcpu *v, const struct x86_insn *i, struct x86_dtr *t)
{
	bool code64 = cpu_code64(&v->cpu);
	unsigned size = code64 ? 8 : 4;
	uint64_t lin, base;

	require_cpl0(v);
	lin = op_linear(v, i, size + 2, MMU_READ);
	base = mmu_load(v, lin + 2, size, v->mmu->mode);
	if (!code64 && i->opsize == 2)
		base &= 0xffffff;
	if (!canonical(base))
		raise_gp(v, 0);
	t->limit = mmu_load(v, lin, 2, v->mmu->mode);
	t->base = base;
}

static void store_table(struct vcpu *v, const struct x86_insn *i, const struct x86_dtr *t)
{
	unsigned size = cpu_code64(&v->cpu) ? 8 : 4;
	uint8_t image[10];

	require_umip(v);
	le16_put(image, t->limit);
	le64_put(image + 2, t->base);
	mmu_write(v, op_linear(v, i, size + 2, MMU_WRITE), image, size + 2, v->mmu->mode);
}

void op_LGDT(struct vcpu *v, const struct x86_insn *i) { load_table(v, i, &v->cpu.gdtr); }
void op_LIDT(struct vcpu *v, const struct x86_insn *i) { load_table(v, i, &v->cpu.idtr); }
void op_SGDT(struct vcpu *v, const struct x86_insn *i) { store_table(v, i, &v->cpu.gdtr); }
void op_SIDT(struct vcpu *v, const struct x86_insn *i) { store_table(v, i, &v->cpu.idtr); }

/* A present system descriptor in the GDT, of one of two types. */
static struct x86_seg system_descriptor(struct vcpu *v, uint16_t sel, unsigned type, unsigned type2)
{
	struct x86_seg s;
	uint64_t raw;

	if ((sel & 4) || !desc_read(v, sel, &raw))
		raise_sel(v, EXC_GP, sel);
	s = desc_seg(sel, raw);
	if (seg_system_type(&s) != type && seg_system_type(&s) != type2)
		raise_sel(v, EXC_GP, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_NP, sel);
	if (!desc_system_base(v, sel, &s))
		raise_sel(v, EXC_GP, sel);
	return s;
}

void op_LLDT(struct vcpu *v, const struct x86_insn *i)
{
	uint16_t sel;

	require_protected(v);
	require_cpl0(v);
	sel = op_get(v, i, 0);
	if (sel_null(sel))
		v->cpu.ldtr = (struct x86_seg) { .sel = sel, .attr = SEG_UNUSABLE };
	else
		v->cpu.ldtr = system_descriptor(v, sel, DT_LDT, DT_LDT);
}

void op_LTR(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_seg s;
	uint16_t sel;

	require_protected(v);
	require_cpl0(v);
	sel = op_get(v, i, 0);
	if (sel_null(sel))
		raise_gp(v, 0);
	s = system_descriptor(v, sel, DT_TSS, cpu_long_mode(&v->cpu) ? DT_TSS : DT_TSS16);
	desc_set_busy(v, sel, true);
	s.attr |= 2;
	v->cpu.tr = s;
}

static void store_selector(struct vcpu *v, const struct x86_insn *i, uint16_t sel)
{
	require_protected(v);
	require_umip(v);
	op_set(v, i, 0, sel);
}

void op_SLDT(struct vcpu *v, const struct x86_insn *i) { store_selector(v, i, v->cpu.ldtr.sel); }
void op_STR(struct vcpu *v, const struct x86_insn *i) { store_selector(v, i, v->cpu.tr.sel); }
