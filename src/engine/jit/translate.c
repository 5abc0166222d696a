/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building a block: decode up to its end, find out which flags live, write each
 * instruction by its template (or hand it to the interpreter), then the
 * out-of-line parts.  A block follows the fall-through of conditional branches
 * and ends at any other branch, at what may change the mode, at its page's end.
 *
 * requires everywhere: vm->lock
 */
#include "engine/jit/memo.h"
#include "engine/jit/trans.h"

typedef bool template_fn(struct trans *t, const struct x86_insn *i);

static template_fn *const templates[OP_COUNT] = {
	[OP_ADD] = t_copy, [OP_ADC] = t_copy, [OP_SUB] = t_copy, [OP_SBB] = t_copy,
	[OP_AND] = t_copy, [OP_OR] = t_copy, [OP_XOR] = t_copy, [OP_CMP] = t_copy,
	[OP_TEST] = t_copy, [OP_INC] = t_copy, [OP_DEC] = t_copy, [OP_NEG] = t_copy,
	[OP_NOT] = t_copy, [OP_MUL] = t_copy, [OP_IMUL1] = t_copy, [OP_IMUL2] = t_copy,
	[OP_DIV] = t_div, [OP_IDIV] = t_div,
	[OP_ROL] = t_copy, [OP_ROR] = t_copy, [OP_RCL] = t_copy, [OP_RCR] = t_copy,
	[OP_SHL] = t_copy, [OP_SHR] = t_copy, [OP_SAR] = t_copy, [OP_SHLD] = t_copy,
	[OP_SHRD] = t_copy, [OP_BT] = t_bit, [OP_BTS] = t_bit, [OP_BTR] = t_bit, [OP_BTC] = t_bit,
	[OP_BSF] = t_copy, [OP_BSR] = t_copy, [OP_TZCNT] = t_copy, [OP_LZCNT] = t_copy,
	[OP_POPCNT] = t_copy, [OP_ANDN] = t_copy, [OP_BLSI] = t_copy, [OP_BLSMSK] = t_copy,
	[OP_BLSR] = t_copy, [OP_BEXTR] = t_copy, [OP_BZHI] = t_copy, [OP_MULX] = t_copy,
	[OP_PDEP] = t_copy, [OP_PEXT] = t_copy, [OP_RORX] = t_copy, [OP_SARX] = t_copy,
	[OP_SHLX] = t_copy, [OP_SHRX] = t_copy, [OP_ADCX] = t_copy, [OP_ADOX] = t_copy,
	[OP_CRC32] = t_copy, [OP_MOV] = t_copy, [OP_MOVZX] = t_copy, [OP_MOVSX] = t_copy,
	[OP_MOVBE] = t_copy, [OP_LEA] = t_lea, [OP_XCHG] = t_copy, [OP_BSWAP] = t_copy,
	[OP_CMPXCHG] = t_copy, [OP_CMPXCHG8B] = t_copy, [OP_CMPXCHG16B] = t_copy,
	[OP_XADD] = t_copy, [OP_CMOVCC] = t_copy, [OP_SETCC] = t_copy, [OP_CBW] = t_copy,
	[OP_CWD] = t_copy, [OP_MOVNTI] = t_copy, [OP_LAHF] = t_copy, [OP_SAHF] = t_copy,
	[OP_CLC] = t_copy, [OP_STC] = t_copy, [OP_CMC] = t_copy,
	[OP_PUSH] = t_push, [OP_POP] = t_pop, [OP_LEAVE] = t_leave,
	[OP_JMP] = t_jmp, [OP_JCC] = t_jcc, [OP_CALL] = t_call, [OP_RET] = t_ret,
	[OP_JMP_IND] = t_jmp_ind, [OP_CALL_IND] = t_call_ind,
	[OP_NOP] = t_nop, [OP_PAUSE] = t_nop, [OP_FENCE] = t_fence, [OP_CLFLUSH] = NULL,
	[OP_STOS] = t_rep, [OP_MOVS] = t_rep,
	[OP_CLI] = t_cli, [OP_STI] = t_sti, [OP_SWAPGS] = t_swapgs, [OP_PUSHF] = t_pushf,
	[OP_CLD] = t_direction, [OP_STD] = t_direction, [OP_STAC] = t_ac, [OP_CLAC] = t_ac,
	[OP_MOV_SREG_STORE] = t_mov_from_sreg, [OP_MOV_FROM_CR] = t_mov_from_cr,
	[OP_RDTSC] = t_rdtsc, [OP_RDTSCP] = t_rdtsc, [OP_RDFSBASE] = t_read_base, [OP_RDGSBASE] = t_read_base,
	[OP_WRFSBASE] = t_write_base, [OP_WRGSBASE] = t_write_base,
	[OP_VEC] = t_vec, [OP_VEC_FLAGS] = t_vec, [OP_VZEROUPPER] = t_vec, [OP_VZEROALL] = t_vec,
};

