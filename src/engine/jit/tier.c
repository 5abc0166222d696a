/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks that run often are translated again. The first translation
 * counts its runs only, as what it would note about each access costs more cache
 * than large programs have; after vm->hot_runs the second one notes how often each access
 * changed its page; PROFILE_RUNS later the third one gives memos (memo.c) to those
 * that mostly stay in their page. Their renewals are counted: many lead
 * back to the first kind.
 *
 * The counts are each vCPU's own, and so is what it concludes: it drops the block
 * and asks for its better translation in jit_vcpu.better.
 */
#include "engine/jit/memo.h"
#include "engine/jit/slow.h"
#include "engine/jit/trans.h"

enum { PROFILE_RUNS = 128, CHANGES_MOST = PROFILE_RUNS / 20 };
enum { VERIFY_RUNS = 16 };           /* it runs less, and wants to see all */

static bool is_wanted(const struct trans *t)
{
	const struct better *b = &jit_of(t->v)->better;

	return b->wanted && b->page == t->code->page && b->page2 == t->code->page2 && b->off == t->b->off &&
	       b->key == t->key;
}

bool tier_hot(const struct trans *t)
{
	return is_wanted(t) || (t->vm->eager && memo_key(t->key) && !t->vm->verify);
}

/* Which kind of translation is this? */
void tier_begin(struct trans *t)
{
	struct better *b = &jit_of(t->v)->better;
	struct jit_vm *vm = t->vm;

	if (!memo_key(t->key))
		return;
	if (vm->eager)
		b->good = ~0ull;
	if (tier_hot(t)) {
		b->wanted = false;
		t->b->watched = b->watch && !vm->eager;
		if (!t->b->watched) {
			t->better = b;
			stat_inc(t->v, better);
			return;
		}
	}
	if (t->live[0] & ~FL_CF && !trans_slot_first(t))
		return;              /* the count would lose flags */
	t->counted = true;
	if (!t->b->watched)
		return;
	if (vm->nprofiles + TIER_SITES + 1 > PROFILES)
		vm->nprofiles = 0;
	t->profile = t->b->profile = vm->nprofiles + 1;
}

void tier_end(struct trans *t)
{
	if (!t->profile)
		return;
	t->b->nsites = (uint8_t)MIN(t->nsites, (unsigned)TIER_SITES);
	t->vm->nprofiles += 1 + t->b->nsites;
}

/* At the block's head. */
void tier_count(struct trans *t)
{
	if (!t->counted)
		return;
	bool carry = t->flags == FLAGS_NATIVE;       /* in a loop that ends with DEC */
	if (carry)
		emit_save_flags(&t->e, FL_CF);
	if (t->profile)
		emit_alu_mem_imm(&t->e, 4, ALU_SUB, EGS(OFF_PROFILE(t->profile - 1, count)), 1);
	else
		emit_alu_mem_imm(&t->e, 2, ALU_ADD, EGS(OFF_RUNS(block_index(t->vm, t->b))),
				 HOT_RUNS / (int)(t->vm->verify ? VERIFY_RUNS : t->vm->hot_runs));
	t->count = emit_jcc(&t->e, CC_S);
	if (carry)
		emit_restore_flags(&t->e, FL_CF);
}

void tier_tail(struct trans *t)
{
	if (!t->counted)
		return;
	emit_bind(&t->e, t->count);
	emit_mov_imm(&t->e, S0, block_index(t->vm, t->b));
	emit_jmp_to(&t->e, t->vm->stub[STUB_TIER]);
}

/* The number of the place that the current check is for, the same for both kinds. */
static unsigned place_of(struct trans *t, bool write)
{
	unsigned insn = t->turn ? t->cur % t->turn : t->cur;

	for (unsigned n = 0; t->turn && n < MIN(t->nsites, (unsigned)TIER_SITES); n++)
		if (t->places[n].insn == insn && t->places[n].write == write)
			return n;
	if (t->nsites < TIER_SITES)
		t->places[t->nsites] = (struct check_place) { .insn = (uint8_t)insn, .write = write };
	return t->nsites++;
}

