/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INT n, INT3, INTO, INT1 (SDM 2A), with virtual-8086 mode's redirection to the
 * 8086 program's own handlers when CR4.VME is set (SDM 3A 20.3.3).
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

static void soft_interrupt(struct vcpu *v, uint8_t vector, bool privileged)
{
	struct intr in = {
		.vector = vector,
		.soft = !privileged,
		.eflags = v->cpu.rflags,
		.rip = v->cpu.rip,
	};

	v->ext = privileged;
	intr_through_table(v, &in);
	v->ext = 0;
}

/* Bit `vector` of the map in the 32 bytes below the I/O permission map. */
static bool redirected(struct vcpu *v, uint8_t vector)
{
	const struct x86_seg *tr = &v->cpu.tr;
	uint32_t offset;

	if (!(tr->attr & 8) || tr->limit < 103)
		raise_gp(v, 0);
	offset = mmu_load(v, tr->base + 102, 2, MMU_SUPER) - 32 + vector / 8;
	if (offset > tr->limit)
		raise_gp(v, 0);
	return !(mmu_load(v, tr->base + offset, 1, MMU_SUPER) >> (vector % 8) & 1);
}

/* Methods 5 and 6: as in real mode; below IOPL 3, VIF stands in for IF. */
static void interrupt_8086(struct vcpu *v, uint8_t vector)
{
	struct x86_cpu *c = &v->cpu;
	struct stack s = stack_current(v);
	uint64_t flags = c->rflags, entry;
	bool virtual = (flags & FL_IOPL) != FL_IOPL;

	if (virtual)
		flags = (flags & ~(uint64_t)FL_IF) | FL_IOPL | (flags & FL_VIF ? FL_IF : 0);
	entry = mmu_load(v, vector * 4u, 4, MMU_SUPER);
	stack_put(v, &s, flags & 0xffff, 2);
	stack_put(v, &s, c->seg[CS].sel, 2);
	stack_put(v, &s, c->rip & 0xffff, 2);
	stack_commit(v, &s);
	seg_set_real(v, CS, entry >> 16);
	c->rip = entry & 0xffff;
	c->rflags &= ~(uint64_t)(FL_TF | (virtual ? FL_VIF : FL_IF));
	v->step_tf = 0;
}

void op_INT(struct vcpu *v, const struct x86_insn *i)
{
	uint8_t vector = i->imm;

	if (cpu_vm86(&v->cpu)) {
		bool vme = v->cpu.cr4 & CR4_VME;

		if (vme && redirected(v, vector)) {
			interrupt_8086(v, vector);
			return;
		}
		if ((v->cpu.rflags & FL_IOPL) != FL_IOPL)
			raise_gp(v, 0);
	}
	soft_interrupt(v, vector, false);
}

void op_INT3(struct vcpu *v, const struct x86_insn *i) { soft_interrupt(v, EXC_BP, false); }
void op_INT1(struct vcpu *v, const struct x86_insn *i) { soft_interrupt(v, EXC_DB, true); }

void op_INTO(struct vcpu *v, const struct x86_insn *i)
{
	if (v->cpu.rflags & FL_OF)
		soft_interrupt(v, EXC_OF, false);
}