/* --- pieces the templates use */

bool trans_has_template(const struct x86_insn *i) { return templates[i->op]; }

uint32_t trans_rec(struct trans *t)
{
	struct jit_vm *vm = t->vm;
	const struct x86_insn *i = &t->insns[t->cur];
	uint32_t rec = vm->rec_words;
	struct jit_rec *r = rec_at(vm, rec);

	if (rec + REC_WORDS_MOST > vm->recs_end) {
		t->e.full = true;
		return 0;
	}
	*r = (struct jit_rec) { .block = block_index(vm, t->b), .len = i->len & 15, .off = t->off[t->cur] };
	memcpy(r->bytes, i->bytes, i->len);
	vm->rec_words += (uint32_t)((sizeof(*r) + i->len + 3) / 4);
	return rec;
}

struct slow_path *trans_slow(struct trans *t, uint8_t *from)
{
	struct slow_path *s = &t->slow[t->nslow];

	if (t->nslow + 1 < ARRAY_SIZE(t->slow))
		t->nslow++;
	*s = (struct slow_path) { .from = from, .rec = trans_rec(t) };
	return s;
}

void trans_resume(struct trans *t, struct slow_path *s)
{
	if (!s || groups_live(t))
		return;
	s->resume = emit_here(&t->e);
	s->restore_flags = t->flags == FLAGS_NATIVE ? live_after(t) : 0;
	s->load_vec = t->vec;
	s->s0 = t->s0_next;
	s->s1 = t->s1_next;
}

void flags_to_slot(struct trans *t, unsigned live)
{
	if (t->flags == FLAGS_NATIVE) {
		if (live != FL_CF)
			lose_s1(t);
		emit_save_flags(&t->e, live);
		t->flags = FLAGS_SLOT;
	}
}

void flags_to_native(struct trans *t, unsigned live)
{
	if (t->flags == FLAGS_SLOT) {
		lose_s1(t);
		emit_restore_flags(&t->e, live);
		t->flags = FLAGS_NATIVE;
	}
}

void flags_before_check(struct trans *t)
{
	if (!t->live[t->cur])
		t->flags = FLAGS_DEAD;
	else
		flags_to_slot(t, t->live[t->cur]);
}

/* What it reads, or keeps while it changes others. CF by itself is fetched for the
 * operation only (ADC, DEC): the others stay where they are until it has changed them. */
void flags_before_op(struct trans *t)
{
	const struct flag_use *u = &t->use[t->cur];
	unsigned kept = u->changes ? live_after(t) & ~(unsigned)u->writes : 0, needed = u->reads | kept;

	if (needed == FL_CF && t->flags == FLAGS_SLOT) {
		lose_s1(t);
		emit_restore_flags(&t->e, FL_CF);
	} else if (needed) {
		flags_to_native(t, t->live[t->cur]);
	}
}

void flags_after_op(struct trans *t)
{
	if (!live_after(t))
		t->flags = FLAGS_DEAD;
	else if (t->use[t->cur].changes)
		t->flags = FLAGS_NATIVE;
}

/* Ends a block besides branches: may change what the block was made for. */
static bool ends_block(const struct x86_insn *i, uint32_t key)
{
	switch (i->op) {
	case OP_STI:
		return !(key & KEY_KERNEL);
	case OP_STAC: case OP_CLAC:
		return !(key & KEY_SMAP);
	case OP_JCC:
	case OP_PUSHF: case OP_CLI: case OP_IN: case OP_RDMSR: case OP_RDTSC: case OP_RDTSCP:
	case OP_RDPMC: case OP_RDPID: case OP_CPUID: case OP_RDFSBASE: case OP_RDGSBASE:
	case OP_MOV_FROM_CR: case OP_MOV_FROM_DR: case OP_SMSW: case OP_SGDT: case OP_SIDT:
	case OP_SLDT: case OP_STR: case OP_VERR: case OP_VERW: case OP_LAR: case OP_LSL:
	case OP_XGETBV: case OP_RDRAND: case OP_RDSEED: case OP_FXSAVE: case OP_XSAVE:
	case OP_XSAVEOPT: case OP_XSAVEC: case OP_WRFSBASE: case OP_WRGSBASE: case OP_SWAPGS:
		return false;
	case OP_LDMXCSR:
		return true;
	}
	return x86_op_info[i->op].props & (OPP_BRANCH | OPP_SYSTEM);
}

/* --- leaving the block */

struct exit_path *new_exit(struct trans *t, int64_t target)
{
	struct jit_vm *vm = t->vm;
	struct exit_path *p = &t->exits[t->nexits];

