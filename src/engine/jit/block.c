/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks: found by the RAM address of their first byte and the mode they were
 * made for; listed by page, so that a store into a page drops just those whose
 * bytes it changes.  Dropping unlinks a block from everything that could jump
 * to it; its code stays until its segment of the cache is emptied, so a vCPU that is
 * inside runs on to its next exit.
 *
 * requires: vm->lock, but for block_find() and block_overruns(): blocks and their
 * place in a chain stay until they are evicted, when no other vCPU runs.
 */
#include "engine/jit/jit.h"
#include "engine/soft/mmu.h"

enum { MISSES_MAX = 64, MISSES_SHIFT_MAX = 10 };

static unsigned hash_block(uint64_t gpa, uint32_t key)
{
	uint32_t page = ((uint32_t)(gpa >> 12) ^ key << 20) * 0x9e3779b1u >> (32 - HASH_BITS);

	return (page + (unsigned)(gpa >> 2 & 1023)) & ((1 << HASH_BITS) - 1);
}

static uint32_t *hash_head(struct jit_vm *vm, const struct jit_block *b)
{
	return &vm->hash[hash_block(block_page(b) + b->off, b->key)];
}

static unsigned hash_page(uint64_t gpa)
{
	return (unsigned)((gpa >> 12) & ((1 << PAGE_HASH_BITS) - 1));
}

/* Read without the lock, too. */
static uint32_t chain(const struct jit_vm *vm, uint64_t gpa, uint32_t key)
{
	return __atomic_load_n(&vm->hash[hash_block(gpa, key)], __ATOMIC_ACQUIRE);
}

static uint32_t chain_next(const struct jit_vm *vm, uint32_t n)
{
	return __atomic_load_n(&vm->blocks[n].hash_next, __ATOMIC_ACQUIRE);
}

void block_prefetch(const struct jit_vm *vm, uint64_t gpa, uint32_t key)
{
	__builtin_prefetch(&vm->hash[hash_block(gpa, key)]);
}

struct jit_block *block_find(struct jit_vm *vm, const struct code *c, unsigned off, uint32_t key)
{
	for (uint32_t n = chain(vm, c->page + off, key); n; n = chain_next(vm, n)) {
		struct jit_block *b = &vm->blocks[n];
		if (block_page(b) == c->page && b->off == off && b->key == key && block_page2(b) == c->page2 &&
		    block_base(b) == c->base)
			return b;
	}
	return NULL;
}

bool block_overruns(struct jit_vm *vm, uint64_t page, unsigned off, uint32_t key)
{
	for (uint32_t n = chain(vm, page + off, key); n; n = chain_next(vm, n)) {
		const struct jit_block *b = &vm->blocks[n];
		if (block_page(b) == page && b->off == off && b->key == key && b->frame2 != FRAME_NONE)
			return true;
	}
	return false;
}

static struct jit_page *page_find(const struct jit_vm *vm, uint64_t gpa)
{
	struct jit_page *p = vm->page_hash[hash_page(gpa)];
	while (p && p->frame != gpa >> 12)
		p = p->next;
	return p;
}

/* Heads and blocks lie wide apart in memory; a page's map is one place. */
bool block_may_be(const struct jit_vm *vm, uint64_t page, unsigned off)
{
	const struct jit_page *p = page_find(vm, page);

	return off >= PAGE_SIZE || (p && p->bytes[off / 64] >> (off % 64) & 1);
}

static struct jit_page *page_get(struct jit_vm *vm, uint64_t gpa)
{
	struct jit_page *p = page_find(vm, gpa), **head = &vm->page_hash[hash_page(gpa)];
	if (p)
		return p;
	p = xnew(struct jit_page);
	p->frame = (uint32_t)(gpa >> 12);
	p->next = *head;
	*head = p;
	return p;
}

static bool is_second(const struct jit_block *b, const struct jit_page *p) { return b->frame != p->frame; }

/* It runs over from a page into the same one, mapped twice. */
static bool is_double(const struct jit_block *b) { return b->frame == b->frame2; }

