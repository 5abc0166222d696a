/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data movement: MOV and its kin, exchange, conversions, flags. */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

static int64_t sign_extend(uint64_t value, unsigned size)
{
	unsigned shift = 64 - size * 8;
	return (int64_t)(value << shift) >> shift;
}

void op_MOV(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, operand_get(v, i, 1));
}

void op_MOVZX(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, operand_get(v, i, 1));
}

void op_MOVSX(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, (uint64_t)sign_extend(operand_get(v, i, 1), i->o[1].size));
}

void op_MOVNTI(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, operand_get(v, i, 1));
}

void op_MOVBE(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->o[0].size;
	operand_set(v, i, 0, __builtin_bswap64(operand_get(v, i, 1)) >> (64 - size * 8));
}

void op_LEA(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, effective(v, i));
}

/* With 16 bits the host decides what the undefined result is. */
void op_BSWAP(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t r = v->cpu.gpr[i->o[0].reg];
	if (i->o[0].size == 8)
		r = __builtin_bswap64(r);
	else if (i->o[0].size == 4)
		r = __builtin_bswap32((uint32_t)r);
	else
		asm(".byte 0x66\n\tbswap %%ecx" : "+c"(r));
	v->cpu.gpr[i->o[0].reg] = r;
}

static uint64_t swap(uint64_t old, uint64_t b, unsigned size, uint64_t *flags)
{
	return b;
}

/* With memory XCHG is always locked. */
void op_XCHG(struct vcpu *v, const struct x86_insn *i)
{
	unsigned m = i->o[1].kind == OPK_MEM, size = i->o[0].size;
	uint64_t a = operand_get(v, i, !m), old, flags;
	if (i->o[m].kind == OPK_MEM) {
		old = rmw_memory(v, mem_linear(v, i, size, MMU_WRITE), size, a, true, swap, &flags);
	} else {
		old = operand_get(v, i, m);
		operand_set(v, i, m, a);
	}
	operand_set(v, i, !m, old);
}

void op_CMOVCC(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t src = operand_get(v, i, 1);
	if (!cpu_cond(&v->cpu, i->cond))
		src = operand_get(v, i, 0);      /* 32 bits: zero-extends all the same */
	operand_set(v, i, 0, src);
}

void op_SETCC(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, cpu_cond(&v->cpu, i->cond));
}

/* CBW CWDE CDQE: opsize is the destination's. */
void op_CBW(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	reg_set(c, RAX, i->opsize, (uint64_t)sign_extend(c->gpr[RAX], i->opsize / 2u));
}

void op_CWD(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	reg_set(c, RDX, i->opsize, (uint64_t)(sign_extend(c->gpr[RAX], i->opsize) >> 63));
}

void op_XLAT(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t offset = (c->gpr[RBX] + (uint8_t)c->gpr[RAX]) & size_mask(i->addrsize);
	uint64_t lin = linear(v, i->seg, offset, 1, MMU_READ);
	reg_set(c, RAX, 1, mmu_load(v, lin, 1, v->mmu->mode));
}

void op_SALC(struct vcpu *v, const struct x86_insn *i)
{
	reg_set(&v->cpu, RAX, 1, v->cpu.rflags & FL_CF ? 0xff : 0);
}

void op_LAHF(struct vcpu *v, const struct x86_insn *i)
{
	reg_set(&v->cpu, X86_HIGH8 | RAX, 1, (v->cpu.rflags & 0xd5) | FL_1);
}

void op_SAHF(struct vcpu *v, const struct x86_insn *i)
{
	flags_set(v, v->cpu.gpr[RAX] >> 8, FL_STATUS & ~FL_OF);
}

void op_CLC(struct vcpu *v, const struct x86_insn *i) { v->cpu.rflags &= ~(uint64_t)FL_CF; }
void op_STC(struct vcpu *v, const struct x86_insn *i) { v->cpu.rflags |= FL_CF; }
void op_CMC(struct vcpu *v, const struct x86_insn *i) { v->cpu.rflags ^= FL_CF; }
void op_CLD(struct vcpu *v, const struct x86_insn *i) { v->cpu.rflags &= ~(uint64_t)FL_DF; }
void op_STD(struct vcpu *v, const struct x86_insn *i) { v->cpu.rflags |= FL_DF; }

/* Signed bounds, both inclusive; #BR. */
void op_BOUND(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->opsize;
	int64_t index = sign_extend(operand_get(v, i, 0), size);
	uint64_t lin = mem_linear(v, i, size * 2, MMU_READ);
	/* an index below the lower bound does not reach for the upper one */
	if (index < sign_extend(mmu_load(v, lin, size, v->mmu->mode), size) ||
	    index > sign_extend(mmu_load(v, lin + size, size, v->mmu->mode), size))
		cpu_raise(v, EXC_BR, false, 0);
}
