/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Templates: SSE and AVX run as they are, on host registers that hold the
 * guest's state once STUB_LOAD_VEC has brought it in.  Whether they may run at
 * all (#NM, #UD, unmasked exceptions) is part of the block's key.
 */
#include "engine/jit/trans.h"

static bool available(const struct trans *t, const struct x86_insn *i)
{
	if (i->prefix & PFX_VEX)
		return t->key & KEY_AVX && t->vm->avx;
	return t->key & KEY_SSE;
}

static void make_resident(struct trans *t)
{
	struct emit *e = &t->e;

	if (t->vec)
		return;
	flags_before_check(t);
	emit_alu_mem_imm(e, 4, ALU_CMP, EGS(OFF_HOT(HOT_VEC)), 0);
	uint8_t *from = emit_jcc(e, CC_E);
	if (t->nvecs == ARRAY_SIZE(t->vecs))
		e->full = true;
	else
		t->vecs[t->nvecs++] = (struct vec_path) { .from = from, .resume = emit_here(e) };
	t->vec = true;
	t->s0_group = -1;
	lose_s1(t);
}

/* The general register among the operands, if any. */
static const struct x86_operand *general(const struct x86_insn *i)
{
	if (i->vform & (VEC_GPR_REG | VEC_GPR_RM))
		for (unsigned n = 0; n < i->nops; n++)
			if (i->o[n].kind == OPK_GPR)
				return &i->o[n];
	return NULL;
}

bool t_vec(struct trans *t, const struct x86_insn *i)
{
	const struct x86_operand *g = general(i), *m = NULL;
	struct recode r = { .from = EREG_NONE, .to = S1,
			    .reg_is_vec = !(i->vform & VEC_GPR_REG), .rm_is_vec = !(i->vform & VEC_GPR_RM) };
	struct slow_path *slow = NULL;
	struct emem mem;

	for (unsigned n = 0; n < i->nops; n++)
		if (i->o[n].kind == OPK_MEM)
			m = &i->o[n];
	if (!available(t, i) || i->vform & VEC_MMX || (m && (!access_ok(t, i) || !i->has_modrm)))
		return false;
	if ((i->op == OP_VZEROUPPER || i->op == OP_VZEROALL) && t->size != 8)
		return false;
	make_resident(t);
	bool slot = g && is_slot_reg(g->reg);
	t->s1_safe = true;
	t->s1_free = !slot && t->flags != FLAGS_SLOT;
	if (m) {
		slow = access_check(t, i, m->access & OPA_W ? ACC_WRITE : ACC_READ, &mem);
		r.mem = &mem;
	}
	flags_before_op(t);
	if (slot) {
		r.from = g->reg;
		slot_load(t, g->reg, S1);
	}
	emit_insn(t, i, &r);
	if (r.from != EREG_NONE && g->access & OPA_W)
		slot_store(t, g->reg, S1);
	flags_after_op(t);
	if (!m)
		t->s0_next = t->s0_group;
	keep_s1(t);
	trans_resume(t, slow);
	return true;
}