static bool overlaps(const struct jit_block *b, unsigned lo, unsigned hi) { return lo < b->hi && b->lo < hi; }

static bool covers(const struct jit_block *b, const struct jit_page *p, unsigned lo, unsigned hi)
{
	bool first = !is_second(b, p), second = !first || is_double(b);

	return (first && overlaps(b, lo, hi)) || (second && overlaps(b, lo + PAGE_SIZE, hi + PAGE_SIZE));
}

/* shift: what the page's offsets are behind the block's. */
static void mark(struct jit_page *p, const struct jit_block *b, unsigned shift)
{
	unsigned lo = MAX(b->lo, shift) - shift, end = MAX(b->hi, shift) - shift, hi = MIN(end, (unsigned)PAGE_SIZE);

	if (lo >= hi)
		return;
	uint64_t head = ~0ull << lo % 64, tail = ~0ull >> (63 - (hi - 1) % 64);
	for (unsigned word = lo / 64; word <= (hi - 1) / 64; word++)
		p->bytes[word] |= (word == lo / 64 ? head : ~0ull) & (word == (hi - 1) / 64 ? tail : ~0ull);
}

static void page_mark(struct jit_page *p, const struct jit_block *b)
{
	mark(p, b, is_second(b, p) ? PAGE_SIZE : 0);
	if (is_double(b))
		mark(p, b, PAGE_SIZE);
}

static void page_add(struct jit_vm *vm, struct jit_page *p, struct jit_block *b)
{
	b->page_next[is_second(b, p)] = p->blocks;
	p->blocks = block_index(vm, b);
	page_mark(p, b);
}

void block_add(struct jit_vm *vm, struct jit_block *b)
{
	uint32_t *head = hash_head(vm, b);

	b->hash_next = *head;
	__atomic_store_n(head, block_index(vm, b), __ATOMIC_RELEASE);
	page_add(vm, page_get(vm, block_page(b)), b);
	if (b->frame2 != FRAME_NONE && !is_double(b))
		page_add(vm, page_get(vm, block_page2(b)), b);
}

/* Rel32 fields lie inside aligned 8 bytes (emit_align_patch), so other vCPUs
 * see the old or the new jump. */
static void patch(struct jit_vm *vm, const struct jit_exit *x, uint32_t to)
{
	__atomic_store_n((uint32_t *)(vm->rw + x->patch), to - (x->patch + 4), __ATOMIC_RELEASE);
}

/* Where it goes while it is not linked. */
static uint32_t stub_at(const struct jit_vm *vm, const struct jit_exit *x) { return vm->blocks[x->block].cold + x->stub; }

static void patch_back(struct jit_vm *vm, const struct jit_exit *x) { patch(vm, x, stub_at(vm, x)); }

static void link_to(struct jit_vm *vm, uint32_t exit, struct jit_block *to)
{
	struct jit_exit *x = &vm->exits[exit];

	x->to = block_index(vm, to);
	x->next = to->incoming;
	to->incoming = exit;
}

/* With flags in HOT_FLAGS. */
static unsigned slot_entry(const struct jit_block *to) { return to->needs_flags ? to->slot : to->code; }

/* ... and S0 = RIP, but HOT_RIPBASE not set. */
static unsigned landing_entry(const struct jit_block *to) { return block_base(to) == BASE_ANY ? 0 : slot_entry(to); }

void block_link(struct jit_vm *vm, uint32_t exit, struct jit_block *to)
{
	const struct jit_exit *x = &vm->exits[exit];

	if (x->to || to->dead || vm->blocks[x->block].dead)
		return;
	link_to(vm, exit, to);
	patch(vm, x, x->call ? to->jump - CALL_ENTRY : to->jump + (x->landing ? landing_entry(to) : to->code));
}

/* To be found when mappings change. */
static void far_enter(struct jit_vm *vm, uint32_t exit)
{
	if (!vm->exits[exit].listed)
		vm->far[vm->nfar++] = exit;
	vm->exits[exit].listed = true;
}

