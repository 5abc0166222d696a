/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hardware task switch with 16- and 32-bit TSSs (SDM 3A 7.2, 7.3), by far JMP
 * and CALL, interrupts through task gates, and IRET with NT.  Not in long mode.
 *
 * Up to the commit point faults belong to the old task.  The new selectors are
 * then in place and their descriptors are loaded one by one: a fault on one of
 * them is the new task's, before its first instruction.
 */
#include "engine/interp/sys.h"

/* Where things lie in a TSS (SDM 3A figures 7-2, 7-10). */
struct tss_layout {
	uint8_t cr3, eip, eflags, gpr, sel, ldt, width, nsel, save_end;
	uint8_t limit;           /* least limit */
};
static const struct tss_layout tss32 = { .cr3 = 28, .eip = 32, .eflags = 36, .gpr = 40, .sel = 72,
	.ldt = 96, .width = 4, .nsel = 6, .save_end = 96, .limit = 103 };
static const struct tss_layout tss16 = { .cr3 = 0, .eip = 14, .eflags = 16, .gpr = 18, .sel = 34,
	.ldt = 42, .width = 2, .nsel = 4, .save_end = 42, .limit = 43 };

struct task {
	uint64_t cr3;
	uint32_t eip, eflags, gpr[8];
	uint16_t sel[6], ldt;
	bool trap;
};

static const struct tss_layout *layout(const struct x86_seg *tss)
{
	return tss->attr & 8 ? &tss32 : &tss16;
}

static struct task tss_read(struct vcpu *v, const struct x86_seg *tss)
{
	const struct tss_layout *l = layout(tss);
	struct task t = { 0 };
	unsigned w = l->width;

	if (w == 4) {
		t.cr3 = mmu_load(v, tss->base + l->cr3, 4, MMU_SUPER);
		t.trap = mmu_load(v, tss->base + 100, 2, MMU_SUPER) & 1;
	}
	t.eip = mmu_load(v, tss->base + l->eip, w, MMU_SUPER);
	t.eflags = mmu_load(v, tss->base + l->eflags, w, MMU_SUPER);
	for (unsigned i = 0; i < 8; i++)
		t.gpr[i] = mmu_load(v, tss->base + l->gpr + i * w, w, MMU_SUPER);
	for (unsigned i = 0; i < l->nsel; i++)
		t.sel[i] = mmu_load(v, tss->base + l->sel + i * w, 2, MMU_SUPER);
	t.ldt = mmu_load(v, tss->base + l->ldt, 2, MMU_SUPER);
	return t;
}

/* The dynamic part, from EIP to GS; a 16-bit TSS takes the low halves. */
static void tss_save(struct vcpu *v, const struct x86_seg *tss, uint32_t eflags)
{
	const struct x86_cpu *c = &v->cpu;
	const struct tss_layout *l = layout(tss);
	unsigned w = l->width;

	mmu_store(v, tss->base + l->eip, c->rip, w, MMU_SUPER);
	mmu_store(v, tss->base + l->eflags, eflags, w, MMU_SUPER);
	for (unsigned i = 0; i < 8; i++)
		mmu_store(v, tss->base + l->gpr + i * w, c->gpr[i], w, MMU_SUPER);
	for (unsigned i = 0; i < l->nsel; i++)
		mmu_store(v, tss->base + l->sel + i * w, c->seg[i].sel, 2, MMU_SUPER);
}

/* The new TSS's descriptor: table, type, presence, limit. */
static struct x86_seg new_tss(struct vcpu *v, uint16_t sel, bool busy, unsigned bad)
{
	struct x86_seg s;
	uint64_t raw;

	if ((sel & 4) || sel_null(sel) || !desc_read(v, sel, &raw))
		raise_sel(v, bad, sel);
	s = desc_seg(sel, raw);
	if ((seg_system_type(&s) & ~8u) != (busy ? DT_TSS16_BUSY : DT_TSS16))
		raise_sel(v, bad, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_NP, sel);
	if (s.limit < layout(&s)->limit)
		raise_sel(v, EXC_TS, sel);
	return s;
}

/* LDT of the new task; until it is loaded there is none. */
static void load_ldt(struct vcpu *v, uint16_t sel)
{
	struct x86_seg s;
	uint64_t raw;

	v->cpu.ldtr = (struct x86_seg) { .sel = sel, .attr = SEG_UNUSABLE };
	if (sel_null(sel))
		return;
	if ((sel & 4) || !desc_read(v, sel, &raw))
		raise_sel(v, EXC_TS, sel);
	s = desc_seg(sel, raw);
	if (seg_system_type(&s) != DT_LDT || !(s.attr & SEG_P))
		raise_sel(v, EXC_TS, sel);
	v->cpu.ldtr = s;
}

static void load_cs(struct vcpu *v, uint16_t sel)
{
	unsigned rpl = sel_rpl(sel);
	struct x86_seg s;
	uint64_t raw;

	if (sel_null(sel) || !desc_read(v, sel, &raw))
		raise_sel(v, EXC_TS, sel);
	s = desc_seg(sel, raw);
	if (!seg_is_code(&s) || (seg_is_conforming(&s) ? seg_dpl(&s) > rpl : seg_dpl(&s) != rpl))
		raise_sel(v, EXC_TS, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_NP, sel);
	desc_set_accessed(v, &s);
	v->cpu.seg[CS] = s;
}

