/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Vector instructions whose memory operand is many: gathers, masked moves.
 * Elements that the mask leaves out are not accessed and cannot fault.
 */
#include "engine/interp/fpu.h"

/* Effective address without its index (which is a vector register in a gather). */
static uint64_t effective_base(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_insn plain = *i;

	plain.index = X86_NO_REG;
	return op_effective(v, &plain);
}

static uint64_t element_linear(struct vcpu *v, const struct x86_insn *i, uint64_t effective,
			       unsigned size, enum mmu_access access)
{
	if (i->addrsize < 8)
		effective &= BIT(8 * i->addrsize) - 1;
	return seg_linear(v, i->seg, effective, size, access);
}

static int64_t element_index(const uint8_t *indices, unsigned n, unsigned size)
{
	return size == 8 ? (int64_t)le64_get(indices + 8 * n) : (int32_t)le32_get(indices + 4 * n);
}

/*
 * VGATHERDPS and family (SDM 2B VGATHER). o[0] destination, o[2] mask; the low
 * bit of the opcode says qword indices, W qword elements.  Elements are done
 * from the low end, each with its mask bits cleared, so that a fault leaves a
 * state from which the instruction goes on.
 */
void op_VEC_GATHER(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned size = i->rex & 8 ? 8 : 4, index_size = i->opcode & 1 ? 8 : 4;
	unsigned count = i->vl / MAX(size, index_size);
	unsigned dst = i->o[0].reg, mask_reg = i->o[2].reg;
	uint8_t indices[32], mask[32], value[32];
	uint64_t base;

	vec_check(v, i);
	if (dst == mask_reg || dst == i->index || mask_reg == i->index)
		raise_ud(v);
	base = effective_base(v, i);
	ymm_get(c, i->index, indices);
	ymm_get(c, mask_reg, mask);
	for (unsigned n = 0; n < i->vl / size; n++)
		memset(mask + n * size, mask[n * size + size - 1] & 0x80 ? 0xff : 0, size);
	memset(mask + i->vl, 0, sizeof(mask) - i->vl);
	ymm_set(c, mask_reg, mask, i->vl);
	ymm_get(c, dst, value);
	for (unsigned n = 0; n < count; n++) {
		uint64_t at = base + (uint64_t)element_index(indices, n, index_size) * i->scale;

		if (!mask[n * size])
			continue;
		mmu_read(v, element_linear(v, i, at, size, MMU_READ), value + n * size, size,
			 mode_without_ac(v));
		memset(mask + n * size, 0, size);
		ymm_set(c, dst, value, i->vl);
		ymm_set(c, mask_reg, mask, i->vl);
	}
	ymm_set(c, dst, value, count * size);
	ymm_set(c, mask_reg, mask, 0);
}

/* VMASKMOVPS/PD and VPMASKMOVD/Q: loads are 2C, 2D, 8C; stores 2E, 2F, 8E. */
void op_VEC_MASKMOV(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	bool load = i->o[0].kind != OPK_MEM;
	bool wide = i->opcode & 0x80 ? i->rex & 8 : i->opcode & 1;
	unsigned size = wide ? 8 : 4, count = i->vl / size;
	uint8_t mask[32], value[32] = { 0 };
	uint64_t at, lin[8];
	unsigned mode = mode_without_ac(v);

	vec_check(v, i);
	at = op_effective(v, i);
	ymm_get(c, i->o[1].reg, mask);
	if (!load)
		ymm_get(c, i->o[2].reg, value);
	for (unsigned n = 0; n < count; n++) {
		if (!(mask[n * size + size - 1] & 0x80))
			continue;
		lin[n] = element_linear(v, i, at + n * size, size, load ? MMU_READ : MMU_WRITE);
		if (load)
			mmu_read(v, lin[n], value + n * size, size, mode);
		else
			mmu_probe(v, lin[n], size, MMU_WRITE, mode);
	}
	if (load)
		ymm_set(c, i->o[0].reg, value, i->vl);
	for (unsigned n = 0; !load && n < count; n++)
		if (mask[n * size + size - 1] & 0x80)
			mmu_write(v, lin[n], value + n * size, size, mode);
}

/* Store the bytes whose mask byte has its top bit set, at seg:rDI. All are
 * probed before the first is written. */
static void store_masked(struct vcpu *v, const struct x86_insn *i, const uint8_t *value,
			 const uint8_t *mask, unsigned size)
{
	uint64_t lin[16], at = v->cpu.gpr[RDI];

	for (unsigned n = 0; n < size; n++) {
		if (!(mask[n] & 0x80))
			continue;
		lin[n] = element_linear(v, i, at + n, 1, MMU_WRITE);
		mmu_probe(v, lin[n], 1, MMU_WRITE, v->mmu->mode);
	}
	for (unsigned n = 0; n < size; n++)
		if (mask[n] & 0x80)
			mmu_write(v, lin[n], value + n, 1, v->mmu->mode);
}

/* MASKMOVDQU, VMASKMOVDQU, and MASKMOVQ (whose registers are MMX). */
void op_MASKMOVDQU(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_xsave *x = &v->cpu.xsave;
	unsigned reg = (i->modrm >> 3 & 7) | (i->rex & 4) << 1, rm = (i->modrm & 7) | (i->rex & 1) << 3;
	unsigned top = FSW_TOP(x->fsw);

	vec_check(v, i);
	if (i->pp) {
		store_masked(v, i, x->xmm[reg], x->xmm[rm], 16);
		return;
	}
	/* MMX register n is x87 register n; the image begins at the top of the stack. */
	store_masked(v, i, x->st[(reg - top) & 7], x->st[(rm - top) & 7], 8);
	x87_enter_mmx(x);
}