	if (vm->nexits + 1 >= vm->exits_end || t->nexits + 2 >= ARRAY_SIZE(t->exits)) {
		t->e.full = true;
		return p;
	}
	t->nexits++;
	*p = (struct exit_path) { .exit = vm->nexits++ };
	vm->exits[p->exit] = (struct jit_exit) { .block = block_index(vm, t->b), .target = (int32_t)target };
	t->b->nexits++;
	return p;
}

static uint32_t code_at(const struct trans *t) { return (uint32_t)(t->e.p - t->vm->rw); }

/* It can be linked: by the rel32 that p->from is. */
void set_patch(struct trans *t, const struct exit_path *p)
{
	if (!t->e.full)
		t->vm->exits[p->exit].patch = (uint32_t)(p->from - t->vm->rw);
}

void trans_alone(struct trans *t, uint8_t *from, struct memo_site *memo)
{
	struct exit_path *p = new_exit(t, t->off[t->cur]);

	p->from = from;
	p->memo = memo;
	p->alone = true;
	p->restore_flags = t->flags == FLAGS_SLOT ? t->live[t->cur] : 0;
	t->vm->exits[p->exit].alone = true;
}

/* Leave a loop if asked to; keeps flags that live at its head, by a jump over a short
 * distance: emit_poll_end() is due behind the branch that follows. */
struct exit_path *emit_poll(struct trans *t, int64_t target, unsigned live)
{
	struct emit *e = &t->e;
	struct exit_path *p = new_exit(t, target);

	p->poll = true;
	if (!live) {
		emit_alu_mem_imm(e, 4, ALU_CMP, EGS(OFF_HOT(HOT_GO)), 0);
		p->from = emit_jcc(e, CC_E);
		return p;
	}
	emit_mov(e, 8, S0, RCX);
	emit_load(e, 4, RCX, EGS(OFF_HOT(HOT_GO)));
	emit8(e, 0xe3);                              /* jrcxz */
	t->poll = p;
	t->poll_from = e->p;
	emit8(e, 0);
	emit_mov(e, 8, RCX, S0);
	return p;
}

static void emit_poll_end(struct trans *t)
{
	struct emit *e = &t->e;

	if (!t->poll)
		return;
	if (!e->full)
		*t->poll_from = (uint8_t)(e->p - (t->poll_from + 1));
	emit_mov(e, 8, RCX, S0);
	t->poll->from = emit_jmp(e);
	t->poll = NULL;
}

void emit_jump_slot(struct emit *e, enum hot_word jc)
{
	emit_rr(e, 4, 0, 0x69, S1, S0);              /* imul S1d, S0d, JC_FACTOR */
	emit32(e, JC_FACTOR);
	emit_shift_imm(e, 4, SHIFT_SHR, S1, JC_SHIFT);
	emit_alu_imm(e, 4, ALU_AND, S1, JC_MASK);
	emit_alu_load(e, 8, ALU_ADD, S1, EGS(OFF_HOT(jc)));
}

uint8_t *emit_lookup(struct emit *e, enum hot_word jc)
{
	emit_jump_slot(e, jc);
	emit_alu_load(e, 8, ALU_CMP, S0, EMEM(S1, offsetof(struct jump_entry, rip)));
	uint8_t *other = emit_jcc(e, CC_NE);
	emit_jmp_mem(e, EMEM(S1, offsetof(struct jump_entry, code)));
	return other;
}

/* Code that is not known to run often jumps to the one in the stubs: 11 bytes for 64. */
static void lookup_elsewhere(struct trans *t, uint32_t rec)
{
	bool kernel = t->key & KEY_KERNEL, native = t->flags == FLAGS_NATIVE;

	emit_mov_imm(&t->e, S1, rec);
	emit_jmp_to(&t->e, t->vm->stub[native ? kernel ? STUB_SEARCH_NATIVE_KERNEL : STUB_SEARCH_NATIVE
					      : kernel ? STUB_SEARCH_KERNEL : STUB_SEARCH]);
}

void trans_before_lookup(struct trans *t)
{
	if (!t->counted)
		flags_to_slot(t, FL_STATUS);
}

/* Uses S1. */
void trans_lookup(struct trans *t, uint32_t rec)
{
	if (t->counted) {
		lookup_elsewhere(t, rec);
		return;
	}
	struct lookup_tail *l = &t->lookups[t->nlookups++];

	flags_to_slot(t, FL_STATUS);
	*l = (struct lookup_tail) { .from = emit_lookup(&t->e, jc_word(t->key)), .rec = rec };
}

static void lookup_tail(struct trans *t, const struct lookup_tail *l)
{
	emit_bind(&t->e, l->from);
	if (l->ret) {
		return_tail(t, l);
		return;
	}
	emit_mov_imm(&t->e, S1, l->rec);
	emit_jmp_to(&t->e, t->vm->stub[t->key & KEY_KERNEL ? STUB_LOOKUP_OTHER_KERNEL : STUB_LOOKUP_OTHER]);
}

