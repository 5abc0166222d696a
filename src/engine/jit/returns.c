/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that the host makes, too: user code's CALL is one of the host's, and its RET one of
 * the host's, so that the CPU predicts by its own stack of return addresses where that goes.
 * As RSP is the guest's, what the host's CALL pushes goes to a table of the vCPU's, to the
 * place that the guest's RSP before the call chooses (struct returns), with the RIP that it
 * belongs to.  A RET whose RIP, from the guest's stack, is another than the one at
 * its place is looked up as ever: nothing has to match, and calls by other ways, or
 * stacks that are left, cost no more than that.
 *
 * An entry holds as those of a jump cache do; the table is emptied at each flush of the TLB,
 * change of mode, and eviction.  A dropped block's landing stays, and its exit is unlinked.
 */
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/jit/memo.h"
#include "engine/jit/trans.h"

#ifndef ARCH_SHSTK_STATUS
enum { ARCH_SHSTK_STATUS = 0x5005 };
#endif

/* Stacks of the host's that watch its returns would not find some of their calls. */
bool returns_allowed(void)
{
	uint64_t on = 0;

	return syscall(SYS_arch_prctl, ARCH_SHSTK_STATUS, &on) || !on;
}

static void empty(struct vcpu *v, struct returns *r)
{
	for (unsigned n = 0; n < RETURNS; n++)
		r->rip[n] = near_of(v)->none;
}

void returns_reset(struct vcpu *v) { empty(v, &near_of(v)->returns[0]); }

void returns_create(struct vcpu *v)
{
	v->hot[HOT_CALLS] = (uintptr_t)&near_of(v)->returns[0].code[1];
	returns_reset(v);
	empty(v, &near_of(v)->returns[1]);
}

void returns_select(struct vcpu *v)
{
	uintptr_t code = (uintptr_t)near_of(v)->returns[0].code;
	struct jit_vcpu *j = jit_of(v);

	if (j->returns_flushes != v->mmu->flushes || j->returns_key != j->key)
		returns_reset(v);
	j->returns_flushes = v->mmu->flushes;
	j->returns_key = j->key;
	if (v->hot[HOT_RETURNS] != code)
		__atomic_exchange_n(&v->hot[HOT_RETURNS], code, __ATOMIC_SEQ_CST);
}

void returns_kick(struct vcpu *v)
{
	__atomic_store_n(&v->hot[HOT_RETURNS], (uintptr_t)near_of(v)->returns[1].code, __ATOMIC_SEQ_CST);
}

/* --- calls */

bool trans_pairs(const struct trans *t) { return t->key & KEY_USER && t->vm->pairs && !t->vm->verify; }

void emit_call_entry(struct trans *t)
{
	emit_mov(&t->e, 8, RSP, S0);
	emit_mov(&t->e, 8, S0, S1);
}

/* Returns lead out of a loop of calls that goes forward; one that goes back asks itself. */
void trans_before_call(struct trans *t)
{
	const struct x86_insn *i = &t->insns[t->cur];

	flags_before_check(t);
	if (i->op != OP_CALL || !in_reach(t, jump_target(t, t->cur)) || jump_target(t, t->cur) > t->off[t->cur])
		return;
	emit_poll(t, t->off[t->cur], 0)->slot = true;
}

/* RSP := where the host's CALL pushes to; S0: the guest's behind its own. */
static void enter_return(struct trans *t, int64_t back)
{
	struct emit *e = &t->e;

	emit_lea(e, 8, S0, EMEM(RSP, -8));
	emit_alu_imm(e, 4, ALU_AND, RSP, RETURNS_MASK);
	emit_alu_load(e, 8, ALU_ADD, RSP, EGS(OFF_HOT(HOT_CALLS)));
	if (is_fixed(t))
		emit_store_imm32(e, 8, EMEM(RSP, CALL_RIP), (int32_t)(t->b->base + back));
	else
		emit_store(e, 8, EMEM(RSP, CALL_RIP), S1);
}

/* Behind the host's CALL: RSP is in S1, RIP in S0, flags are in HOT_FLAGS. */
static void landing(struct trans *t, int64_t back)
{
	struct emit *e = &t->e;
	enum flags_at flags = t->flags;

	emit_mov(e, 8, RSP, S1);
	t->flags = FLAGS_SLOT;
	if (in_reach(t, back)) {
		struct exit_path *p = new_exit(t, back);
		p->landing = t->vm->exits[p->exit].landing = true;
		emit_align_patch(e, 1);
		p->from = emit_jmp(e);
		set_patch(t, p);
	} else if (is_far(t, back)) {
		goto_far(t, back);
	} else {
		trans_lookup(t, trans_rec(t));
	}
	t->flags = flags;
}