void block_link_far(struct jit_vm *vm, uint32_t exit, struct jit_block *to)
{
	const struct jit_exit *x = &vm->exits[exit];

	if (x->to || vm->blocks[x->block].dead)
		return;
	far_enter(vm, exit);
	if (!to) {
		patch(vm, x, stub_at(vm, x) + x->lookup);
		return;
	}
	link_to(vm, exit, to);
	patch(vm, x, to->jump + (x->flags_native ? to->code : slot_entry(to)));
}

/* One link is gone. */
static void unlink_exit(struct jit_vm *vm, uint32_t exit)
{
	struct jit_exit *x = &vm->exits[exit];
	uint32_t *p;

	for (p = &vm->blocks[x->to].incoming; *p != exit; p = &vm->exits[*p].next)
		;
	*p = x->next;
	patch_back(vm, x);
	x->to = 0;
}

/* The immediate of the kth comparison before a guarded exit: an epoch it is linked for. The second, for
 * another vCPU, lies out of line (emit_second_guard). */
static uint32_t *guard_of(const struct jit_vm *vm, const struct jit_exit *x, unsigned k)
{
	uint32_t at = k ? stub_at(vm, x) - (x->call ? SECOND_TO_CALLED : SECOND_TO_STUB)
			: x->patch - (x->call ? GUARD_TO_CALL : GUARD_TO_PATCH);

	return (uint32_t *)(vm->rw + at);
}

/* Does the vCPU it was set for run what it was set for? If not, by an answer of before, that costs time only. */
static bool is_running(const struct jit_vm *vm, uint32_t epoch)
{
	return jit_of(vm->machine->vcpus[epoch % EPOCH_STEP])->recent[1]->epoch == epoch;
}

/* Which of an exit's guards is for the vCPU with this epoch: its own, an empty one, one that nobody needs now; -1:
 * none. *others: a guard is another vCPU's. */
static int guard_for(const struct jit_vm *vm, uint32_t exit, uint32_t epoch, bool *others)
{
	int own = -1, empty = -1, unused = -1;

	*others = false;
	for (int k = 0; k < (int)vm->guards; k++) {
		uint32_t was = __atomic_load_n(guard_of(vm, &vm->exits[exit], (unsigned)k), __ATOMIC_RELAXED);
		if (was < EPOCH_STEP) {
			empty = empty < 0 ? k : empty;
		} else if (was % EPOCH_STEP == epoch % EPOCH_STEP) {
			own = k;
		} else {
			*others = true;
			unused = is_running(vm, was) ? unused : k;
		}
	}
	return own >= 0 ? own : empty >= 0 ? empty : unused;
}

bool block_guard_taken(struct vcpu *v, uint32_t exit)
{
	bool others;

	return guard_for(jit_vm(v), exit, jit_of(v)->jc->epoch, &others) < 0;
}

/* Another vCPU may have compared its epoch, and not jumped yet: the target stays, then. */
void block_link_guarded(struct jit_vm *vm, uint32_t exit, struct jit_block *to, uint32_t epoch)
{
	struct jit_exit *x = &vm->exits[exit];
	bool others;
	int k = guard_for(vm, exit, epoch, &others);

	if (k < 0 || to->dead || vm->blocks[x->block].dead || (others && x->to != block_index(vm, to)))
		return;
	if (x->to != block_index(vm, to)) {
		if (x->to)
			unlink_exit(vm, exit);
		link_to(vm, exit, to);
	}
	__atomic_store_n(guard_of(vm, x, (unsigned)k), epoch, __ATOMIC_RELEASE);
	patch(vm, x, x->call ? to->jump - CALL_ENTRY : to->jump + slot_entry(to));
}

/* All far links to a block. */
static void unlink_far(struct jit_vm *vm, struct jit_block *b)
{
	uint32_t keep = 0;

	for (uint32_t n = b->incoming, next; n; n = next) {
		struct jit_exit *x = &vm->exits[n];
		next = x->next;
		x->next = x->far ? 0 : keep;
		if (x->far)
			x->to = 0;
		else
			keep = n;
	}
	b->incoming = keep;
}