/* RIP of a page offset into a register. */
void trans_rip(struct trans *t, unsigned reg, int64_t off)
{
	if (is_fixed(t)) {
		emit_mov_imm(&t->e, reg, block_base(t->b) + (uint64_t)off);
		return;
	}
	emit_load(&t->e, 8, reg, EGS(OFF_HOT(HOT_RIPBASE)));
	emit_lea(&t->e, t->size == 8 ? 8 : 4, reg, EMEM(reg, off));
}

/* Can an exit to there be linked? Not from one page to code that runs over into
 * the next: such code holds only while two mappings do, which the jump cache knows. */
bool in_reach(const struct trans *t, int64_t target)
{
	const struct code *c = t->code;

	if (target < c->lo || target >= c->hi)
		return false;
	return c->page2 != PAGE_NONE || target < OVERRUN_FROM ||
	       !code_overruns(t->v, c, (unsigned)target, t->key);
}

/* Out of the page, to a constant address? */
bool is_far(const struct trans *t, int64_t target)
{
	int64_t rip = t->b->base + target;

	return is_fixed(t) && rip == (int32_t)rip;
}

bool trans_leaves_page(const struct trans *t, int64_t target) { return !is_fixed(t) && !in_reach(t, target); }

struct exit_path *far_exit(struct trans *t, int64_t target)
{
	struct exit_path *p = new_exit(t, target);
	struct jit_exit *x = &t->vm->exits[p->exit];

	p->far = true;
	p->save_flags = x->flags_native = t->flags == FLAGS_NATIVE;
	x->far = true;
	x->target = (int32_t)(t->b->base + target);
	return p;
}

void emit_guard(struct emit *e)
{
	emit_rm(e, 4, 0, 0x81, ALU_CMP, EGS(OFF_HOT(HOT_EPOCH)));
	emit32(e, NO_EPOCH);
}

/* Linked for one epoch of the jump cache: a kick ends that, too, so loops need not look at
 * HOT_GO. What is patched lies in aligned words. */
static void goto_guarded(struct trans *t, int64_t target)
{
	struct emit *e = &t->e;

	flags_to_slot(t, FL_STATUS);
	struct exit_path *p = far_exit(t, target);
	t->vm->exits[p->exit].guarded = true;
	emit_align_guard(e);
	emit_guard(e);
	p->from = emit_jcc(e, CC_E);
	set_patch(t, p);
	p->guarded = emit_jmp(e);
}

void goto_far(struct trans *t, int64_t target)
{
	struct exit_path *p;

	if (t->key & KEY_USER) {
		goto_guarded(t, target);
		return;
	}
	if (target <= t->off[t->cur]) {
		p = emit_poll(t, target, t->flags == FLAGS_NATIVE ? FL_STATUS : 0);
		p->far = true;
		p->save_flags = t->flags == FLAGS_NATIVE;
		t->vm->exits[p->exit].far = true;
		t->vm->exits[p->exit].target = (int32_t)(t->b->base + target);
	}
	p = far_exit(t, target);
	emit_align_patch(&t->e, 1);
	p->from = emit_jmp(&t->e);
	set_patch(t, p);
	emit_poll_end(t);
}

/* The same backward, where no flags live: one look at HOT_GO, one jump. */
static void goto_polled(struct trans *t, int64_t target)
{
	struct exit_path *p = new_exit(t, target), *poll = new_exit(t, target);
	struct emit *e = &t->e;

	poll->poll = true;
	emit_alu_mem_imm(e, 4, ALU_CMP, EGS(OFF_HOT(HOT_GO)), 0);
	emit_align_patch(e, 2);
	p->from = emit_jcc(e, CC_NE);
	set_patch(t, p);
	poll->from = emit_jmp(e);
}

void trans_goto(struct trans *t, int64_t target)
{
	struct emit *e = &t->e;

	if (!in_reach(t, target) && is_far(t, target)) {
		goto_far(t, target);
		return;
	}
	if (!in_reach(t, target)) {
		flags_to_slot(t, FL_STATUS);
		trans_rip(t, S0, target);
		trans_lookup(t, trans_rec(t));
		return;
	}
	unsigned live = live_at(t, target);
	if (live)
		flags_to_native(t, live);
	if (target <= t->off[t->cur] && !live) {
		goto_polled(t, target);
		return;
	}
	if (target <= t->off[t->cur])
		emit_poll(t, target, live);
	struct exit_path *p = new_exit(t, target);
	emit_align_patch(e, 1);
	p->from = emit_jmp(e);
	set_patch(t, p);
	emit_poll_end(t);
}

