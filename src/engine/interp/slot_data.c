/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots that move and compute.  Operand size and addressing form are constants
 * of each function, so that the host's branch predictor meets few decisions.
 * FS, GS and page-crossing accesses are left to the handlers.
 */
#include "engine/interp/slot_ops.h"

static int addressing_of(const struct x86_insn *i)
{
	if (i->seg >= FS || i->seg == CS)
		return -1;
	if (i->base == X86_RIP)
		return RELATIVE;
	if (i->base == X86_NO_REG)
		return i->index == X86_NO_REG ? ABSOLUTE : -1;
	return i->index == X86_NO_REG ? BASE : INDEXED;
}

/* --- two operands ------------------------------------------------------------ */

enum form { RR, RI, RM, MR, MI };

static always_inline uint64_t do_mov(uint64_t a, uint64_t b, unsigned size, uint64_t *flags) { return b; }
static always_inline uint64_t do_add(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY, "add", a, b, flags); }
static always_inline uint64_t do_or(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY, "or", a, b, flags); }
static always_inline uint64_t do_and(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY, "and", a, b, flags); }
static always_inline uint64_t do_sub(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY, "sub", a, b, flags); }
static always_inline uint64_t do_adc(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY_IN, "adc", a, b, flags); }
static always_inline uint64_t do_sbb(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY_IN, "sbb", a, b, flags); }
static always_inline uint64_t do_xor(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ return BY_SIZE(size, FLAGS_BINARY, "xor", a, b, flags); }
static always_inline uint64_t do_cmp(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ BY_SIZE(size, FLAGS_BINARY, "cmp", a, b, flags); return a; }
static always_inline uint64_t do_test(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{ BY_SIZE(size, FLAGS_BINARY, "test", a, b, flags); return a; }

/* What an operation does beside computing. */
enum { READS = 1, WRITES = 2, FLAGS = 4 };
enum { MOV_does = WRITES, ADD_does = 7, OR_does = 7, AND_does = 7, SUB_does = 7, XOR_does = 7,
       ADC_does = 7, SBB_does = 7,
       CMP_does = READS | FLAGS, TEST_does = READS | FLAGS };

static always_inline const struct islot *binary(struct vcpu *v, const struct islot *s, rmw_fn *fn,
						unsigned does, unsigned size, enum form form,
						enum addressing addressing)
{
	const struct x86_insn *i = &s->insn;
	struct x86_cpu *c = &v->cpu;
	bool to_memory = form == MR || form == MI;
	uint64_t a = 0, b, flags = c->rflags;
	uint8_t *p = NULL;
	if (to_memory || form == RM) {
		p = slot_host(v, slot_address(v, s, addressing), size, to_memory && does & WRITES);
		if (unlikely(!p))
			return slot_generic(v, s);
	}
	b = form == RI || form == MI ? i->imm : form == RM ? host_load(p, size) :
	    reg_get(c, i->o[1].reg, size);
	if (does & READS)
		a = to_memory ? host_load(p, size) : reg_get(c, i->o[0].reg, size);
	a = fn(a, b, size, &flags);
	if (does & WRITES && to_memory)
		host_store(p, size, a);
	else if (does & WRITES)
		reg_set(c, i->o[0].reg, size, a);
	if (does & FLAGS)
		flags_set(v, flags, FL_STATUS);
	NEXT;
}

/* The slot functions of one operation and size: five forms, four addressings. */
#define BINARY(name, fn, size, form, addressing) \
	static const struct islot *name##_##size##_##form##_##addressing(struct vcpu *v, \
									 const struct islot *s) \
	{ return binary(v, s, fn, name##_does, size, form, addressing); }
#define BINARY_MEMORY(name, fn, size, form) \
	BINARY(name, fn, size, form, BASE) BINARY(name, fn, size, form, INDEXED) \
	BINARY(name, fn, size, form, RELATIVE) BINARY(name, fn, size, form, ABSOLUTE)
#define BINARY_SIZE(name, fn, size) \
	BINARY(name, fn, size, RR, BASE) BINARY(name, fn, size, RI, BASE) \
	BINARY_MEMORY(name, fn, size, RM) BINARY_MEMORY(name, fn, size, MR) \
	BINARY_MEMORY(name, fn, size, MI)
#define BINARY_OP(name, fn) \
	BINARY_SIZE(name, fn, 1) BINARY_SIZE(name, fn, 2) BINARY_SIZE(name, fn, 4) BINARY_SIZE(name, fn, 8)

#define BINARY_OPS(X) X(MOV, do_mov) X(ADD, do_add) X(OR, do_or) X(AND, do_and) X(SUB, do_sub) \
	X(ADC, do_adc) X(SBB, do_sbb) X(XOR, do_xor) X(CMP, do_cmp) X(TEST, do_test)
BINARY_OPS(BINARY_OP)

#define ROW_MEMORY(name, size, form) \
	{ name##_##size##_##form##_BASE, name##_##size##_##form##_INDEXED, \
	  name##_##size##_##form##_RELATIVE, name##_##size##_##form##_ABSOLUTE }
#define ROW_SIZE(name, size) { \
	{ name##_##size##_RR_BASE }, { name##_##size##_RI_BASE }, ROW_MEMORY(name, size, RM), \
	ROW_MEMORY(name, size, MR), ROW_MEMORY(name, size, MI) }
#define ROW_OP(name, fn) [OP_##name] = { ROW_SIZE(name, 1), ROW_SIZE(name, 2), ROW_SIZE(name, 4), \
	ROW_SIZE(name, 8) },
static slot_fn *const binary_slots[OP_COUNT][4][5][ADDRESSINGS] = { BINARY_OPS(ROW_OP) };

/* Index of a size in the tables. */
static unsigned size_log2(unsigned size) { return (unsigned)__builtin_ctz(size); }

static slot_fn *special_binary(const struct x86_insn *i)
{
	unsigned d = i->o[0].kind, b = i->o[1].kind;
	int form = d == OPK_GPR ? b == OPK_GPR ? RR : b == OPK_IMM ? RI : b == OPK_MEM ? RM : -1 :
		   d == OPK_MEM ? b == OPK_GPR ? MR : b == OPK_IMM ? MI : -1 : -1;
	int addressing = form > RI ? addressing_of(i) : BASE;
	if (i->nops != 2 || form < 0 || addressing < 0)
		return NULL;
	return binary_slots[i->op][size_log2(i->o[0].size)][form][addressing];
}

/* --- multiplication: two operands, or a register and an immediate -------------- */

static always_inline const struct islot *multiply(struct vcpu *v, const struct islot *s, unsigned size,
						  bool immediate)
{
	const struct x86_insn *i = &s->insn;
	uint64_t flags = v->cpu.rflags, a = reg_get(&v->cpu, i->o[immediate].reg, size);
	uint64_t b = immediate ? i->imm : reg_get(&v->cpu, i->o[1].reg, size);
	reg_set(&v->cpu, i->o[0].reg, size,
		BY_SIZE_NOT_BYTE(size, FLAGS_BINARY_IN, "imul", a, b, &flags));
	flags_set(v, flags, FL_STATUS);
	NEXT;
}

static const struct islot *imul_4(struct vcpu *v, const struct islot *s) { return multiply(v, s, 4, false); }
static const struct islot *imul_8(struct vcpu *v, const struct islot *s) { return multiply(v, s, 8, false); }
static const struct islot *imul3_4(struct vcpu *v, const struct islot *s) { return multiply(v, s, 4, true); }
static const struct islot *imul3_8(struct vcpu *v, const struct islot *s) { return multiply(v, s, 8, true); }

static slot_fn *special_multiply(const struct x86_insn *i)
{
	bool wide = i->o[0].size == 8;
	if (i->o[1].kind != OPK_GPR || i->o[0].size < 4)
		return NULL;
	return i->nops == 3 ? wide ? imul3_8 : imul3_4 : wide ? imul_8 : imul_4;
}

/* --- extensions -------------------------------------------------------------- */

static always_inline const struct islot *extend(struct vcpu *v, const struct islot *s, bool sign,
						unsigned from, bool memory, enum addressing addressing)
{
	const struct x86_insn *i = &s->insn;
	unsigned shift = 64 - from * 8;
	uint64_t value;
	if (memory) {
		uint8_t *p = slot_host(v, slot_address(v, s, addressing), from, false);
		if (unlikely(!p))
			return slot_generic(v, s);
		value = host_load(p, from);
	} else {
		value = reg_get(&v->cpu, i->o[1].reg, from);
	}
	if (sign)
		value = (uint64_t)((int64_t)(value << shift) >> shift);
	reg_set(&v->cpu, i->o[0].reg, i->o[0].size, value);
	NEXT;
}

#define EXTEND(name, sign, from, memory, addressing) \
	static const struct islot *name##_##from##_##memory##_##addressing(struct vcpu *v, \
									   const struct islot *s) \
	{ return extend(v, s, sign, from, memory, addressing); }
#define EXTEND_FROM(name, sign, from) \
	EXTEND(name, sign, from, 0, BASE) EXTEND(name, sign, from, 1, BASE) \
	EXTEND(name, sign, from, 1, INDEXED) EXTEND(name, sign, from, 1, RELATIVE) \
	EXTEND(name, sign, from, 1, ABSOLUTE)
EXTEND_FROM(zx, false, 1) EXTEND_FROM(zx, false, 2) EXTEND_FROM(zx, false, 4)
EXTEND_FROM(sx, true, 1) EXTEND_FROM(sx, true, 2) EXTEND_FROM(sx, true, 4)
#define EXTEND_ROW(name, from) { name##_##from##_1_BASE, name##_##from##_1_INDEXED, \
	name##_##from##_1_RELATIVE, name##_##from##_1_ABSOLUTE, name##_##from##_0_BASE }
static slot_fn *const extend_slots[2][3][ADDRESSINGS + 1] = {
	{ EXTEND_ROW(zx, 1), EXTEND_ROW(zx, 2), EXTEND_ROW(zx, 4) },
	{ EXTEND_ROW(sx, 1), EXTEND_ROW(sx, 2), EXTEND_ROW(sx, 4) },
};

static slot_fn *special_extend(const struct x86_insn *i)
{
	int addressing = i->o[1].kind == OPK_MEM ? addressing_of(i) : (int)ADDRESSINGS;
	if (addressing < 0 || i->o[1].size > 4)
		return NULL;
	return extend_slots[i->op == OP_MOVSX][size_log2(i->o[1].size)][addressing];
}

/* --- one register; addresses -------------------------------------------------- */

#define UNARY(name, mnemonic, keep) \
	static always_inline const struct islot *name(struct vcpu *v, const struct islot *s, unsigned size) \
	{ \
		uint64_t flags = v->cpu.rflags, a = reg_get(&v->cpu, s->insn.o[0].reg, size); \
		reg_set(&v->cpu, s->insn.o[0].reg, size, BY_SIZE(size, FLAGS_UNARY, mnemonic, a, &flags)); \
		flags_set(v, flags, FL_STATUS & ~(keep)); \
		NEXT; \
	} \
	static const struct islot *name##_4(struct vcpu *v, const struct islot *s) { return name(v, s, 4); } \
	static const struct islot *name##_8(struct vcpu *v, const struct islot *s) { return name(v, s, 8); }
UNARY(inc, "inc", FL_CF)
UNARY(dec, "dec", FL_CF)
UNARY(neg, "neg", 0)

/* By an immediate that is not zero, so the flags before do not matter. */
#define SHIFT(name, mnemonic) \
	static always_inline const struct islot *name(struct vcpu *v, const struct islot *s, unsigned size) \
	{ \
		uint64_t flags = 0, a = reg_get(&v->cpu, s->insn.o[0].reg, size); \
		a = BY_SIZE(size, FLAGS_SHIFT_OUT, mnemonic, a, s->insn.imm, &flags); \
		reg_set(&v->cpu, s->insn.o[0].reg, size, a); \
		flags_set(v, flags, FL_STATUS); \
		NEXT; \
	} \
	static const struct islot *name##_4(struct vcpu *v, const struct islot *s) { return name(v, s, 4); } \
	static const struct islot *name##_8(struct vcpu *v, const struct islot *s) { return name(v, s, 8); }
SHIFT(shl, "shl")
SHIFT(shr, "shr")
SHIFT(sar, "sar")

#define LEA(addressing) \
	static const struct islot *lea_##addressing(struct vcpu *v, const struct islot *s) \
	{ \
		reg_set(&v->cpu, s->insn.o[0].reg, s->insn.o[0].size, slot_address(v, s, addressing)); \
		NEXT; \
	}
LEA(BASE)
LEA(INDEXED)
LEA(RELATIVE)
LEA(ABSOLUTE)

static slot_fn *special_unary(const struct x86_insn *i, slot_fn *fn4, slot_fn *fn8)
{
	if (i->o[0].kind != OPK_GPR || i->o[0].size < 4)
		return NULL;
	return i->o[0].size == 8 ? fn8 : fn4;
}

static slot_fn *special_shift(const struct x86_insn *i, slot_fn *fn4, slot_fn *fn8)
{
	if (i->o[1].kind != OPK_IMM || !(i->imm & (i->o[0].size == 8 ? 63 : 31)))
		return NULL;
	return special_unary(i, fn4, fn8);
}

static slot_fn *special_lea(const struct x86_insn *i)
{
	static slot_fn *const lea[] = { lea_BASE, lea_INDEXED, lea_RELATIVE, lea_ABSOLUTE };
	/* a segment override means nothing to LEA, but is rare */
	int addressing = addressing_of(i);
	return addressing < 0 || i->o[0].size < 4 ? NULL : lea[addressing];
}

/* --- by condition --------------------------------------------------------------- */

#define CONDITIONAL(cc) \
	static const struct islot *cmov_##cc(struct vcpu *v, const struct islot *s) \
	{ \
		const struct x86_insn *i = &s->insn; \
		unsigned from = i->o[condition(v->cpu.rflags, cc)].reg; \
		reg_set(&v->cpu, i->o[0].reg, i->o[0].size, v->cpu.gpr[from]); \
		NEXT; \
	} \
	static const struct islot *setcc_##cc(struct vcpu *v, const struct islot *s) \
	{ \
		reg_set(&v->cpu, s->insn.o[0].reg, 1, condition(v->cpu.rflags, cc)); \
		NEXT; \
	}
CONDITIONS(CONDITIONAL)
#define CMOV_ROW(cc) cmov_##cc,
#define SETCC_ROW(cc) setcc_##cc,
static slot_fn *const cmov_slots[16] = { CONDITIONS(CMOV_ROW) };
static slot_fn *const setcc_slots[16] = { CONDITIONS(SETCC_ROW) };

static const struct islot *nop(struct vcpu *v, const struct islot *s)
{
	NEXT;
}

slot_fn *slot_data(const struct x86_insn *i)
{
	switch (i->op) {
	case OP_MOV: case OP_ADD: case OP_OR: case OP_ADC: case OP_SBB: case OP_AND: case OP_SUB:
	case OP_XOR: case OP_CMP: case OP_TEST:
		return special_binary(i);
	case OP_MOVZX: case OP_MOVSX:
		return special_extend(i);
	case OP_INC: return special_unary(i, inc_4, inc_8);
	case OP_DEC: return special_unary(i, dec_4, dec_8);
	case OP_NEG: return special_unary(i, neg_4, neg_8);
	case OP_SHL: return special_shift(i, shl_4, shl_8);
	case OP_SHR: return special_shift(i, shr_4, shr_8);
	case OP_SAR: return special_shift(i, sar_4, sar_8);
	case OP_IMUL2: return special_multiply(i);
	case OP_LEA: return special_lea(i);
	case OP_CMOVCC: return i->o[1].kind == OPK_GPR && i->o[0].size >= 4 ? cmov_slots[i->cond] : NULL;
	case OP_SETCC: return i->o[0].kind == OPK_GPR ? setcc_slots[i->cond] : NULL;
	case OP_NOP: return nop;
	default: return NULL;
	}
}
