/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts and rotates. The host masks the count and leaves flags alone as the
 * guest's processor would. */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

#define DEFINE_SHIFT(name, insn) \
	static always_inline uint64_t name(uint64_t a, uint64_t n, unsigned size, uint64_t *flags) \
	{ return BY_SIZE(size, FLAGS_SHIFT, insn, a, n, flags); }
#define OP_SHIFT(name, insn) \
	DEFINE_SHIFT(shift_##name, insn) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ flags_set(v, rmw_operand(v, i, operand_get(v, i, 1), shift_##name), FL_STATUS); }

/* Intel's rotates of a register by an immediate other than 1 leave OF as it was;
 * by CL, or of memory, they set it as a rotate by 1 would. */
#define OP_ROTATE(name, insn) \
	DEFINE_SHIFT(shift_##name, insn) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ \
		uint64_t n = operand_get(v, i, 1), which = FL_STATUS; \
		if (i->o[0].kind == OPK_GPR && i->o[1].kind == OPK_IMM && \
		    (n & (i->o[0].size == 8 ? 63 : 31)) != 1) \
			which &= ~(uint64_t)FL_OF; \
		flags_set(v, rmw_operand(v, i, n, shift_##name), which); \
	}

OP_ROTATE(ROL, "rol")
OP_ROTATE(ROR, "ror")
OP_SHIFT(RCL, "rcl")
OP_SHIFT(RCR, "rcr")
OP_SHIFT(SHL, "shl")
OP_SHIFT(SHR, "shr")
OP_SHIFT(SAR, "sar")

/* Destination, second source, count. */
static void shift_double(struct vcpu *v, const struct x86_insn *i, bool right)
{
	unsigned size = i->o[0].size;
	bool memory = i->o[0].kind == OPK_MEM;
	uint64_t lin = memory ? mem_linear(v, i, size, MMU_WRITE) : 0, flags = v->cpu.rflags;
	if (memory)
		mmu_probe(v, lin, size, MMU_WRITE, v->mmu->mode);
	uint64_t a = memory ? mmu_load(v, lin, size, v->mmu->mode) : operand_get(v, i, 0);
	uint64_t b = operand_get(v, i, 1), n = operand_get(v, i, 2);
	if (right)
		a = BY_SIZE_NOT_BYTE(size, FLAGS_DOUBLE, "shrd", a, b, n, &flags);
	else
		a = BY_SIZE_NOT_BYTE(size, FLAGS_DOUBLE, "shld", a, b, n, &flags);
	if (memory)
		mmu_store(v, lin, a, size, v->mmu->mode);
	else
		operand_set(v, i, 0, a);
	flags_set(v, flags, FL_STATUS);
}

void op_SHLD(struct vcpu *v, const struct x86_insn *i) { shift_double(v, i, false); }
void op_SHRD(struct vcpu *v, const struct x86_insn *i) { shift_double(v, i, true); }

/* BMI2: no flags, count masked to the operand size. */
static unsigned count_of(struct vcpu *v, const struct x86_insn *i)
{
	return operand_get(v, i, 2) & (i->o[0].size * 8u - 1);
}

void op_SHLX(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, operand_get(v, i, 1) << count_of(v, i));
}

void op_SHRX(struct vcpu *v, const struct x86_insn *i)
{
	operand_set(v, i, 0, operand_get(v, i, 1) >> count_of(v, i));
}

void op_SARX(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t a = operand_get(v, i, 1);
	int64_t s = i->o[0].size == 8 ? (int64_t)a : (int32_t)a;
	operand_set(v, i, 0, (uint64_t)(s >> count_of(v, i)));
}

void op_RORX(struct vcpu *v, const struct x86_insn *i)
{
	unsigned bits = i->o[0].size * 8u, n = count_of(v, i);
	uint64_t a = operand_get(v, i, 1);
	operand_set(v, i, 0, n ? a >> n | a << (bits - n) : a);
}
