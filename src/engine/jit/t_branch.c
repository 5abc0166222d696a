/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Templates: branches.  Return addresses on the guest's stack are the guest's.
 * Whatever leaves the page goes through the jump cache.
 */
#include "engine/jit/trans.h"

static bool full_size(const struct trans *t, const struct x86_insn *i)
{
	return i->opsize == t->size;
}

bool t_jmp(struct trans *t, const struct x86_insn *i)
{
	if (!full_size(t, i) && t->size != 8 && i->opsize == 2)
		return false;
	if (!t->live[t->cur])
		t->flags = FLAGS_DEAD;
	if (t->turns[t->cur]) {
		keep_scratch(t);
		return true;
	}
	trans_goto(t, jump_target(t, t->cur));
	t->ended = true;
	return true;
}

/* Flags that are put away stay there where a test of their byte tells: all conditions but
 * those that compare SF with OF. */
static unsigned condition(struct trans *t, const struct x86_insn *i)
{
	unsigned reads = t->use[t->cur].reads;
	bool overflow = reads == FL_OF;

	if (t->flags != FLAGS_SLOT || (reads & FL_OF && !overflow)) {
		flags_to_native(t, t->live[t->cur]);
		return i->cond;
	}
	emit_rm(&t->e, 1, 0, 0xf6, 0, EGS(OFF_HOT(HOT_FLAGS) + !overflow));    /* test */
	emit8(&t->e, overflow ? 1 : reads);
	return i->cond & 1 ? CC_E : CC_NE;
}

bool t_jcc(struct trans *t, const struct x86_insn *i)
{
	if (t->size != 8 && i->opsize == 2)
		return false;
	trans_goto_if(t, condition(t, i) ^ t->turns[t->cur], leave_target(t, t->cur));
	keep_scratch(t);
	if (!live_after(t))
		t->flags = FLAGS_DEAD;
	return true;
}

/* Push the address of the next instruction. */
static bool push_return(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	struct emem mem;

	if (trans_pairs(t))
		trans_before_call(t);
	stack_check(t, RSP, -(int)t->size, t->size, ACC_WRITE, &mem);
	if (is_fixed(t)) {
		emit_store_imm32(e, 8, mem, t->b->base + t->off[t->cur] + i->len);
	} else {
		trans_rip(t, S1, t->off[t->cur] + i->len);
		emit_store(e, t->size, mem, S1);
	}
	if (trans_pairs(t))
		return trans_host_call(t);
	add_to_rsp(t, -(int)t->size);
	return false;
}

/* The address it goes to is as far from the one it returns to as always. */
static void call_by_lookup(struct trans *t, const struct x86_insn *i, int64_t target)
{
	trans_before_lookup(t);
	push_return(t, i);
	emit_lea(&t->e, t->size == 8 ? 8 : 4, S0, EMEM(S1, target - (t->off[t->cur] + i->len)));
	trans_lookup(t, trans_rec(t));
}

bool t_call(struct trans *t, const struct x86_insn *i)
{
	int64_t target = jump_target(t, t->cur);

	if (!stack_ok(t) || !(t->size == 8 || full_size(t, i)))
		return false;
	if (trans_leaves_page(t, target)) {
		call_by_lookup(t, i, target);
	} else {
		if (!push_return(t, i))
			trans_goto(t, target);
	}
	t->ended = true;
	return true;
}

bool t_ret(struct trans *t, const struct x86_insn *i)
{
	int drop = (int)t->size + (i->nops ? (int)(uint16_t)i->imm : 0);
	struct emem mem;

	if (!stack_ok(t) || !(t->size == 8 || full_size(t, i)) || drop > INT16_MAX)
		return false;
	stack_check(t, RSP, 0, t->size, ACC_READ, &mem);
	mem.disp += t->rsp_lag;
	emit_load(&t->e, t->size, S0, mem);
	move_rsp(t, drop);
	uint32_t rec = trans_rec(t);
	rec_at(t->vm, rec)->undo_rsp = (int16_t)-drop;
	if (trans_pairs(t) && drop == 8)
		trans_return(t, rec);
	else
		trans_lookup(t, rec);
	t->ended = true;
	return true;
}

/* The target of an indirect branch into S1. false: not done here. */
static bool target_ok(const struct trans *t, const struct x86_insn *i)
{
	if (t->size != 8 && !full_size(t, i))
		return false;
	if (i->opsize == 2)
		return false;
	return i->o[0].kind == OPK_GPR || (i->o[0].kind == OPK_MEM && access_ok(t, i));
}

static void load_target(struct trans *t, const struct x86_insn *i, unsigned dst)
{
	struct emem mem;

	flags_before_check(t);
	if (i->o[0].kind == OPK_MEM) {
		access_check(t, i, ACC_READ, &mem);
		emit_load(&t->e, t->size, dst, mem);
	} else if (is_slot_reg(i->o[0].reg)) {
		emit_load(&t->e, 8, dst, slot_mem(i->o[0].reg));
	} else {
		emit_mov(&t->e, t->size, dst, i->o[0].reg);    /* the upper half of ECX may hold anything */
	}
}

bool t_jmp_ind(struct trans *t, const struct x86_insn *i)
{
	if (!target_ok(t, i))
		return false;
	load_target(t, i, S0);
	trans_lookup(t, trans_rec(t));
	t->ended = true;
	return true;
}

/* The target is in a register that the call leaves alone. */
static bool target_stays(const struct x86_insn *i) { return i->o[0].kind == OPK_GPR && i->o[0].reg != RSP; }

bool t_call_ind(struct trans *t, const struct x86_insn *i)
{
	if (!target_ok(t, i) || !stack_ok(t))
		return false;
	if (!target_stays(i)) {
		load_target(t, i, S1);
		emit_store(&t->e, 8, EGS(OFF_HOT(HOT_TMP)), S1);
	}
	push_return(t, i);
	if (target_stays(i))
		load_target(t, i, S0);
	else
		emit_load(&t->e, 8, S0, EGS(OFF_HOT(HOT_TMP)));
	uint32_t rec = trans_rec(t);
	rec_at(t->vm, rec)->undo_rsp = (int16_t)t->size;
	trans_lookup(t, rec);
	t->ended = true;
	return true;
}
