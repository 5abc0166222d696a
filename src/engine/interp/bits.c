/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bit tests, scans and counts, BMI1, BMI2, CRC32. */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

#define FL_BT (FL_CF | FL_OF | FL_SF | FL_AF | FL_PF)

/* BT family: operand b is the bit number within the (register or memory) word. */
#define DEFINE_BT(name, insn) \
	static always_inline uint64_t name(uint64_t a, uint64_t b, unsigned size, uint64_t *flags) \
	{ return BY_SIZE_NOT_BYTE(size, FLAGS_BINARY_IN, insn, a, b, flags); }
DEFINE_BT(bit_test, "bt")
DEFINE_BT(bit_set, "bts")
DEFINE_BT(bit_reset, "btr")
DEFINE_BT(bit_complement, "btc")

/* With a register, the bit may lie outside of the addressed word (SDM 2A BT). */
static uint64_t bit_linear(struct vcpu *v, const struct x86_insn *i, uint64_t bit,
			   enum mmu_access acc)
{
	unsigned size = i->o[0].size, shift = size == 8 ? 6 : size == 4 ? 5 : 4;
	uint64_t offset = effective(v, i);
	if (i->o[1].kind == OPK_GPR) {
		int64_t s = size == 8 ? (int64_t)bit : size == 4 ? (int32_t)bit : (int16_t)bit;
		offset = (offset + (uint64_t)(s >> shift) * size) & size_mask(i->addrsize);
	}
	return linear(v, i->seg, offset, size, acc);
}

static always_inline void bit_modify(struct vcpu *v, const struct x86_insn *i, rmw_fn *fn)
{
	uint64_t bit = operand_get(v, i, 1), flags = v->cpu.rflags;
	if (i->o[0].kind == OPK_GPR)
		flags = rmw_operand(v, i, bit, fn);
	else
		rmw_memory(v, bit_linear(v, i, bit, MMU_WRITE), i->o[0].size, bit,
			   i->prefix & PFX_LOCK, fn, &flags);
	flags_set(v, flags, FL_BT);
}

void op_BT(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t bit = operand_get(v, i, 1), flags = v->cpu.rflags, a;
	unsigned size = i->o[0].size;
	if (i->o[0].kind == OPK_GPR)
		a = operand_get(v, i, 0);
	else
		a = mmu_load(v, bit_linear(v, i, bit, MMU_READ), size, v->mmu->mode);
	bit_test(a, bit, size, &flags);
	flags_set(v, flags, FL_BT);
}

void op_BTS(struct vcpu *v, const struct x86_insn *i) { bit_modify(v, i, bit_set); }
void op_BTR(struct vcpu *v, const struct x86_insn *i) { bit_modify(v, i, bit_reset); }
void op_BTC(struct vcpu *v, const struct x86_insn *i) { bit_modify(v, i, bit_complement); }

/* Scans run on the whole 64-bit register, so that what the host leaves in it
 * for a zero source is what the guest gets. */
#define SCAN(insn, suffix, modifier, dest, src, flags) do { \
	uint32_t ax_ = flags_to_ax(flags); \
	asm(FLAGS_IN insn suffix " %" modifier "2, %" modifier "1\n\t" FLAGS_OUT \
	    : "+&a"(ax_), "+r"(dest) : "r"(src) : "cc"); \
	flags = flags_from_ax(ax_); } while (0)
#define SCAN_BY_SIZE(insn, size, dest, src, flags) do { \
	if ((size) == 8) SCAN(insn, "q", "", dest, src, flags); \
	else if ((size) == 4) SCAN(insn, "l", "k", dest, src, flags); \
	else SCAN(insn, "w", "w", dest, src, flags); } while (0)
#define OP_SCAN(name, insn) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ \
		uint64_t src = operand_get(v, i, 1), flags = v->cpu.rflags; \
		uint64_t dest = v->cpu.gpr[i->o[0].reg]; \
		SCAN_BY_SIZE(insn, i->o[0].size, dest, src, flags); \
		v->cpu.gpr[i->o[0].reg] = dest; \
		flags_set(v, flags, FL_STATUS); \
	}
OP_SCAN(BSF, "bsf")
OP_SCAN(BSR, "bsr")
OP_SCAN(TZCNT, "tzcnt")
OP_SCAN(LZCNT, "lzcnt")
OP_SCAN(POPCNT, "popcnt")

#define OP_BMI_UNARY(name, insn) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ \
		uint64_t src = operand_get(v, i, 1), flags = v->cpu.rflags, dest = 0; \
		if (i->o[0].size == 8) SCAN(insn, "q", "", dest, src, flags); \
		else SCAN(insn, "l", "k", dest, src, flags); \
		operand_set(v, i, 0, dest); \
		flags_set(v, flags, FL_STATUS); \
	}
OP_BMI_UNARY(BLSI, "blsi")
OP_BMI_UNARY(BLSMSK, "blsmsk")
OP_BMI_UNARY(BLSR, "blsr")

/* Three operands; `x`, `y` in the order of the AT&T syntax. */
#define BMI_BINARY(insn, suffix, modifier, dest, x, y, flags) do { \
	uint32_t ax_ = flags_to_ax(flags); \
	asm(FLAGS_IN insn suffix " %" modifier "2, %" modifier "3, %" modifier "1\n\t" FLAGS_OUT \
	    : "+&a"(ax_), "+r"(dest) : "r"(x), "r"(y) : "cc"); \
	flags = flags_from_ax(ax_); } while (0)
#define OP_BMI_BINARY(name, insn, first, second, which) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ \
		uint64_t x = operand_get(v, i, first), y = operand_get(v, i, second); \
		uint64_t flags = v->cpu.rflags, dest = 0; \
		if (i->o[0].size == 8) BMI_BINARY(insn, "q", "", dest, x, y, flags); \
		else BMI_BINARY(insn, "l", "k", dest, x, y, flags); \
		operand_set(v, i, 0, dest); \
		flags_set(v, flags, which); \
	}
OP_BMI_BINARY(ANDN, "andn", 2, 1, FL_STATUS)
OP_BMI_BINARY(BEXTR, "bextr", 2, 1, FL_STATUS)
OP_BMI_BINARY(BZHI, "bzhi", 2, 1, FL_STATUS)
OP_BMI_BINARY(PDEP, "pdep", 2, 1, 0)
OP_BMI_BINARY(PEXT, "pext", 2, 1, 0)

void op_CRC32(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t crc = v->cpu.gpr[i->o[0].reg], src = operand_get(v, i, 1);
	switch (i->o[1].size) {
	case 1: asm("crc32b %b1, %k0" : "+r"(crc) : "r"(src)); break;
	case 2: asm("crc32w %w1, %k0" : "+r"(crc) : "r"(src)); break;
	case 4: asm("crc32l %k1, %k0" : "+r"(crc) : "r"(src)); break;
	default: asm("crc32q %1, %0" : "+r"(crc) : "r"(src)); break;
	}
	v->cpu.gpr[i->o[0].reg] = (uint32_t)crc;
}