/* The taken side of a conditional branch; EFLAGS are the guest's, or put away. */
void trans_goto_if(struct trans *t, unsigned cc, int64_t target)
{
	struct emit *e = &t->e;
	enum flags_at flags = t->flags;

	bool near = in_reach(t, target);
	bool far = !near && is_far(t, target) && !(t->key & KEY_USER);
	/* such a target is entered with flags in EFLAGS */
	bool restores = near && t->flags == FLAGS_SLOT && live_at(t, target);
	bool ahead = target > t->off[t->cur];
	if (ahead && (near || far) && !restores) {
		struct exit_path *p = near ? new_exit(t, target) : far_exit(t, target);
		emit_align_patch(e, 2);
		p->from = emit_jcc(e, cc);
		set_patch(t, p);
		return;
	}
	if (((ahead && restores) || (!near && !far)) && t->naside < ARRAY_SIZE(t->aside)) {
		t->aside[t->naside++] = (struct aside) { .from = emit_jcc(e, cc), .target = target,
							   .cur = t->cur, .flags = t->flags };
		return;
	}
	bool brief = near || far;                    /* no lookup */
	uint8_t *over = brief ? emit_jcc_short(e, cc ^ 1) : emit_jcc(e, cc ^ 1);
	trans_goto(t, target);
	if (brief)
		emit_bind_short(e, over);
	else
		emit_bind(e, over);
	t->flags = flags;
}

/* --- the parts of a block */

static void fallback(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;

	if (t->live[t->cur])
		flags_to_slot(t, FL_STATUS);
	emit_mov_imm(e, S0, trans_rec(t));
	if (ends_block(i, t->key) || i->op == OP_STI) {
		emit_jmp_to(e, t->vm->stub[STUB_END]);
		t->ended = true;
		return;
	}
	emit_bytes(e, "\x4c\x8d\x1d\x05\0\0\0", 7);  /* lea S1, [rip + 5] */
	emit_jmp_to(e, t->vm->stub[STUB_SLOW]);
	t->flags = live_after(t) ? FLAGS_SLOT : FLAGS_DEAD;
	t->vec = false;
	groups_forget(t);
	stat_inc(t->v, insns_fallback);
}

/* Where code arrives with S0 = RIP. */
static bool has_memory(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->o[n].kind == OPK_MEM)
			return true;
	return false;
}

/* Would the flags that the block starts with be put away before it uses them? So
 * in the entries of a procedure linkage table, and in a function's last block. */
bool trans_slot_first(const struct trans *t)
{
	for (unsigned k = 0; k < t->n; k++) {
		const struct x86_insn *i = &t->insns[k];
		switch (i->op) {
		case OP_PUSH: case OP_POP: case OP_LEAVE: case OP_CALL: case OP_RET: case OP_JMP_IND: case OP_CALL_IND:
			return true;
		}
		if (has_memory(i) && i->op != OP_LEA && i->op != OP_NOP)
			return true;
		if (t->use[k].reads || t->use[k].changes || x86_op_info[i->op].props & OPP_BRANCH)
			return false;
	}
	return false;
}

/* This place as seen from the block's first byte. */
static uint16_t entry_here(const struct trans *t)
{
	return (uint16_t)(emit_here(&t->e) - block_jump(t->vm, t->b));
}

static void head_by_slot(struct trans *t)
{
	t->b->slot = (uint8_t)entry_here(t);
	t->flags = FLAGS_SLOT;
	t->slot_first = true;
}

/* Where such a block is entered with flags in EFLAGS. */
static void entry_by_eflags(struct trans *t)
{
	if (!t->slot_first)
		return;
	t->b->code = entry_here(t);
	emit_save_flags(&t->e, FL_STATUS);
	emit_jmp_to(&t->e, block_jump(t->vm, t->b) + t->b->slot);
}

static void head_by_eflags(struct trans *t)
{
	struct emit *e = &t->e;

	t->b->slot = (uint8_t)entry_here(t);
	if (t->live[0])
		emit_restore_flags(e, t->live[0]);
	t->b->code = entry_here(t);
	t->flags = t->live[0] ? FLAGS_NATIVE : FLAGS_DEAD;
}

static void emit_head(struct trans *t)
{
	struct emit *e = &t->e;
	unsigned entry = trans_pairs(t) ? CALL_ENTRY : 0;

	while (((uintptr_t)e->p + entry) % 8 + RETIRED > 8)        /* it changes by one store */
		emit8(e, 0xcc);
	if (entry)
		emit_call_entry(t);
	t->b->jump = (uint32_t)(e->p - t->vm->rw);
	/* what retire_entry() overwrites is one instruction: nobody is inside */
	if (is_fixed(t)) {
		emit_bytes(e, "\x0f\x1f\x44\x20\0", RETIRED);       /* nop */
	} else {
		emit_bytes(e, t->size == 8 ? "\x4d\x8d\x92" : "\x45\x8d\x92", 3);   /* lea S0, [S0 + d] */
		emit32(e, -(uint32_t)t->off[0]);
		emit_store(e, 8, EGS(OFF_HOT(HOT_RIPBASE)), S0);
	}
	t->b->needs_flags = t->live[0];
	if (t->live[0] && trans_slot_first(t))
		head_by_slot(t);
	else
		head_by_eflags(t);
	tier_count(t);
}

