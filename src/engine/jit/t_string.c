/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Templates: REP STOS and REP MOVS in 64-bit code, run by the host's own string
 * instruction where all of it lies in one page (of each side) and goes upwards;
 * what does not is the interpreter's.
 */
#include "engine/jit/trans.h"

enum { COUNT_MOST = 4096 };

/* Compare [reg, reg + RCX * size) with the TLB; S0 becomes the addend. */
static uint8_t *check_range(struct trans *t, unsigned reg, unsigned size, unsigned acc)
{
	emit_mov(&t->e, 8, S0, reg);
	emit_lea(&t->e, 8, S1, (struct emem){ .base = (uint8_t)reg, .index = RCX, .scale = (uint8_t)size, .disp = -1 });
	return tlb_compare(t, 0, acc);
}

static bool usable(const struct trans *t, const struct x86_insn *i)
{
	return t->size == 8 && i->prefix & PFX_REP && i->addrsize == 8 && !(t->key & KEY_AC) &&
	       !(i->prefix & PFX_SEG);
}

static unsigned checks(struct trans *t, const struct x86_insn *i, struct slow_path *slow[5])
{
	struct emit *e = &t->e;
	unsigned n = 0;

	flags_before_check(t);
	t->s0_group = -1;
	emit_rm(e, 1, 0, 0xf6, 0, EGS(OFF_CPU(rflags) + 1));     /* DF */
	emit8(e, FL_DF >> 8);
	slow[n++] = trans_slow(t, emit_jcc(e, CC_NE));
	emit_lea(e, 8, S0, EMEM(RCX, -1));
	emit_alu_imm(e, 8, ALU_CMP, S0, COUNT_MOST - 1);
	slow[n++] = trans_slow(t, emit_jcc(e, CC_A));            /* none, or too many */
	if (i->op == OP_MOVS) {
		slow[n++] = trans_slow(t, check_range(t, RSI, i->opsize, ACC_READ));
		emit_store(e, 8, EGS(OFF_HOT(HOT_TMP)), S0);
	}
	slow[n++] = trans_slow(t, check_range(t, RDI, i->opsize, ACC_WRITE));
	return n;
}

bool t_rep(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	struct slow_path *slow[5];
	unsigned n;

	if (!usable(t, i))
		return false;
	n = checks(t, i, slow);
	if (i->op == OP_MOVS)
		emit_alu_load(e, 8, ALU_ADD, RSI, EGS(OFF_HOT(HOT_TMP)));
	emit_alu(e, 8, ALU_ADD, RDI, S0);
	if (i->opsize == 2)
		emit8(e, 0x66);
	emit8(e, 0xf3);
	if (i->opsize == 8)
		emit8(e, 0x48);
	emit8(e, (i->op == OP_MOVS ? 0xa4 : 0xaa) | (i->opsize > 1));
	emit_alu(e, 8, ALU_SUB, RDI, S0);
	if (i->op == OP_MOVS)
		emit_alu_load(e, 8, ALU_SUB, RSI, EGS(OFF_HOT(HOT_TMP)));
	flags_after_op(t);
	while (n--)
		trans_resume(t, slow[n]);
	return true;
}
