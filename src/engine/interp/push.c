/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PUSH, POP and frames. */
#include "engine/interp/operand.h"
#include "engine/interp/ops.h"

void op_PUSH(struct vcpu *v, const struct x86_insn *i)
{
	stack_push(v, operand_get(v, i, 0), i->opsize);
}

/* An address through rSP is that after the increment (SDM 2B POP). */
void op_POP(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t rsp = v->cpu.gpr[RSP], value = stack_pop(v, i->opsize);
	if (i->o[0].kind == OPK_GPR) {
		reg_set(&v->cpu, i->o[0].reg, i->opsize, value);
		return;
	}
	uint64_t after = v->cpu.gpr[RSP], offset = effective(v, i);
	v->cpu.gpr[RSP] = rsp;
	mmu_store(v, linear(v, i->seg, offset, i->opsize, MMU_WRITE), value, i->opsize,
		  v->mmu->mode);
	v->cpu.gpr[RSP] = after;
}

/* All eight or none: the whole frame is checked first. */
void op_PUSHA(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned size = i->opsize;
	uint64_t sp = c->gpr[RSP], mask = size_mask(cpu_stack_size(c)), offset, lin[8];
	for (unsigned r = 0; r < 8; r++) {
		offset = (sp - (r + 1) * size) & mask;
		lin[r] = linear(v, SS, offset, size, MMU_WRITE);
		mmu_probe(v, lin[r], size, MMU_WRITE, v->mmu->mode);
	}
	for (unsigned r = 0; r < 8; r++)
		mmu_store(v, lin[r], c->gpr[r], size, v->mmu->mode);
	c->gpr[RSP] = (sp & ~mask & 0xffffffff) | ((sp - 8 * size) & mask);
}

void op_POPA(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned size = i->opsize;
	uint64_t sp = c->gpr[RSP], mask = size_mask(cpu_stack_size(c)), value[8];
	for (unsigned n = 0; n < 8; n++) {
		uint64_t offset = (sp + n * size) & mask;
		value[n] = mmu_load(v, linear(v, SS, offset, size, MMU_READ), size, v->mmu->mode);
	}
	for (unsigned r = 0; r < 8; r++)
		if (r != RSP)
			reg_set(c, r, size, value[7 - r]);
	c->gpr[RSP] = (sp & ~mask & 0xffffffff) | ((sp + 8 * size) & mask);
}

/* The display: `level` frame pointers, copied from the outer frame. */
static void enter_display(struct vcpu *v, unsigned level, unsigned size, uint64_t frame)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t mask = size_mask(cpu_stack_size(c));
	for (unsigned n = 1; n < level; n++) {
		uint64_t offset = (c->gpr[RBP] - n * size) & mask;
		stack_push(v, mmu_load(v, linear(v, SS, offset, size, MMU_READ), size, v->mmu->mode),
			   size);
	}
	stack_push(v, frame, size);
}

/* SDM 2A ENTER. rSP is put back before a fault. */
void op_ENTER(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned size = i->opsize, level = i->imm2 & 31, width = cpu_stack_size(c);
	uint64_t rsp = c->gpr[RSP], mask = size_mask(width), frame, last;
	/* whatever is pushed, and the new top of the stack, must be writable */
	for (uint64_t n = 1; n <= level + 1; n++)
		mmu_probe(v, linear(v, SS, (rsp - n * size) & mask, size, MMU_WRITE), size,
			  MMU_WRITE, v->mmu->mode);
	for (uint64_t n = 1; n < level; n++)
		mmu_probe(v, linear(v, SS, (c->gpr[RBP] - n * size) & mask, size, MMU_READ), size,
			  MMU_READ, v->mmu->mode);
	last = (rsp - (level + 1) * size - (uint16_t)i->imm) & mask;
	mmu_probe(v, linear(v, SS, last, size, MMU_WRITE), 1, MMU_WRITE, v->mmu->mode);
	stack_push(v, c->gpr[RBP], size);
	frame = c->gpr[RSP];
	if (level)
		enter_display(v, level, size, frame);
	reg_set(c, RBP, size, frame);
	reg_set(c, RSP, width, c->gpr[RSP] - (uint16_t)i->imm);
}

void op_LEAVE(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned size = i->opsize, width = cpu_stack_size(c);
	uint64_t offset = c->gpr[RBP] & size_mask(width);
	uint64_t value = mmu_load(v, linear(v, SS, offset, size, MMU_READ), size, v->mmu->mode);
	reg_set(c, RSP, width, offset + size);
	reg_set(c, RBP, size, value);
}
