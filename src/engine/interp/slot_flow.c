/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slots of the stack and of near branches, in the size of the code that runs. */
#include "engine/interp/slot_ops.h"

/* --- stack: 8 bytes in 64-bit code, 4 in 32-bit code ----------------------------- */

static always_inline bool push(struct vcpu *v, const struct islot *s, uint64_t value, unsigned size)
{
	uint64_t sp = (v->cpu.gpr[RSP] - size) & s->mask;
	uint8_t *p = slot_host(v, sp, size, true);
	if (unlikely(!p))
		return false;
	host_store(p, size, value);
	v->cpu.gpr[RSP] = sp;
	return true;
}

#define STACK_SLOTS(size) \
	static const struct islot *push_reg_##size(struct vcpu *v, const struct islot *s) \
	{ \
		if (unlikely(!push(v, s, v->cpu.gpr[s->insn.o[0].reg], size))) \
			return slot_generic(v, s); \
		NEXT; \
	} \
	static const struct islot *push_imm_##size(struct vcpu *v, const struct islot *s) \
	{ \
		if (unlikely(!push(v, s, s->insn.imm, size))) \
			return slot_generic(v, s); \
		NEXT; \
	} \
	static const struct islot *pop_reg_##size(struct vcpu *v, const struct islot *s) \
	{ \
		const uint8_t *p = slot_host(v, v->cpu.gpr[RSP], size, false); \
		if (unlikely(!p)) \
			return slot_generic(v, s); \
		v->cpu.gpr[RSP] = (v->cpu.gpr[RSP] + size) & s->mask; \
		v->cpu.gpr[s->insn.o[0].reg] = host_load(p, size); \
		NEXT; \
	} \
	static const struct islot *call_rel_##size(struct vcpu *v, const struct islot *s) \
	{ \
		return call_to(v, s, next_rip(v, s) + s->insn.imm, size); \
	} \
	static const struct islot *call_reg_##size(struct vcpu *v, const struct islot *s) \
	{ \
		return call_to(v, s, v->cpu.gpr[s->insn.o[0].reg], size); \
	} \
	static const struct islot *ret_##size(struct vcpu *v, const struct islot *s) \
	{ \
		const uint8_t *p = slot_host(v, v->cpu.gpr[RSP], size, false); \
		if (unlikely(!p || !is_canonical(host_load(p, size)))) \
			return slot_last(v, s); \
		v->cpu.rip = host_load(p, size); \
		v->cpu.gpr[RSP] = (v->cpu.gpr[RSP] + size) & s->mask; \
		return s + 1; \
	}

/* --- branches: the last slot of a block ---------------------------------------- */

static always_inline uint64_t next_rip(const struct vcpu *v, const struct islot *s)
{
	return v->insn_rip + s->offset + s->insn.len;
}

static always_inline const struct islot *go(struct vcpu *v, const struct islot *s, uint64_t target)
{
	target &= s->mask;
	if (unlikely(!is_canonical(target)))
		return slot_last(v, s);
	v->cpu.rip = target;
	return s + 1;
}

static const struct islot *jmp_rel(struct vcpu *v, const struct islot *s)
{
	return go(v, s, next_rip(v, s) + s->insn.imm);
}

static const struct islot *jmp_reg(struct vcpu *v, const struct islot *s)
{
	return go(v, s, v->cpu.gpr[s->insn.o[0].reg]);
}

static always_inline const struct islot *call_to(struct vcpu *v, const struct islot *s, uint64_t target,
						 unsigned size)
{
	target &= s->mask;
	if (unlikely(!is_canonical(target) || !push(v, s, next_rip(v, s), size)))
		return slot_last(v, s);
	v->cpu.rip = target;
	return s + 1;
}

STACK_SLOTS(4)
STACK_SLOTS(8)

#define CONDITIONAL(cc) \
	static const struct islot *jcc_##cc(struct vcpu *v, const struct islot *s) \
	{ \
		uint64_t target = next_rip(v, s); \
		return go(v, s, condition(v->cpu.rflags, cc) ? target + s->insn.imm : target); \
	}
CONDITIONS(CONDITIONAL)
#define JCC_ROW(cc) jcc_##cc,
static slot_fn *const jcc_slots[16] = { CONDITIONS(JCC_ROW) };

#define WIDE(name) (i->opsize == 8 ? name##_8 : name##_4)

slot_fn *slot_flow(const struct x86_insn *i)
{
	bool reg = i->o[0].kind == OPK_GPR;
	switch (i->op) {
	case OP_PUSH: return reg ? WIDE(push_reg) : i->o[0].kind == OPK_IMM ? WIDE(push_imm) : NULL;
	case OP_POP: return reg ? WIDE(pop_reg) : NULL;
	case OP_JCC: return jcc_slots[i->cond];
	case OP_JMP: return jmp_rel;
	case OP_JMP_IND: return reg ? jmp_reg : NULL;
	case OP_CALL: return WIDE(call_rel);
	case OP_CALL_IND: return reg ? WIDE(call_reg) : NULL;
	case OP_RET: return i->nops ? NULL : WIDE(ret);
	default: return NULL;
	}
}
