/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What translated code calls, through the stubs: one instruction by the
 * interpreter, exits that are not linked yet, jump cache misses.  On entry the
 * guest's registers are in v->cpu, flags in HOT_FLAGS, RIP nowhere; each function
 * returns the code to go on with, or STUB_LEAVE for the run loop.  A fault
 * unwinds to the run loop from inside, with v->cpu whole.
 */
#include "engine/jit/memo.h"
#include "engine/jit/slow.h"
#include "engine/jit/verify.h"

enum { UNGUARDED = 16 };

void flags_in(struct vcpu *v)
{
	uint32_t f = (uint32_t)v->hot[HOT_FLAGS];    /* what one store has left there */
	v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)FL_STATUS) | (f >> 8 & LAHF_FLAGS) |
			(f & 1 ? FL_OF : 0);
}

void flags_out(struct vcpu *v)
{
	uint64_t f = v->cpu.rflags;
	v->hot[HOT_FLAGS] = (f & LAHF_FLAGS) << 8 | (f & FL_OF ? 1 : 0);
}

static uint64_t wrap_rip(struct vcpu *v, uint64_t rip)
{
	return (jit_of(v)->key & KEY_SIZE) == 3 ? rip : rip & 0xffffffff;
}

/* Every instruction counts: leave them to the interpreter. RF alone does not,
 * where there is no breakpoint that it could hold back. */
bool jit_careful(struct vcpu *v)
{
	if (v->cpu.rflags & FL_RF && !(v->cpu.dr[7] & 0xff))
		v->cpu.rflags &= ~(uint64_t)FL_RF;
	return debug_armed(v) || v->debug.single_step || v->debug.count;
}

/* Records live long: their decoded form is kept apart and made again if lost. */
static void decode_rec(struct vcpu *v, struct decoded_rec *d, uint32_t rec)
{
	struct jit_vm *vm = jit_vm(v);
	const struct jit_rec *r = rec_at(vm, rec);
	uint32_t key = vm->blocks[r->block].key;

	if (x86_decode(v->model, 1u << (key & KEY_SIZE), key & KEY_REAL, r->bytes, r->len, &d->insn) != X86_OK)
		d->insn.op = OP_COUNT;       /* over 15 bytes */
	d->rec = rec;
	d->base = vm->blocks[r->block].base;
	d->off = r->off;
}

static const struct decoded_rec *decoded(struct vcpu *v, uint32_t rec)
{
	struct jit_vcpu *j = jit_of(v);
	struct jit_vm *vm = jit_vm(v);
	struct decoded_rec *d = &j->decoded[rec % ARRAY_SIZE(j->decoded)];

	if (j->generation != vm->generation) {
		for (unsigned i = 0; i < ARRAY_SIZE(j->decoded); i++)
			j->decoded[i].rec = UINT32_MAX;
		j->generation = vm->generation;
	}
	if (d->rec != rec)
		decode_rec(v, d, rec);
	return d;
}

/* Code that was made for its address does not keep HOT_RIPBASE. */
static uint64_t rip_base(struct vcpu *v, uint64_t base)
{
	if (base != BASE_ANY)
		v->hot[HOT_RIPBASE] = base;
	return v->hot[HOT_RIPBASE];
}

static uint64_t changes(const struct jit_vm *vm)
{
	return atomic_load_explicit(&vm->drops, memory_order_relaxed) + vm->generation;
}

/* Run it; true if the code it was called from may go on after it. */
static bool run_rec(struct vcpu *v, uint32_t rec)
{
	struct jit_vm *vm = jit_vm(v);
	uint64_t before = changes(vm), next;
	const struct decoded_rec *d = decoded(v, rec);
	const struct x86_insn *insn = &d->insn;

	v->cpu.rip = wrap_rip(v, rip_base(v, (uint64_t)(int64_t)d->base) + d->off);
	next = wrap_rip(v, v->cpu.rip + insn->len);
	flags_in(v);
	if (unlikely(insn->op == OP_COUNT)) {
		v->insn_rip = v->cpu.rip;
		raise_gp(v, 0);
	}
	jit_of(v)->slow_ops[insn->op]++;
	interp_exec(v, insn);
	flags_out(v);
	return v->cpu.rip == next && changes(vm) == before;
}