/* S1 := where code goes on. */
static void emit_s1_at(struct emit *e, const uint8_t *there)
{
	emit_bytes(e, "\x4c\x8d\x1d", 3);            /* lea S1, [rip + d] */
	emit32(e, (uint32_t)(there - (emit_here(e) + 4)));
}

static void emit_slow(struct trans *t, struct slow_path *s)
{
	struct emit *e = &t->e;

	emit_bind(e, s->from);
	if (s->memo)
		s->memo->slow = emit_here(e);
	emit_mov_imm(e, S0, s->rec);
	if (!s->resume) {
		emit_jmp_to(e, t->vm->stub[STUB_END]);
		return;
	}
	unsigned s0 = slot_of_held(s->s0), s1 = slot_of_held(s->s1);
	bool tail = s->restore_flags || s->load_vec || s0 != EREG_NONE || s1 != EREG_NONE;
	emit_s1_at(e, tail ? emit_here(e) + 12 : s->resume);        /* 12: behind the jump */
	emit_jmp_to(e, t->vm->stub[STUB_SLOW]);
	if (s->load_vec) {
		emit_bytes(e, "\x4c\x8d\x1d\x05\0\0\0", 7);
		emit_jmp_to(e, t->vm->stub[STUB_LOAD_VEC]);
	}
	if (s->restore_flags)
		emit_restore_flags(e, s->restore_flags);
	if (s0 != EREG_NONE)
		emit_load(e, 8, S0, slot_mem(s0));
	if (s1 != EREG_NONE)
		emit_load(e, 8, S1, slot_mem(s1));
	if (tail)
		emit_jmp_to(e, s->resume);
}

static void emit_aside(struct trans *t, const struct aside *c)
{
	emit_bind(&t->e, c->from);
	t->cur = c->cur;
	t->flags = c->flags;
	trans_goto(t, c->target);
}

static void emit_memo(struct trans *t, const struct memo_use *u)
{
	emit_bind(&t->e, u->from);
	if (u->part)
		emit_load(&t->e, 8, S1, EGS(u->part));
	emit_lea(&t->e, u->size, S0, u->first);
	memo_renew(t, u);
	if (!u->reload)
		return;
	struct memo_site *site = &t->vm->sites[u->site];
	const uint8_t *resume = site->resume;
	site->resume = emit_here(&t->e);
	emit_load(&t->e, 8, S1, EGS(u->reload));
	emit_jmp_to(&t->e, resume);
}

/* Not in the epoch of the first guard: perhaps in that of a second, which leads to the jump behind the first. */
void emit_second_guard(struct trans *t, const uint8_t *jump)
{
	struct emit *e = &t->e;

	if (t->vm->guards < 2 || e->full)
		return;
	emit_nops(e, (unsigned)-(uintptr_t)e->p % 4);
	emit_guard(e);
	uint8_t *there = e->p + 2;
	emit_word(e, 0x840f, 2);                     /* je, as emit_jcc() would pad it */
	emit32(e, (uint32_t)(jump - (there + 4)));
}

static void emit_exit(struct trans *t, struct exit_path *p)
{
	struct jit_exit *x = &t->vm->exits[p->exit];
	struct emit *e = &t->e;

	if (p->alone) {
		emit_bind(e, p->from);
		if (p->memo)
			p->memo->slow = emit_here(e);
		if (p->restore_flags)
			emit_restore_flags(e, p->restore_flags);
		emit_align_patch(e, 1);
		p->from = emit_jmp(e);
		set_patch(t, p);
	}
	x->stub = (uint16_t)(code_at(t) - t->b->cold);
	if (p->call) {
		emit_call_exit(t, p);
		return;
	}
	if (p->guarded) {
		emit_bind(e, p->guarded);
		emit_second_guard(t, p->from - 2);
		x->stub = (uint16_t)(code_at(t) - t->b->cold);
		emit_bind(e, p->from);
		emit_mov_imm(e, S0, (uint64_t)(int64_t)x->target);
		emit_mov_imm(e, S1, p->exit);
		emit_jmp_to(e, t->vm->stub[STUB_GUARDED]);
		return;
	}
	emit_bind(e, p->from);
	if (p->landing) {
		emit_mov_imm(e, S1, p->exit);
		emit_jmp_to(e, t->vm->stub[STUB_LANDED]);
		return;
	}
	if (p->save_flags)
		emit_save_flags(e, FL_STATUS);
	emit_mov_imm(e, S0, p->exit);
	if (!p->far) {
		emit_jmp_to(e, t->vm->stub[!p->poll ? STUB_EXIT : p->slot ? STUB_FAR_POLL : STUB_POLL]);
		return;
	}
	emit_jmp_to(e, t->vm->stub[p->poll ? STUB_FAR_POLL : STUB_FAR]);
	if (p->poll)
		return;
	x->lookup = (uint8_t)(code_at(t) - (t->b->cold + x->stub));
	if (p->save_flags)
		emit_save_flags(e, FL_STATUS);
	emit_mov_imm(e, S0, (uint64_t)(int64_t)x->target);
	emit_jmp_to(e, t->vm->stub[STUB_FAR_LOOKUP]);
}