static struct exit_path *call_exit(struct trans *t, struct exit_path *p)
{
	p->call = t->vm->exits[p->exit].call = true;
	return p;
}

static struct exit_path *guarded_exit(struct trans *t, int64_t target)
{
	struct exit_path *p = call_exit(t, far_exit(t, target));
	struct emit *e = &t->e;

	t->vm->exits[p->exit].guarded = true;
	emit_align_guarded_call(e);
	emit_guard(e);
	p->guarded = emit_jcc_here(e, CC_NE);
	return p;
}

/* To where its exit is linked to, the entry for calls of a block. */
static void direct_call(struct trans *t, int64_t back, int64_t target)
{
	struct emit *e = &t->e;
	struct exit_path *p;

	if (is_fixed(t))
		emit_mov_imm(e, S1, (uint64_t)(t->b->base + target));
	else
		emit_lea(e, 8, S1, EMEM(S1, target - back));
	if (in_reach(t, target)) {
		p = call_exit(t, new_exit(t, target));
		emit_align_patch(e, 1);
	} else {
		p = guarded_exit(t, target);
	}
	p->from = emit_call(e);
	set_patch(t, p);
	p->landed = emit_here(e);
}

bool trans_host_call(struct trans *t)
{
	const struct x86_insn *i = &t->insns[t->cur];
	int64_t back = t->off[t->cur] + i->len, target = jump_target(t, t->cur);

	enter_return(t, back);
	if (i->op == OP_CALL && (in_reach(t, target) || is_far(t, target))) {
		direct_call(t, back, target);
		landing(t, back);
		return true;
	}
	uint8_t *call = emit_call(&t->e);
	landing(t, back);
	emit_bind(&t->e, call);
	emit_mov(&t->e, 8, RSP, S0);
	return false;
}

void emit_call_exit(struct trans *t, const struct exit_path *p)
{
	struct emit *e = &t->e;

	if (p->guarded) {                            /* not in this epoch */
		emit_bind(e, p->guarded);
		emit_second_guard(t, p->from - 1);
		uint8_t *call = emit_call(e);
		emit_jmp_to(e, p->landed);
		emit_bind(e, call);
	}
	t->vm->exits[p->exit].stub = (uint16_t)((uint32_t)(e->p - t->vm->rw) - t->b->cold);
	emit_bind(e, p->from);
	emit_mov(e, 8, RSP, S0);
	if (p->guarded)
		emit_mov(e, 8, S0, S1);
	emit_mov_imm(e, p->guarded ? S1 : S0, p->exit);
	emit_jmp_to(e, t->vm->stub[p->guarded ? STUB_GUARDED : STUB_CALLED]);
}

/* --- returns */

/* S0: RIP. The host's RET, or a jump for when its place is another's; RSP is in S1 then. */
static uint8_t *emit_return(struct emit *e)
{
	emit_mov(e, 8, S1, RSP);
	emit_alu_imm(e, 4, ALU_AND, RSP, RETURNS_MASK);
	emit_alu_load(e, 8, ALU_ADD, RSP, EGS(OFF_HOT(HOT_RETURNS)));
	emit_in_line(e, 8 + 6);
	emit_alu_load(e, 8, ALU_CMP, S0, EMEM(RSP, RETURN_RIP));
	uint8_t *other = emit_jcc(e, CC_NE);
	emit8(e, 0xc3);
	return other;
}

void trans_return(struct trans *t, uint32_t rec)
{
	struct emit *e = &t->e;

	if (t->counted) {
		emit_mov_imm(e, S1, rec);
		emit_jmp_to(e, t->vm->stub[t->flags == FLAGS_NATIVE ? STUB_RETURN_NATIVE : STUB_RETURN]);
		return;
	}
	flags_to_slot(t, FL_STATUS);
	struct lookup_tail *l = &t->lookups[t->nlookups++];
	*l = (struct lookup_tail) { .from = emit_return(e), .rec = rec, .ret = true };
}

void return_tail(struct trans *t, const struct lookup_tail *l)
{
	emit_mov(&t->e, 8, RSP, S1);
	emit_mov_imm(&t->e, S1, l->rec);
	emit_jmp_to(&t->e, t->vm->stub[STUB_SEARCH]);
}

void return_stub(struct emit *e, const struct jit_vm *vm, bool native)
{
	emit_store(e, 8, EGS(OFF_HOT(HOT_TMP)), S1);
	if (native)
		emit_save_flags(e, FL_STATUS);
	uint8_t *other = emit_return(e);
	emit_bind(e, other);
	emit_mov(e, 8, RSP, S1);
	emit_load(e, 8, S1, EGS(OFF_HOT(HOT_TMP)));
	emit_jmp_to(e, vm->stub[STUB_SEARCH]);
}
