/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiplication and division by the host's instructions.  What would raise #DE
 * is found before, by wide arithmetic.
 */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

/* One-operand forms: rDX:rAX in and out, flags in and out. */
#define WIDE_FORM(name, type, mov, a, insn) \
	static void name(uint64_t *lo, uint64_t *hi, uint64_t src, uint64_t *flags) \
	{ \
		type l = (type)*lo, h = (type)*hi; \
		uint64_t ax = flags_to_ax(*flags); \
		asm("movq %2, %%rax\n\t" FLAGS_IN mov " %0, %%" a "\n\t" insn "\n\t" \
		    mov " %%" a ", %0\n\t" FLAGS_OUT "\n\tmovq %%rax, %2" \
		    : "+&S"(l), "+&d"(h), "+&c"(ax) : "D"(src) : "rax", "cc"); \
		*lo = l; \
		*hi = h; \
		*flags = flags_from_ax((uint32_t)ax); \
	}
/* The byte form has all of it in AX. */
#define WIDE_FORMS(name, insn) \
	WIDE_FORM(name##8, uint16_t, "movw", "ax", insn "b %b3") \
	WIDE_FORM(name##16, uint16_t, "movw", "ax", insn "w %w3") \
	WIDE_FORM(name##32, uint32_t, "movl", "eax", insn "l %k3") \
	WIDE_FORM(name##64, uint64_t, "movq", "rax", insn "q %q3") \
	static void name(unsigned size, uint64_t *lo, uint64_t *hi, uint64_t src, uint64_t *flags) \
	{ \
		switch (size) { \
		case 1: name##8(lo, hi, src, flags); break; \
		case 2: name##16(lo, hi, src, flags); break; \
		case 4: name##32(lo, hi, src, flags); break; \
		default: name##64(lo, hi, src, flags); break; \
		} \
	}
WIDE_FORMS(wide_mul, "mul")
WIDE_FORMS(wide_imul, "imul")
WIDE_FORMS(wide_div, "div")
WIDE_FORMS(wide_idiv, "idiv")

typedef void wide_fn(unsigned size, uint64_t *lo, uint64_t *hi, uint64_t src, uint64_t *flags);

static always_inline void wide_op(struct vcpu *v, unsigned size, uint64_t src, wide_fn *fn)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lo = c->gpr[RAX], hi = c->gpr[RDX], flags = c->rflags;
	fn(size, &lo, &hi, src, &flags);
	reg_set(c, RAX, size == 1 ? 2 : size, lo);
	if (size > 1)
		reg_set(c, RDX, size, hi);
	flags_set(v, flags, FL_STATUS);
}

void op_MUL(struct vcpu *v, const struct x86_insn *i)
{
	wide_op(v, i->o[0].size, operand_get(v, i, 0), wide_mul);
}

void op_IMUL1(struct vcpu *v, const struct x86_insn *i)
{
	wide_op(v, i->o[0].size, operand_get(v, i, 0), wide_imul);
}

/* The dividend as an unsigned number of 2 * size bytes. */
static unsigned __int128 dividend(const struct x86_cpu *c, unsigned size)
{
	if (size == 1)
		return (uint16_t)c->gpr[RAX];
	return (unsigned __int128)reg_get(c, RDX, size) << (size * 8) | reg_get(c, RAX, size);
}

void op_DIV(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->o[0].size;
	uint64_t src = operand_get(v, i, 0);
	/* overflow exactly if the high half is not below the divisor */
	if (src <= (uint64_t)(dividend(&v->cpu, size) >> (size * 8)))
		cpu_raise(v, EXC_DE, false, 0);
	wide_op(v, size, src, wide_div);
}

static __int128 sign_extend(unsigned __int128 value, unsigned bits)
{
	return (__int128)(value << (128 - bits)) >> (128 - bits);
}

static bool idiv_fits(__int128 n, int64_t d, unsigned bits)
{
	if (d == 0 || (d == -1 && n == (__int128)((unsigned __int128)1 << 127)))
		return false;
	__int128 q = n / d;
	return q == sign_extend((unsigned __int128)q, bits);
}

void op_IDIV(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->o[0].size;
	uint64_t src = operand_get(v, i, 0);
	__int128 n = sign_extend(dividend(&v->cpu, size), size * 16);
	if (!idiv_fits(n, (int64_t)sign_extend(src, size * 8), size * 8))
		cpu_raise(v, EXC_DE, false, 0);
	wide_op(v, size, src, wide_idiv);
}

/* Two operands, and three (the third an immediate). */
void op_IMUL2(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t flags = v->cpu.rflags, r;
	uint64_t a = operand_get(v, i, i->nops - 2u), b = operand_get(v, i, i->nops - 1u);
	r = BY_SIZE_NOT_BYTE(i->o[0].size, FLAGS_BINARY_IN, "imul", a, b, &flags);
	operand_set(v, i, 0, r);
	flags_set(v, flags, FL_STATUS);
}

/* o[0] high half, o[1] low half, o[2] source; the other factor is rDX. If both
 * are one register it gets the high half. */
void op_MULX(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->o[0].size;
	unsigned __int128 p = (unsigned __int128)reg_get(&v->cpu, RDX, size) * operand_get(v, i, 2);
	operand_set(v, i, 1, (uint64_t)p);
	operand_set(v, i, 0, (uint64_t)(p >> (size * 8)));
}