static void load_ss(struct vcpu *v, uint16_t sel)
{
	struct x86_seg s = seg_check_stack(v, sel, v->cpu.cpl, EXC_TS);

	desc_set_accessed(v, &s);
	v->cpu.seg[SS] = s;
}

static void load_data(struct vcpu *v, unsigned seg, uint16_t sel)
{
	unsigned cpl = v->cpu.cpl;
	struct x86_seg s;
	uint64_t raw;

	if (sel_null(sel))
		return;
	if (!desc_read(v, sel, &raw))
		raise_sel(v, EXC_TS, sel);
	s = desc_seg(sel, raw);
	if (!seg_is_readable(&s) ||
	    (!seg_is_conforming(&s) && (sel_rpl(sel) > seg_dpl(&s) || cpl > seg_dpl(&s))))
		raise_sel(v, EXC_TS, sel);
	if (!(s.attr & SEG_P))
		raise_sel(v, EXC_NP, sel);
	desc_set_accessed(v, &s);
	v->cpu.seg[seg] = s;
}

static void load_segments(struct vcpu *v, const struct task *t)
{
	static const uint8_t data[] = { DS, ES, FS, GS };

	if (t->eflags & FL_VM) {
		for (unsigned i = ES; i <= GS; i++)
			seg_set_real(v, i, t->sel[i]);
		cpu_set_cpl(v, 3);
		return;
	}
	cpu_set_cpl(v, sel_rpl(t->sel[CS]));
	load_ss(v, t->sel[SS]);
	load_cs(v, t->sel[CS]);
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
		load_data(v, data[i], t->sel[data[i]]);
}

/* Registers that cannot fault; the selectors stand without descriptors. */
static void load_registers(struct vcpu *v, const struct task *t, const struct x86_seg *tss,
			   uint64_t eflags)
{
	struct x86_cpu *c = &v->cpu;
	bool narrow = layout(tss)->width == 2;

	for (unsigned i = 0; i < 8; i++)
		c->gpr[i] = t->gpr[i] | (narrow ? 0xffff0000u : 0);
	for (unsigned i = ES; i <= GS; i++)
		seg_set_null(v, i, t->sel[i]);
	c->rip = v->insn_rip = t->eip;
	c->rflags = (eflags & 0x3f7fd7) | FL_1;
	c->tr = *tss;
	c->cr0 |= CR0_TS;
	c->dr[7] &= ~0x155ull;                   /* L0..L3, LE (SDM 3B 17.2.4) */
	mmu_update_mode(v);
}

/* The nested-task chain: CALL and interrupts link back, IRET and JMP let go. */
static void do_switch(struct vcpu *v, struct x86_seg *tss, enum task_reason why, uint32_t eflags)
{
	struct x86_cpu *c = &v->cpu;
	struct x86_seg old = c->tr;
	bool nest = why == TASK_CALL || why == TASK_INTERRUPT;
	struct task t;
	bool paged;

	mmu_probe(v, tss->base, layout(tss)->limit + 1, MMU_READ, MMU_SUPER);
	mmu_probe(v, old.base + layout(&old)->eip, layout(&old)->save_end - layout(&old)->eip,
		  MMU_WRITE, MMU_SUPER);
	if (nest)
		mmu_probe(v, tss->base, 2, MMU_WRITE, MMU_SUPER);
	t = tss_read(v, tss);
	paged = (c->cr0 & CR0_PG) && layout(tss)->width == 4;
	if (why == TASK_IRET)
		eflags &= ~FL_NT;
	if (!nest)
		desc_set_busy(v, old.sel, false);
	tss_save(v, &old, eflags);
	if (nest)
		mmu_store(v, tss->base, old.sel, 2, MMU_SUPER);
	if (why != TASK_IRET)
		desc_set_busy(v, tss->sel, true);
	tss->attr |= 2;
	/* Commit: from here on it is the new task. */
	load_registers(v, &t, tss, nest ? t.eflags | FL_NT : t.eflags);
	if (paged && (c->cr4 & CR4_PAE) && !pae_load(v, t.cr3))
		cpu_raise(v, EXC_TS, true, sel_error(v, tss->sel));
	if (paged)
		mmu_set_cr3(v, t.cr3);
	load_ldt(v, t.ldt);
	load_segments(v, &t);
	seg_check_ip(v, &c->seg[CS], t.eip);
	irq_window(v);
	if (t.trap)
		c->debug_pending |= DR6_BT;
}

void task_switch(struct vcpu *v, uint16_t sel, enum task_reason why, uint32_t eflags)
{
	struct x86_seg tss = new_tss(v, sel, false, EXC_GP);

	do_switch(v, &tss, why, eflags);
}

void task_gate(struct vcpu *v, uint16_t tss_sel, enum task_reason why, uint32_t eflags)
{
	task_switch(v, tss_sel, why, eflags);
}

void task_return(struct vcpu *v)
{
	uint16_t sel = mmu_load(v, v->cpu.tr.base, 2, MMU_SUPER);
	struct x86_seg tss = new_tss(v, sel, true, EXC_TS);

	do_switch(v, &tss, TASK_IRET, v->cpu.rflags);
}