const uint8_t *slow_insn(struct vcpu *v, uint64_t rec, const uint8_t *resume)
{
	stat_inc(v, slow);
	return run_rec(v, (uint32_t)rec) ? resume : slow_next(v);
}

const uint8_t *slow_leaf(struct vcpu *v, uint64_t fn, const uint8_t *resume)
{
	((void (*)(struct vcpu *))(uintptr_t)fn)(v);
	return resume;
}

const uint8_t *slow_end(struct vcpu *v, uint64_t rec, const uint8_t *unused)
{
	stat_inc(v, slow_end);
	run_rec(v, (uint32_t)rec);
	return slow_next(v);
}

struct ram_slot *slot_of(struct vcpu *v, const uint8_t *host)
{
	struct ram_slot *s = memory_slots(v->memory);
	while (s && (uint64_t)(host - s->host) >= s->size)
		s = s->next;
	return s;
}

/* The page of code at lin: where it is, and its RAM address. NULL: not in RAM. May fault. */
static const uint8_t *code_page(struct vcpu *v, uint64_t lin, uint64_t *page)
{
	/* by the byte that is fetched, not its page: a fault reports it in CR2 */
	const uint8_t *host = mmu_page_pointer(v, lin, MMU_EXEC, v->cpu.cpl == 3 ? MMU_USER : MMU_SUPER);
	struct ram_slot *s = host ? slot_of(v, host) : NULL;
	if (!s)
		return NULL;
	host -= lin & PAGE_MASK;
	*page = s->gpa + (uint64_t)(host - s->host);
	return host;
}

/* requires: vm->lock */
static void flag_code(struct vcpu *v, const uint8_t *host)
{
	struct ram_slot *s = slot_of(v, host);
	uint64_t page = (uint64_t)(host - s->host) / PAGE_SIZE;
	if (!(s->flags[page] & PAGE_CODE))
		memory_flag_pages(v->memory, s, page, 1, PAGE_CODE);
}

/* requires: vm->lock */
static struct jit_block *translate_with_room(struct vcpu *v, const struct code *code, unsigned off,
					    uint32_t key)
{
	uint64_t start = monotonic_ns();
	struct jit_block *b = translate(v, code, off, key);
	if (!b) {
		jit_stop_others(jit_vm(v), v);
		blocks_evict(v, jit_vm(v));
		b = translate(v, code, off, key);
	}
	jit_of(v)->stats[STAT_translate_ns] += monotonic_ns() - start;
	return b;
}

/* Blocks that are there are found without the lock: most come again and again. With host2 it
 * may run over to there: then `window` is filled with the bytes around the border. */
static struct jit_block *find_or_make(struct vcpu *v, const struct code *c, const uint8_t *host, const uint8_t *host2,
				      uint8_t *window, unsigned off, uint32_t key)
{
	struct jit_block *b = block_find(jit_vm(v), c, off, key);
	if (b)
		return b;
	jit_lock(v);
	b = block_find(jit_vm(v), c, off, key);
	if (!b) {
		flag_code(v, host);
		if (host2) {
			flag_code(v, host2);
			memcpy(window, host + WINDOW_LO, PAGE_SIZE - WINDOW_LO);
			memcpy(window + PAGE_SIZE - WINDOW_LO, host2, WINDOW_HI - PAGE_SIZE + INSN_MAX);
		}
		b = translate_with_room(v, c, off, key);
	}
	jit_unlock(v);
	return b;
}

/* In the context of two pages. */
static struct jit_block *block_in_two(struct vcpu *v, const struct code *first, uint64_t page2,
				      const uint8_t *host2, unsigned off, uint32_t key)
{
	uint8_t bytes[WINDOW_HI - WINDOW_LO + INSN_MAX];
	const struct code c = { .page = first->page, .page2 = page2, .base = first->base, .bytes = bytes,
				.lo = WINDOW_LO, .hi = WINDOW_HI, .end = WINDOW_HI + INSN_MAX };

	return find_or_make(v, &c, first->bytes, host2, bytes, off, key);
}

