/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decimal adjustment, of 16- and 32-bit code: SDM 2A AAA..AAS, DAA, DAS. The
 * undefined flags are those of the last addition, as on Intel's processors. */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

/* SF ZF PF of AL, by the host. */
static uint64_t flags_of_byte(uint8_t al)
{
	uint64_t flags = 0;
	FLAGS_BINARY(uint8_t, "testb", al, al, &flags);
	return flags & (FL_SF | FL_ZF | FL_PF);
}

static void byte_result(struct vcpu *v, uint8_t al, bool af, bool cf)
{
	reg_set(&v->cpu, RAX, 1, al);
	flags_set(v, flags_of_byte(al) | (af ? FL_AF : 0) | (cf ? FL_CF : 0), FL_STATUS);
}

static void ascii_adjust(struct vcpu *v, int sign)
{
	struct x86_cpu *c = &v->cpu;
	bool adjust = (c->gpr[RAX] & 0xf) > 9 || c->rflags & FL_AF;
	uint16_t ax = (uint16_t)c->gpr[RAX];
	if (adjust)
		ax = (uint16_t)(ax + sign * 0x106);
	reg_set(c, RAX, 2, ax);
	byte_result(v, ax & 0xf, adjust, adjust);
}

void op_AAA(struct vcpu *v, const struct x86_insn *i) { ascii_adjust(v, 1); }
void op_AAS(struct vcpu *v, const struct x86_insn *i) { ascii_adjust(v, -1); }

void op_AAM(struct vcpu *v, const struct x86_insn *i)
{
	uint8_t al = (uint8_t)v->cpu.gpr[RAX], base = (uint8_t)i->imm;
	if (!base)
		cpu_raise(v, EXC_DE, false, 0);
	reg_set(&v->cpu, RAX, 2, (uint64_t)(al / base) << 8);
	byte_result(v, al % base, false, false);
}

void op_AAD(struct vcpu *v, const struct x86_insn *i)
{
	uint16_t ax = (uint16_t)v->cpu.gpr[RAX];
	uint64_t flags;
	reg_set(&v->cpu, RAX, 2, FLAGS_BINARY(uint8_t, "addb", ax, (ax >> 8) * (uint8_t)i->imm, &flags));
	flags_set(v, flags, FL_STATUS);
}

static void decimal_adjust(struct vcpu *v, int sign)
{
	struct x86_cpu *c = &v->cpu;
	uint8_t old = (uint8_t)c->gpr[RAX], al = old;
	bool cf = c->rflags & FL_CF, carry = cf;
	bool af = (old & 0xf) > 9 || c->rflags & FL_AF;
	if (af) {
		carry |= sign > 0 ? old > 0xff - 6 : old < 6;
		al = (uint8_t)(al + sign * 6);
	}
	if (old > 0x99 || cf) {
		al = (uint8_t)(al + sign * 0x60);
		carry = true;
	} else if (sign > 0) {
		carry = false;
	}
	byte_result(v, al, af, carry);
}

void op_DAA(struct vcpu *v, const struct x86_insn *i) { decimal_adjust(v, 1); }
void op_DAS(struct vcpu *v, const struct x86_insn *i) { decimal_adjust(v, -1); }
