/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM 2B) as Intel has them: SYSCALL only
 * in 64-bit mode.  CS and SS come from MSRs with fixed attributes; no
 * descriptor is read.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

enum { FLAT_CODE = 0xb | SEG_S | SEG_P | SEG_G, FLAT_DATA = 3 | SEG_S | SEG_P | SEG_G | SEG_DB };

static void set_flat(struct vcpu *v, uint16_t cs, uint16_t ss, unsigned cpl, bool code64)
{
	uint32_t dpl = cpl << SEG_DPL_SHIFT;

	v->cpu.seg[CS] = (struct x86_seg) {
		.sel = cs, .limit = 0xffffffff,
		.attr = FLAT_CODE | dpl | (code64 ? SEG_L : SEG_DB),
	};
	v->cpu.seg[SS] = (struct x86_seg) { .sel = ss, .limit = 0xffffffff, .attr = FLAT_DATA | dpl };
	v->cpu.cpl = cpl;
	mmu_update_mode(v);
}

void op_SYSCALL(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint16_t cs = c->star >> 32 & 0xfffc;

	if (!cpu_code64(c) || !(c->efer & EFER_SCE))
		raise_ud(v);
	c->gpr[RCX] = c->rip;
	c->gpr[R11] = c->rflags;
	c->rip = c->lstar;
	c->rflags = (c->rflags & ~c->sfmask & ~(uint64_t)FL_RF) | FL_1;
	set_flat(v, cs, cs + 8, 0, true);
	v->step_tf = c->rflags & FL_TF;      /* masked by SFMASK: no trap inside the kernel */
}

void op_SYSRET(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint16_t base = c->star >> 48;
	bool code64 = i->opsize == 8;

	if (!cpu_code64(c) || !(c->efer & EFER_SCE))
		raise_ud(v);
	require_cpl0(v);
	if (code64 && !canonical(c->gpr[RCX]))
		raise_gp(v, 0);
	c->rip = code64 ? c->gpr[RCX] : (uint32_t)c->gpr[RCX];
	cpu_set_flags(v, c->gpr[R11], 0x3c7fd7);
	set_flat(v, (base + (code64 ? 16 : 0)) | 3, (base + 8) | 3, 3, code64);
	v->step_tf = 0;
	if (c->rflags & FL_TF)               /* as if SYSCALL had just completed */
		c->debug_pending |= DR6_BS;
}

void op_SYSENTER(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint16_t cs = c->sysenter_cs & 0xfffc;
	bool lng = cpu_long_mode(c);

	if (cpu_real_mode(c) || !cs)
		raise_gp(v, 0);
	c->rflags &= ~(uint64_t)(FL_VM | FL_IF | FL_RF);
	c->gpr[RSP] = lng ? c->sysenter_esp : (uint32_t)c->sysenter_esp;
	c->rip = lng ? c->sysenter_eip : (uint32_t)c->sysenter_eip;
	set_flat(v, cs, cs + 8, 0, lng);
}

void op_SYSEXIT(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint16_t cs = c->sysenter_cs;
	bool code64 = i->opsize == 8;

	if (cpu_real_mode(c) || !(cs & 0xfffc))
		raise_gp(v, 0);
	require_cpl0(v);
	if (code64 && (!canonical(c->gpr[RDX]) || !canonical(c->gpr[RCX])))
		raise_gp(v, 0);
	c->rip = code64 ? c->gpr[RDX] : (uint32_t)c->gpr[RDX];
	c->gpr[RSP] = code64 ? c->gpr[RCX] : (uint32_t)c->gpr[RCX];
	cs += code64 ? 32 : 16;
	set_flat(v, cs | 3, (cs + 8) | 3, 3, code64);
}