/* For the record of what cannot be decoded: UD2, or 15 prefixes (#GP). */
static void stand_in(struct x86_insn *i, enum x86_decode_status st)
{
	memset(i, 0, sizeof(*i));
	i->op = OP_UD;
	i->len = st == X86_UD ? 2 : 15;
	memcpy(i->bytes, "\x0f\x0b", 2);
	if (st != X86_UD)
		memset(i->bytes, 0x66, 15);
}

bool code_overruns(const struct vcpu *v, const struct code *code, unsigned off, uint32_t key)
{
	struct x86_insn i;

	for (unsigned n = 0; n < BLOCK_MAX && off < code->end; n++) {
		enum x86_decode_status st = x86_decode(v->model, 1u << (key & KEY_SIZE), key & KEY_REAL,
						       code->bytes + (off - code->lo), code->end - off, &i);
		if (st != X86_OK)
			return st == X86_MORE;
		if (ends_block(&i, key))
			return false;
		off += i.len;
	}
	return off == code->end;
}

enum { TURNS_PLAIN = 8, TURNS = 4, UNROLLED_MOST = 48 };

/* Behind a branch that is not taken, is there a block already? The code of a large
 * program shrinks by a third where blocks end there. */
static bool joins_another(const struct trans *t, const struct x86_insn *i, unsigned off)
{
	return i->op == OP_JCC && block_may_be(t->vm, t->code->page, off) && block_find(t->vm, t->code, off, t->key);
}

/* The nearest place, from the block's next instruction on, that a conditional branch of its own goes
 * to: where it is taken a block begins there, too. */
static int64_t next_join(const struct trans *t, int64_t join, unsigned off)
{
	int64_t target = t->insns[t->n - 1].op == OP_JCC ? jump_target(t, t->n - 1) : -1;

	return target >= off && target < join ? target : join;
}

/* Is its last instruction a branch to its first? */
static bool is_turn(const struct trans *t)
{
	const struct x86_insn *i = &t->insns[t->n - 1];

	return t->size == 8 && (i->op == OP_JCC || i->op == OP_JMP) && jump_target(t, t->n - 1) == t->b->off;
}

/* A loop that has no other way out than its end: its turns are many. */
static bool is_plain(const struct trans *t)
{
	for (unsigned k = 0; k + 1 < t->n; k++)
		if (t->insns[k].op == OP_JCC)
			return false;
	return true;
}

/* A loop: several turns in one block, which then share checks of their accesses
 * (group.c), and of requests. */
static void unroll(struct trans *t)
{
	unsigned n = t->n, turns = is_plain(t) ? MIN((unsigned)TURNS_PLAIN, (unsigned)BLOCK_MAX / n) :
						 MIN((unsigned)TURNS, (unsigned)UNROLLED_MOST / n);

	for (unsigned k = n; k < n * turns; k++) {
		t->off[k + 1] = t->off[k + 1 - n];
		t->insns[k] = t->insns[k - n];
	}
	for (unsigned turn = 1; turn < turns; turn++) {
		t->off[turn * n] = t->b->off;
		t->turns[turn * n - 1] = true;
	}
	if (turns < 2)
		return;
	t->n = n * turns;
	t->turn = n;
	t->b->turns = (uint8_t)turns;
}

static void decode_block(struct trans *t)
{
	const struct code *c = t->code;
	unsigned off = t->b->off;
	bool hot = tier_hot(t);
	int64_t join = INT64_MAX;

	while (t->n < BLOCK_MAX && off < c->hi) {
		struct x86_insn *i = &t->insns[t->n];
		enum x86_decode_status st = trans_decode(t, off, i);
		if (st == X86_MORE || (st != X86_OK && t->n))
			break;
		t->off[t->n++] = (uint16_t)off;
		off += st == X86_OK ? i->len : 1;
		if (st != X86_OK) {
			stand_in(i, st);
			break;
		}
		join = next_join(t, join, off);
		if (ends_block(i, t->key) || (hot ? is_turn(t) : off == join || joins_another(t, i, off)))
			break;
	}
	t->off[t->n] = (uint16_t)off;
	t->b->lo = t->b->off;
	t->b->hi = (uint16_t)off;
	if (hot && is_turn(t))
		unroll(t);
}

