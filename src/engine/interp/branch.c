/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near transfers of control, and instructions that do nothing. */
#include "engine/interp/operand.h"
#include "engine/interp/ops.h"

static always_inline void branch_relative(struct vcpu *v, const struct x86_insn *i)
{
	v->cpu.rip = branch_target(v, v->cpu.rip + i->imm, i->opsize);
}

void op_JMP(struct vcpu *v, const struct x86_insn *i)
{
	branch_relative(v, i);
}

void op_JMP_IND(struct vcpu *v, const struct x86_insn *i)
{
	v->cpu.rip = branch_target(v, operand_get(v, i, 0), i->opsize);
}

static always_inline void call(struct vcpu *v, uint64_t target, unsigned size)
{
	target = branch_target(v, target, size);
	stack_push(v, v->cpu.rip, size);
	v->cpu.rip = target;
}

void op_CALL(struct vcpu *v, const struct x86_insn *i)
{
	call(v, v->cpu.rip + i->imm, i->opsize);
}

void op_CALL_IND(struct vcpu *v, const struct x86_insn *i)
{
	call(v, operand_get(v, i, 0), i->opsize);
}

/* SP moves only if the target is good. */
void op_RET(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t mask = size_mask(cpu_stack_size(c)), sp = c->gpr[RSP];
	uint64_t lin = linear(v, SS, sp & mask, i->opsize, MMU_READ);
	uint64_t target = branch_target(v, mmu_load(v, lin, i->opsize, v->mmu->mode), i->opsize);
	reg_set(c, RSP, cpu_stack_size(c), sp + i->opsize + (i->nops ? (uint16_t)i->imm : 0));
	c->rip = target;
}

void op_JCC(struct vcpu *v, const struct x86_insn *i)
{
	if (cpu_cond(&v->cpu, i->cond))
		branch_relative(v, i);
}

void op_JCXZ(struct vcpu *v, const struct x86_insn *i)
{
	if (!reg_get(&v->cpu, RCX, i->addrsize))
		branch_relative(v, i);
}

/* The count moves only if the target is good. */
static always_inline void loop(struct vcpu *v, const struct x86_insn *i, bool condition)
{
	uint64_t count = (v->cpu.gpr[RCX] - 1) & size_mask(i->addrsize);
	if (count && condition)
		branch_relative(v, i);
	reg_set(&v->cpu, RCX, i->addrsize, count);
}

void op_LOOP(struct vcpu *v, const struct x86_insn *i) { loop(v, i, true); }
void op_LOOPE(struct vcpu *v, const struct x86_insn *i) { loop(v, i, v->cpu.rflags & FL_ZF); }
void op_LOOPNE(struct vcpu *v, const struct x86_insn *i) { loop(v, i, !(v->cpu.rflags & FL_ZF)); }

void op_NOP(struct vcpu *v, const struct x86_insn *i) { }
void op_PAUSE(struct vcpu *v, const struct x86_insn *i) { }
void op_FENCE(struct vcpu *v, const struct x86_insn *i) { __sync_synchronize(); }
void op_UD(struct vcpu *v, const struct x86_insn *i) { raise_ud(v); }

/* Faults as a load of a byte does. */
void op_CLFLUSH(struct vcpu *v, const struct x86_insn *i)
{
	mmu_probe(v, mem_linear(v, i, 1, MMU_READ), 1, MMU_READ, v->mmu->mode);
}