/* What a block for this place is made for: its address, where constants can hold it. */
static uint64_t base_for(uint32_t key, uint64_t base)
{
	int64_t at = (int64_t)base;
	bool fits = key & KEY_KERNEL ? at >= INT32_MIN : key & KEY_USER && at >= 0;

	return fits && at <= INT32_MAX - 4 * (int64_t)PAGE_SIZE ? base : BASE_ANY;
}

static uint64_t code_linear(struct vcpu *v, uint64_t rip)
{
	if ((jit_of(v)->key & KEY_SIZE) == 3)
		return rip;
	return (rip + v->cpu.seg[CS].base) & 0xffffffff;
}

/* What has been translated tells without decoding. */
static bool overruns(struct vcpu *v, const struct code *c, unsigned off, uint32_t key)
{
	struct jit_vm *vm = jit_vm(v);

	bool known = block_find(vm, c, off, key), over = block_overruns(vm, c->page, off, key);
	return over || (!known && code_overruns(v, c, off, key));
}

/* Block for the instruction at rip; NULL: not in RAM, or too near the limit of CS. May fault, as a fetch. */
static struct jit_block *find_block(struct vcpu *v, uint64_t rip, uint32_t key)
{
	uint64_t lin = code_linear(v, rip), page, page2;
	const uint8_t *host, *host2 = NULL;
	unsigned off = lin & PAGE_MASK;
	struct jit_block *b;

	if ((key & KEY_SIZE) != 3 && rip + INSN_MAX > v->cpu.seg[CS].limit)
		return NULL;
	v->insn_rip = v->cpu.rip = rip;
	host = code_page(v, lin, &page);
	if (!host)
		return NULL;
	struct code c = { .page = page, .page2 = PAGE_NONE, .base = base_for(key, rip - off),
			  .bytes = host, .hi = PAGE_SIZE, .end = PAGE_SIZE };
	bool over = off >= OVERRUN_FROM && overruns(v, &c, off, key);
	if (over && !(host2 = code_page(v, code_linear(v, rip + (PAGE_SIZE - off)), &page2)))
		return NULL;
	stat_inc(v, finds);
	b = over ? block_in_two(v, &c, page2, host2, off, key) : find_or_make(v, &c, host, NULL, NULL, off, key);
	if (b && !(key & KEY_ALONE))
		jump_put(v, rip, lin, block_jump(jit_vm(v), b));
	if (b && over && !(key & KEY_ALONE))
		jump_put(v, rip, lin + PAGE_SIZE, block_jump(jit_vm(v), b));
	return b;
}

struct jit_block *slow_block(struct vcpu *v, uint32_t key)
{
	mmu_update_mode(v);
	jump_select(v);
	return find_block(v, v->cpu.rip, jit_of(v)->key | key);
}

const uint8_t *slow_next(struct vcpu *v)
{
	struct jit_vm *vm = jit_vm(v);
	const uint8_t *code;

	mmu_update_mode(v);
	jump_select(v);
	if (unlikely(v->requests || jit_careful(v) || jit_of(v)->one_block))
		return vm->stub[STUB_LEAVE];
	v->cpu.int_shadow = 0;
	code = jump_get(v, v->cpu.rip);
	if (unlikely(!code)) {
		struct jit_block *b = find_block(v, v->cpu.rip, jit_of(v)->key);
		if (!b)
			return vm->stub[STUB_LEAVE];
		code = block_jump(vm, b);
	}
	v->hot[HOT_TMP] = (uintptr_t)code;
	return vm->stub[STUB_JUMP];
}