bool tier_memo(struct trans *t, unsigned acc)
{
	unsigned n = place_of(t, acc & ACC_WRITE);

	t->place = &t->places[MIN(n, (unsigned)TIER_SITES - 1)];
	t->site = t->profile && n < TIER_SITES ? t->profile + n : 0;
	return t->better && n < TIER_SITES && t->better->good >> n & 1 && memo_left(t);
}

/* An access is to the page in S1. */
void tier_note(struct trans *t)
{
	struct emit *e = &t->e;

	if (!t->site)
		return;
	emit_alu_load(e, 8, ALU_CMP, S1, EGS(OFF_PROFILE(t->site, page)));
	uint8_t *same = emit_jcc(e, CC_E);
	emit_store(e, 8, EGS(OFF_PROFILE(t->site, page)), S1);
	emit_alu_mem_imm(e, 4, ALU_ADD, EGS(OFF_PROFILE(t->site, count)), 1);
	emit_bind(e, same);
}

static void start(struct vcpu *v, const struct jit_block *b, uint32_t index)
{
	struct profile *p = &near_of(v)->profile[b->profile - 1];

	memset(p, 0, (1 + (size_t)b->nsites) * sizeof(*p));
	p->owner = index;
	p->count = PROFILE_RUNS;
}

static uint64_t conclude(const struct profile *p, const struct jit_block *b)
{
	uint64_t good = 0;

	for (unsigned k = 0; k < b->nsites; k++)
		if (p[1 + k].count <= CHANGES_MOST * b->turns)
			good |= BIT(k);
	return good;
}

/* requires: vm->lock */
static void make_better(struct vcpu *v, struct jit_block *b, uint64_t good)
{
	jit_of(v)->better = (struct better) { .wanted = true, .watch = !b->watched, .page = block_page(b), .page2 = block_page2(b),
					      .off = b->off, .key = b->key, .good = good };
	jump_forget(v, v->cpu.rip);
	block_drop(jit_vm(v), b);
}

/* requires: vm->lock */
static void look_again(struct vcpu *v, struct jit_block *b, uint32_t index)
{
	struct profile *p = b->watched ? &near_of(v)->profile[b->profile - 1] : NULL;

	if (!p) {
		make_better(v, b, 0);
	} else if (p->owner != index) {      /* not counted by this vCPU yet, or overwritten */
		start(v, b, index);
	} else {
		p->owner = UINT32_MAX;
		make_better(v, b, conclude(p, b));
	}
}

/* These blocks are gone. */
void tier_forget(struct vcpu *v, uint32_t first, uint32_t end)
{
	struct jit_near *near = near_of(v);

	memset(&near->runs[first], 0, (end - first) * sizeof(near->runs[0]));
	for (unsigned n = 0; n < PROFILES; n++)
		if (near->profile[n].owner - first < end - first)
			near->profile[n].owner = UINT32_MAX;
}

/* A block's count has run out. */
const uint8_t *slow_tier(struct vcpu *v, uint64_t index, const uint8_t *unused)
{
	struct jit_vm *vm = jit_vm(v);
	struct jit_block *b = &vm->blocks[index];
	uint64_t generation = vm->generation;

	flags_in(v);
	v->cpu.rip = (block_base(b) != BASE_ANY ? block_base(b) : v->hot[HOT_RIPBASE]) + b->off;
	jit_lock(v);
	if (vm->generation == generation && !b->dead)
		look_again(v, b, (uint32_t)index);
	jit_unlock(v);
	return slow_next(v);
}

/* A memo of this block has been renewed often: watch it anew. The block runs on,
 * and may count on vectors that the stub has spilled. */
const uint8_t *slow_review(struct vcpu *v, uint64_t index, const uint8_t *resume)
{
	struct jit_vm *vm = jit_vm(v);
	struct jit_block *b = &vm->blocks[index];

	stat_inc(v, reviews);
	if (!jit_trylock(v))         /* to wait is to be stopped: the cache might be flushed */
		return resume;
	if (!b->dead)
		block_drop(vm, b);
	jit_unlock(v);
	if (!(b->key & KEY_SSE) || ~v->cpu.xsave.xstate_bv & (XFEATURE_SSE | XFEATURE_AVX))
		return resume;
	near_of(v)->save[0] = (uintptr_t)resume;
	return vm->load_vec_review;
}