void blocks_unlink_far(struct jit_vm *vm)
{
	for (uint32_t n = 0; n < vm->nfar; n++) {
		struct jit_exit *x = &vm->exits[vm->far[n]];
		if (x->to)
			unlink_far(vm, &vm->blocks[x->to]);
		x->listed = false;
		patch_back(vm, x);
	}
	vm->nfar = 0;
	memset(vm->far_filter, 0, sizeof(vm->far_filter));
}

static void unlink_incoming(struct jit_vm *vm, struct jit_block *b)
{
	for (uint32_t n = b->incoming, next; n; n = next) {
		struct jit_exit *x = &vm->exits[n];
		next = x->next;
		patch_back(vm, x);
		x->to = x->next = 0;
	}
	b->incoming = 0;
}

static void unlink_outgoing(struct jit_vm *vm, struct jit_block *b)
{
	for (uint32_t i = b->exits; i < b->exits + b->nexits; i++)
		if (vm->exits[i].to)
			unlink_exit(vm, i);
}

void blocks_unlink_guarded(struct jit_vm *vm)
{
	for (uint32_t n = 1; n < EXIT_MAX; n++)
		if (vm->exits[n].to && vm->exits[n].guarded)
			unlink_exit(vm, n);
}

static uint32_t *list_next(const struct jit_page *p, struct jit_block *b) { return &b->page_next[is_second(b, p)]; }

/* Jump caches may still lead here: the entry becomes a jump to STUB_DEAD, by one
 * store of the aligned 8 bytes it lies in, which leaves those around the jump. */
static void retire_entry(struct jit_vm *vm, struct jit_block *b)
{
	uint64_t *word = (uint64_t *)(vm->rw + b->jump / 8 * 8), mask = (BIT(8 * RETIRED) - 1) << b->jump % 8 * 8;
	uint64_t jump = 0xe9 | (uint64_t)(uint32_t)(vm->stub[STUB_DEAD] - (block_jump(vm, b) + RETIRED)) << 8;

	__atomic_store_n(word, (*word & ~mask) | jump << b->jump % 8 * 8, __ATOMIC_RELEASE);
}

void block_drop(struct jit_vm *vm, struct jit_block *b)
{
	uint32_t *q = hash_head(vm, b), n = block_index(vm, b);
	while (*q != n)
		q = &vm->blocks[*q].hash_next;
	__atomic_store_n(q, b->hash_next, __ATOMIC_RELEASE);
	b->dead = true;
	atomic_fetch_add(&vm->drops, 1);
	unlink_incoming(vm, b);
	unlink_outgoing(vm, b);
	retire_entry(vm, b);
}

static void page_remark(struct jit_vm *vm, struct jit_page *p)
{
	memset(p->bytes, 0, sizeof(p->bytes));
	for (uint32_t n = p->blocks; n; n = *list_next(p, &vm->blocks[n]))
		page_mark(p, &vm->blocks[n]);
}

static bool page_touched(const struct jit_page *p, unsigned lo, unsigned hi)
{
	for (unsigned i = lo; i < hi; i++)
		if (p->bytes[i / 64] >> (i % 64) & 1)
			return true;
	return false;
}

/* Those that have been dropped before leave the page's list here, too. */
static void drop_covering(struct vcpu *v, struct jit_vm *vm, struct jit_page *p, unsigned lo, unsigned hi)
{
	for (uint32_t *q = &p->blocks; *q; ) {
		struct jit_block *b = &vm->blocks[*q];
		if (!b->dead && covers(b, p, lo, hi)) {
			block_drop(vm, b);
			if (v)
				stat_inc(v, drops);
		}
		if (b->dead)
			*q = *list_next(p, b);
		else
			q = list_next(p, b);
	}
	page_remark(vm, p);
}

/* Without translations, stores to the page need no help any more. */
static void page_unflag(struct jit_vm *vm, uint64_t gpa)
{
	for (struct ram_slot *s = memory_slots(vm->machine->memory); s; s = s->next)
		if (gpa - s->gpa < s->size)
			memory_unflag_page(s, (gpa - s->gpa) / PAGE_SIZE, PAGE_CODE);
}