/* The target of a direct exit in the context it was translated in; NULL: not there any more. */
static struct jit_block *find_linked(struct vcpu *v, const struct jit_block *from, unsigned target,
				     uint32_t key)
{
	uint64_t lin = code_linear(v, v->hot[HOT_RIPBASE]), page, page2 = PAGE_NONE;
	const uint8_t *host, *host2 = NULL;
	struct jit_block *b;

	v->insn_rip = v->cpu.rip;
	host = code_page(v, lin, &page);
	if (host && from->frame2 != FRAME_NONE)
		host2 = code_page(v, code_linear(v, v->hot[HOT_RIPBASE] + PAGE_SIZE), &page2);
	if (!host || page != block_page(from) || page2 != block_page2(from) || jit_of(v)->key != (from->key & ~(uint32_t)KEY_ALONE))
		return NULL;
	struct code c = { .page = page, .page2 = PAGE_NONE, .base = block_base(from), .bytes = host, .hi = PAGE_SIZE,
			  .end = PAGE_SIZE };
	b = host2 ? block_in_two(v, &c, page2, host2, target, key)
		  : find_or_make(v, &c, host, NULL, NULL, target, key);
	return b;
}

/* Once through the front door; from now on the exit jumps there itself. */
static const uint8_t *jump_linked(struct vcpu *v, const struct jit_block *b)
{
	stat_inc(v, links);
	v->hot[HOT_TMP] = (uintptr_t)block_jump(jit_vm(v), b);
	return jit_vm(v)->stub[STUB_JUMP];
}

const uint8_t *slow_exit(struct vcpu *v, uint64_t exit, const uint8_t *unused)
{
	struct jit_vm *vm = jit_vm(v);
	const struct jit_exit *x = &vm->exits[exit];
	const struct jit_block *from = &vm->blocks[x->block];
	uint64_t generation = vm->generation;
	struct jit_block *b = NULL;

	stat_inc(v, exits);
	block_prefetch(vm, block_page(from) + (uint32_t)x->target, from->key);
	flags_in(v);
	v->cpu.rip = wrap_rip(v, rip_base(v, block_base(from)) + (uint32_t)x->target);
	if (jit_of(v)->one_block && x->alone)
		verify_alone(v);
	if (!v->requests && !jit_of(v)->one_block)
		b = find_linked(v, from, (unsigned)x->target,
				x->alone ? from->key | KEY_ALONE : from->key & ~(uint32_t)KEY_ALONE);
	if (!b)
		return slow_next(v);
	jit_lock(v);
	bool same = vm->generation == generation;
	if (same)
		block_link(vm, (uint32_t)exit, b);
	jit_unlock(v);
	return same ? jump_linked(v, b) : slow_next(v);
}

/* Do all mappings stand that a far link to this block rests on? requires: vm->lock */
static bool far_allowed(struct vcpu *v, const struct jit_block *from, const struct jit_block *to)
{
	uint64_t base = block_base(to);
	unsigned region = far_hash(base), next = far_hash(base + PAGE_SIZE);
	uint64_t *filter = jit_vm(v)->far_filter;

	if (base == BASE_ANY || !(base >> 63) || to->key != (from->key & ~(uint32_t)KEY_ALONE))
		return false;
	/* seen by vCPUs that flush from now on, before the page tables are read */
	__atomic_fetch_or(&filter[region / 64], BIT(region % 64), __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&filter[next / 64], BIT(next % 64), __ATOMIC_SEQ_CST);
	return mmu_code_is_global(v, base, block_page(to)) &&
	       (to->frame2 == FRAME_NONE || mmu_code_is_global(v, base + PAGE_SIZE, block_page2(to)));
}

/* Where a jump out of its page goes that may be linked now, or NULL. */
static struct jit_block *find_to_link(struct vcpu *v, uint64_t rip)
{
	stat_inc(v, exits);
	flags_in(v);
	v->cpu.rip = rip;
	return v->requests || jit_of(v)->one_block ? NULL : find_block(v, rip, jit_of(v)->key);
}

/* A jump out of its page, between blocks that were made for their addresses. */
const uint8_t *slow_far(struct vcpu *v, uint64_t exit, const uint8_t *unused)
{
	struct jit_vm *vm = jit_vm(v);
	const struct jit_exit *x = &vm->exits[exit];
	uint64_t before = changes(vm);
	struct jit_block *b = find_to_link(v, (uint64_t)(int64_t)x->target);

	if (!b)
		return slow_next(v);
	jit_lock(v);
	bool same = changes(vm) == before && jit_of(v)->far_version == v->mmu->far_version;
	if (same)
		block_link_far(vm, (uint32_t)exit, far_allowed(v, &vm->blocks[x->block], b) ? b : NULL);
	jit_unlock(v);
	return same ? jump_linked(v, b) : slow_next(v);
}

