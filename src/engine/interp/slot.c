/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots: any instruction through its handler, and the choice of a function for
 * an instruction.  64-bit and flat 32-bit code has functions of its own for the
 * common forms (slot_data.c, slot_flow.c).
 */
#include "engine/interp/slot_ops.h"

#include "engine/interp/ops.h"

static always_inline void enter_insn(struct vcpu *v, const struct islot *s, uint64_t start)
{
	v->insn_rip = start + s->offset;
	v->cpu.rip = v->insn_rip + s->insn.len;
	if (unlikely(!cpu_code64(&v->cpu)))
		v->cpu.rip = (uint32_t)v->cpu.rip;
}

const struct islot *slot_generic(struct vcpu *v, const struct islot *s)
{
	uint64_t start = v->insn_rip;
	enter_insn(v, s, start);
	interp_ops[s->insn.op](v, &s->insn);
	v->insn_rip = start;
	NEXT;
}

const struct islot *slot_last(struct vcpu *v, const struct islot *s)
{
	enter_insn(v, s, v->insn_rip);
	interp_ops[s->insn.op](v, &s->insn);
	return s + 1;
}

const struct islot *slot_stop(struct vcpu *v, const struct islot *s)
{
	v->cpu.rip = v->insn_rip + s->offset;
	if (unlikely(!cpu_code64(&v->cpu)))
		v->cpu.rip = (uint32_t)v->cpu.rip;
	return s;
}

static bool is_flow(unsigned op)
{
	return op == OP_PUSH || op == OP_POP || op == OP_JCC || op == OP_JMP || op == OP_JMP_IND ||
	       op == OP_CALL || op == OP_CALL_IND || op == OP_RET;
}

void slot_choose(struct islot *s, uint8_t kind, bool last)
{
	const struct x86_insn *i = &s->insn;
	unsigned size = kind & KIND_SIZE;
	bool flow = is_flow(i->op);
	slot_fn *special = NULL;
	s->mask = size_mask(flow ? size : i->addrsize);
	if ((kind == 8 || kind == (4 | KIND_FLAT)) && !(i->prefix & PFX_LOCK))
		special = !flow ? slot_data(i) : i->opsize == size ? slot_flow(i) : NULL;
	s->fn = special ? special : last ? slot_last : slot_generic;
}

/* Writable data that grows up, from 0 to 4 GiB. */
static bool is_flat(const struct x86_seg *s)
{
	return !s->base && s->limit == 0xffffffff &&
	       (s->attr & (SEG_UNUSABLE | SEG_CODE | SEG_E | SEG_W)) == SEG_W;
}

uint8_t code_kind(const struct x86_cpu *c)
{
	uint8_t kind = (uint8_t)cpu_code_size(c);
	if (cpu_real_mode(c) || cpu_vm86(c))
		return kind | KIND_REAL;
	if (kind == 4 && !c->seg[CS].base && c->seg[CS].limit == 0xffffffff && c->seg[SS].attr & SEG_DB &&
	    is_flat(&c->seg[SS]) && is_flat(&c->seg[DS]) && is_flat(&c->seg[ES]))
		kind |= KIND_FLAT;
	return kind;
}