static void emit_block(struct trans *t)
{
	emit_head(t);
	for (t->cur = 0; t->cur < t->n; t->cur++) {
		const struct x86_insn *i = &t->insns[t->cur];
		template_fn *fn = t->size == 2 ? NULL : templates[i->op];
		/* a branch has no code after it; nothing is delivered inside it */
		if (t->shadow && x86_op_info[i->op].props & OPP_BRANCH)
			trans_end_shadow(t);
		bool shadow = t->shadow;
		t->s0_next = t->s1_next = -1;
		t->s1_safe = t->s1_free = false;
		if (!fn || !fn(t, i))
			fallback(t, i);
		if (shadow && !t->ended)
			trans_end_shadow(t);
		t->s0_group = t->s0_next;
		t->s1_group = t->s1_next;
	}
	t->cur = t->n - 1;
	if (!t->ended) {
		if (!t->live[t->n])
			t->flags = FLAGS_DEAD;
		trans_goto(t, t->off[t->n]);
	}
	groups_end(t);
	for (unsigned k = 0; k < t->naside; k++)
		emit_aside(t, &t->aside[k]);
	entry_by_eflags(t);
}

static void emit_vec(struct trans *t, const struct vec_path *p)
{
	emit_bind(&t->e, p->from);
	emit_s1_at(&t->e, p->resume);
	emit_jmp_to(&t->e, t->vm->stub[STUB_LOAD_VEC]);
}

/* What it leaves its straight line for. */
static void emit_cold(struct trans *t)
{
	for (unsigned k = 0; k < t->nmemos; k++)
		emit_memo(t, &t->memos[k]);
	for (unsigned k = 0; k < t->nlookups; k++)
		lookup_tail(t, &t->lookups[k]);
	tier_tail(t);
	for (unsigned k = 0; k < t->nvecs; k++)
		emit_vec(t, &t->vecs[k]);
	for (unsigned k = 0; k < t->nslow; k++)
		emit_slow(t, &t->slow[k]);
	for (unsigned k = 0; k < t->nexits; k++)
		emit_exit(t, &t->exits[k]);
}

static void emit_into(struct trans *t, const struct code_part *part)
{
	t->e.p = t->vm->rw + part->at;
	t->e.end = t->e.p + PART_ROOM;
}

/* Closes what emit_into() has opened: bytes written. */
static unsigned emitted(struct trans *t, struct code_part *part)
{
	size_t before = part->at;

	part->at = (size_t)(t->e.p - t->vm->rw);
	return (unsigned)(part->at - before);
}

/* Both parts; false: the cache is full. */
static bool emit_parts(struct trans *t)
{
	struct code_part hot = t->vm->hot, cold = t->vm->cold;
	unsigned nhot, ncold;

	t->b->cold = (uint32_t)cold.at;
	emit_into(t, &hot);
	t->e.lines = t->vm->lines && !t->counted;    /* if it turns out to run often it is made again */
	emit_block(t);
	t->e.lines = false;
	nhot = emitted(t, &hot);
	emit_into(t, &cold);
	emit_cold(t);
	ncold = emitted(t, &cold);
	if (t->e.full)
		return false;
	t->vm->hot = hot;
	t->vm->cold = cold;
	jit_of(t->v)->stats[STAT_code_bytes] += nhot + ncold;
	jit_of(t->v)->stats[STAT_cold_bytes] += ncold;
	return true;
}

struct jit_block *translate(struct vcpu *v, const struct code *code, unsigned off, uint32_t key)
{
	struct jit_vm *vm = jit_vm(v);
	struct trans t;

	if (vm->nblocks >= vm->blocks_end || !code_room(vm))
		return NULL;
	memset(&t, 0, offsetof(struct trans, off));
	struct jit_block *b = &vm->blocks[vm->nblocks];
	*b = (struct jit_block) { .frame = (uint32_t)(code->page >> 12), .base = (int32_t)code->base,
				  .frame2 = code->page2 == PAGE_NONE ? FRAME_NONE : (uint32_t)(code->page2 >> 12),
				  .off = (uint16_t)off, .key = (uint16_t)key, .exits = vm->nexits, .turns = 1 };
	t.e = (struct emit) { .rx = vm->rx - vm->rw };
	t.v = v;
	t.vm = vm;
	t.b = b;
	t.key = key;
	t.size = 1u << (key & KEY_SIZE);
	t.code = code;
	t.insns = jit_of(v)->insns;
	decode_block(&t);
	trans_liveness(&t);
	trans_groups(&t);
	tier_begin(&t);
	if (!emit_parts(&t))
		return NULL;
	tier_end(&t);
	trace4(jit_block, code->page + off, v->cpu.rip, block_jump(vm, b) + b->code, vm->hot.at - b->jump);
	stat_inc(v, blocks);
	b->count = (uint8_t)t.n;
	jit_of(v)->stats[STAT_insns] += t.n;
	vm->nblocks++;
	block_add(vm, b);
	return b;
}