/* A page that is written again and again beside its blocks holds data now: memory
 * of a program that ended, or the kernel's own __init code, has become a stack.
 * It is better without flag than exact; one that has code and data for good is
 * cleared ever more rarely. */
static bool page_is_data(struct jit_page *p)
{
	if (++p->missed < (unsigned)MISSES_MAX << MIN(p->cleared, (unsigned)MISSES_SHIFT_MAX))
		return false;
	p->missed = 0;
	p->cleared++;
	return true;
}

/* len bytes at gpa, within one page, have been or will be written. */
void blocks_drop(struct vcpu *v, struct jit_vm *vm, uint64_t gpa, size_t len)
{
	struct jit_page *p = page_find(vm, gpa);
	unsigned lo = gpa & PAGE_MASK, hi = lo + (unsigned)len;

	if (p && page_touched(p, lo, hi)) {
		trace2(jit_inval, gpa, len);
		drop_covering(v, vm, p, lo, hi);
	} else if (p && p->blocks && page_is_data(p)) {
		trace2(jit_inval, gpa, len);
		drop_covering(v, vm, p, 0, PAGE_SIZE);
	}
	if (!p || !p->blocks)
		page_unflag(vm, gpa);
}

void blocks_free(struct jit_vm *vm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm->page_hash); i++) {
		for (struct jit_page *p = vm->page_hash[i], *next; p; p = next) {
			next = p->next;
			free(p);
		}
		vm->page_hash[i] = NULL;
	}
}

/* --- eviction */

/* Has a dead block left its list? */
static bool page_prune(struct jit_vm *vm, struct jit_page *p)
{
	bool any = false;

	for (uint32_t *q = &p->blocks; *q; ) {
		struct jit_block *b = &vm->blocks[*q];
		any |= b->dead;
		if (b->dead)
			*q = *list_next(p, b);
		else
			q = list_next(p, b);
	}
	return any;
}

/* No page's list holds dead blocks any more. */
static void pages_prune(struct jit_vm *vm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm->page_hash); i++) {
		for (struct jit_page **q = &vm->page_hash[i], *p; (p = *q); ) {
			if (page_prune(vm, p))
				page_remark(vm, p);
			if (p->blocks) {
				q = &p->next;
				continue;
			}
			*q = p->next;
			free(p);
		}
	}
}

/* Exits [first, end) are gone. */
static void far_prune(struct jit_vm *vm, uint32_t first, uint32_t end)
{
	uint32_t kept = 0;

	for (uint32_t n = 0; n < vm->nfar; n++)
		if (vm->far[n] - first >= end - first)
			vm->far[kept++] = vm->far[n];
	vm->nfar = kept;
}

static void segment_drop(struct jit_vm *vm, unsigned segment)
{
	uint32_t first = segment_blocks(vm, segment), end = vm->segments[segment].blocks;

	for (uint32_t n = first; n < end; n++)
		if (!vm->blocks[n].dead)
			block_drop(vm, &vm->blocks[n]);
	far_prune(vm, segment_exits(vm, segment), segment_exits(vm, segment + 1));
	pages_prune(vm);
	for (unsigned i = 0; i < vm->machine->nvcpus; i++) {
		struct vcpu *v = vm->machine->vcpus[i];
		if (!v->engine_data)
			continue;
		jump_evict(v, vm->rx + segment_at(vm, segment), vm->rx + segment_at(vm, segment + 1));
		memos_drop(&v->mmu->memos);
		tier_forget(v, first, end);
	}
}

void blocks_evict(struct vcpu *v, struct jit_vm *vm)
{
	unsigned next = (vm->segment + 1) % vm->nsegments;

	vm->segments[vm->segment].blocks = vm->nblocks;
	if (vm->segments[next].blocks) {
		segment_drop(vm, next);
		stat_inc(v, evictions);
	}
	vm->generation++;
	code_next(vm);
}
