/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PUSHF, POPF, CLI, STI in all modes, with the virtual interrupt flag of v86
 * mode (VME) and of protected mode (PVI).  SDM 3A 20.3, 20.4 and the tables of
 * these instructions in SDM 2A/2B.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

static unsigned iopl(const struct x86_cpu *c) { return c->rflags >> 12 & 3; }

/* v86 mode below IOPL 3: with VME the 16-bit forms work on VIF, else #GP. */
static bool on_vif(struct vcpu *v, unsigned opsize)
{
	if (!cpu_vm86(&v->cpu) || iopl(&v->cpu) == 3)
		return false;
	if (!(v->cpu.cr4 & CR4_VME) || opsize != 2)
		raise_gp(v, 0);
	return true;
}

void op_PUSHF(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t image = v->cpu.rflags & ~(uint64_t)(FL_VM | FL_RF);

	if (on_vif(v, i->opsize))
		image = (image & ~(uint64_t)FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
	stack_push(v, image, i->opsize);
}

static void popf_vif(struct vcpu *v)
{
	struct stack s = stack_current(v);
	uint64_t image = stack_take(v, &s, 2);

	if ((image & FL_TF) || ((image & FL_IF) && (v->cpu.rflags & FL_VIP)))
		raise_gp(v, 0);
	stack_commit(v, &s);
	image |= image & FL_IF ? FL_VIF : 0;
	cpu_set_flags(v, image, cpu_flags_mask(&v->cpu, 2) | FL_VIF);
}

void op_POPF(struct vcpu *v, const struct x86_insn *i)
{
	if (on_vif(v, i->opsize))
		popf_vif(v);
	else
		cpu_set_flags(v, stack_pop(v, i->opsize), cpu_flags_mask(&v->cpu, i->opsize));
}

/* CPL > IOPL: does VIF stand in for IF (VME or PVI)? */
static void require_vif(struct vcpu *v)
{
	const struct x86_cpu *c = &v->cpu;
	uint32_t need = cpu_vm86(c) ? CR4_VME : CR4_PVI;

	if (c->cpl != 3 || !(c->cr4 & need))
		raise_gp(v, 0);
}

void op_CLI(struct vcpu *v, const struct x86_insn *i)
{
	if (v->cpu.cpl <= iopl(&v->cpu)) {
		v->cpu.rflags &= ~(uint64_t)FL_IF;
		return;
	}
	require_vif(v);
	v->cpu.rflags &= ~(uint64_t)FL_VIF;
}

void op_STI(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;

	if (c->cpl <= iopl(c)) {
		if (!(c->rflags & FL_IF))
			c->int_shadow = 1;
		cpu_set_flags(v, FL_IF, FL_IF);
		return;
	}
	require_vif(v);
	if (c->rflags & FL_VIP)
		raise_gp(v, 0);
	c->rflags |= FL_VIF;
}