/* A guarded jump had its target looked up often enough: it is linked for this epoch. What
 * it rests on is known to the jump cache, as find_block() has entered it there. */
const uint8_t *slow_guarded(struct vcpu *v, uint64_t rip, const uint8_t *exit)
{
	struct jit_vm *vm = jit_vm(v);
	uint64_t before = changes(vm);
	struct jit_block *b;

	near_of(v)->unguarded = UNGUARDED;
	if (block_guard_taken(v, (uint32_t)(uintptr_t)exit)) {
		flags_in(v);
		v->cpu.rip = rip;
		return slow_next(v);
	}
	if (!(b = find_to_link(v, rip)))
		return slow_next(v);
	jit_lock(v);
	bool same = changes(vm) == before;
	if (same && block_base(b) != BASE_ANY)
		block_link_guarded(vm, (uint32_t)(uintptr_t)exit, b, jit_of(v)->jc->epoch);
	jit_unlock(v);
	return same ? jump_linked(v, b) : slow_next(v);
}

/* A return to its call: the exit there is not linked yet. */
const uint8_t *slow_landed(struct vcpu *v, uint64_t rip, const uint8_t *exit)
{
	uint32_t n = (uint32_t)(uintptr_t)exit;

	v->hot[HOT_RIPBASE] = rip - (uint32_t)jit_vm(v)->exits[n].target;
	return slow_exit(v, n, NULL);
}

/* A loop has seen HOT_GO. */
const uint8_t *slow_poll(struct vcpu *v, uint64_t exit, const uint8_t *unused)
{
	const struct jit_exit *x = &jit_vm(v)->exits[exit];

	stat_inc(v, polls);
	flags_in(v);
	v->cpu.rip = (uint64_t)(int64_t)x->target;
	if (!x->far)
		v->cpu.rip = wrap_rip(v, rip_base(v, block_base(&jit_vm(v)->blocks[x->block])) + v->cpu.rip);
	return slow_next(v);
}

/* A branch went to a RIP that the jump cache does not know. A branch to where
 * RIP cannot be faults itself (SDM 2A CALL, JMP, RET): it is undone and run again. */
const uint8_t *slow_lookup(struct vcpu *v, uint64_t rip, const uint8_t *rec)
{
	stat_inc(v, lookups);
	jump_prefetch(v, rip);
	flags_in(v);
	v->cpu.rip = rip;
	if (unlikely((jit_of(v)->key & KEY_SIZE) == 3 && (uint64_t)((int64_t)(rip << 16) >> 16) != rip)) {
		const struct jit_rec *r = rec_at(jit_vm(v), (uint32_t)(uintptr_t)rec);
		v->cpu.gpr[RSP] += (uint64_t)(int64_t)r->undo_rsp;
		return slow_end(v, (uintptr_t)rec, NULL);
	}
	return slow_next(v);
}

/* A jump cache led to a block that has been dropped. */
const uint8_t *slow_dead(struct vcpu *v, uint64_t rip, const uint8_t *unused)
{
	flags_in(v);
	jump_forget(v, rip);
	v->cpu.rip = rip;
	return slow_next(v);
}

/* XSTATE_BV says that a component is in its initial state: write that out. */
const uint8_t *slow_load_vec(struct vcpu *v, uint64_t unused, const uint8_t *resume)
{
	struct x86_xsave *x = &v->cpu.xsave;
	if (jit_vm(v)->avx && !(x->xstate_bv & XFEATURE_AVX) && !(v->cpu.xcr0 & XFEATURE_AVX))
		memset(x->ymmh, 0, sizeof(x->ymmh));
	x->xstate_bv |= XFEATURE_SSE | XFEATURE_AVX;
	return jit_vm(v)->load_vec_retry;
}
