/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two-operand and one-operand arithmetic and logic; INC DEC NEG NOT; ADX. */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

#define DEFINE_BINARY(name, insn, macro) \
	static always_inline uint64_t name(uint64_t a, uint64_t b, unsigned size, uint64_t *flags) \
	{ return BY_SIZE(size, macro, insn, a, b, flags); }
#define DEFINE_UNARY(name, insn) \
	static always_inline uint64_t name(uint64_t a, uint64_t b, unsigned size, uint64_t *flags) \
	{ return BY_SIZE(size, FLAGS_UNARY, insn, a, flags); }

DEFINE_BINARY(alu_add, "add", FLAGS_BINARY)
DEFINE_BINARY(alu_sub, "sub", FLAGS_BINARY)
DEFINE_BINARY(alu_and, "and", FLAGS_BINARY)
DEFINE_BINARY(alu_or, "or", FLAGS_BINARY)
DEFINE_BINARY(alu_xor, "xor", FLAGS_BINARY)
DEFINE_BINARY(alu_test, "test", FLAGS_BINARY)
DEFINE_BINARY(alu_adc, "adc", FLAGS_BINARY_IN)
DEFINE_BINARY(alu_sbb, "sbb", FLAGS_BINARY_IN)
DEFINE_UNARY(alu_inc, "inc")
DEFINE_UNARY(alu_dec, "dec")
DEFINE_UNARY(alu_neg, "neg")
DEFINE_UNARY(alu_not, "not")

#define OP_RMW(name, fn, which) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ flags_set(v, rmw_operand(v, i, operand_get(v, i, 1), fn), which); }
#define OP_RMW1(name, fn, which) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ flags_set(v, rmw_operand(v, i, 0, fn), which); }
#define OP_COMPARE(name, fn) \
	void op_##name(struct vcpu *v, const struct x86_insn *i) \
	{ \
		uint64_t flags = v->cpu.rflags; \
		fn(operand_get(v, i, 0), operand_get(v, i, 1), i->o[0].size, &flags); \
		flags_set(v, flags, FL_STATUS); \
	}

OP_RMW(ADD, alu_add, FL_STATUS)
OP_RMW(ADC, alu_adc, FL_STATUS)
OP_RMW(SUB, alu_sub, FL_STATUS)
OP_RMW(SBB, alu_sbb, FL_STATUS)
OP_RMW(AND, alu_and, FL_STATUS)
OP_RMW(OR, alu_or, FL_STATUS)
OP_RMW(XOR, alu_xor, FL_STATUS)
OP_COMPARE(CMP, alu_sub)
OP_COMPARE(TEST, alu_test)
OP_RMW1(INC, alu_inc, FL_STATUS)
OP_RMW1(DEC, alu_dec, FL_STATUS)
OP_RMW1(NEG, alu_neg, FL_STATUS)
OP_RMW1(NOT, alu_not, 0)

/* ADCX and ADOX: one flag in and out, the others as they were. */
static uint64_t add_with(struct vcpu *v, const struct x86_insn *i, bool carry, bool *out)
{
	unsigned __int128 sum = (unsigned __int128)operand_get(v, i, 0) + operand_get(v, i, 1) + carry;
	*out = sum >> (i->o[0].size * 8) & 1;
	return (uint64_t)sum;
}

void op_ADCX(struct vcpu *v, const struct x86_insn *i)
{
	bool carry;
	operand_set(v, i, 0, add_with(v, i, v->cpu.rflags & FL_CF, &carry));
	flags_set(v, carry ? FL_CF : 0, FL_CF);
}

void op_ADOX(struct vcpu *v, const struct x86_insn *i)
{
	bool carry;
	operand_set(v, i, 0, add_with(v, i, v->cpu.rflags & FL_OF, &carry));
	flags_set(v, carry ? FL_OF : 0, FL_OF);
}
