/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks: found by the RAM address of their first byte and the mode they were
 * made for; listed by page, so that a store into a page drops just those whose
 * bytes it changes.  Dropping unlinks a block from everything that could jump
 * to it; its code stays until the whole cache is flushed, so a vCPU that is
 * inside runs on to its next exit.
 *
 * requires everywhere: vm->lock
 */
#include "engine/jit/jit.h"
#include "engine/soft/mmu.h"

enum { MISSES_MAX = 64, MISSES_SHIFT_MAX = 10 };

static unsigned hash_block(uint64_t gpa, uint32_t key)
{
	return (unsigned)((gpa ^ gpa >> 13 ^ (uint64_t)key * 0x9e5) & ((1 << HASH_BITS) - 1));
}

static unsigned hash_page(uint64_t gpa)
{
	return (unsigned)((gpa >> 12) & ((1 << HASH_BITS) - 1));
}

struct jit_block *block_find(struct jit_vm *vm, const struct code *c, unsigned off, uint32_t key)
{
	struct jit_block *b = vm->hash[hash_block(c->page + off, key)];
	while (b && (b->page != c->page || b->off != off || b->key != key || b->page2 != c->page2 ||
		     b->base != c->base))
		b = b->hash_next;
	return b;
}

bool block_overruns(struct jit_vm *vm, uint64_t page, unsigned off, uint32_t key)
{
	struct jit_block *b = vm->hash[hash_block(page + off, key)];
	while (b && (b->page != page || b->off != off || b->key != key || b->page2 == PAGE_NONE))
		b = b->hash_next;
	return b;
}

static struct jit_page *page_find(struct jit_vm *vm, uint64_t gpa)
{
	struct jit_page *p = vm->page_hash[hash_page(gpa)];
	gpa &= ~PAGE_MASK;
	while (p && p->gpa != gpa)
		p = p->next;
	return p;
}

static struct jit_page *page_get(struct jit_vm *vm, uint64_t gpa)
{
	struct jit_page *p = page_find(vm, gpa), **head = &vm->page_hash[hash_page(gpa)];
	if (p)
		return p;
	p = xnew(struct jit_page);
	p->gpa = gpa & ~PAGE_MASK;
	p->next = *head;
	*head = p;
	return p;
}

static bool is_second(const struct jit_block *b, const struct jit_page *p) { return b->page != p->gpa; }

static bool covers(const struct jit_block *b, const struct jit_page *p, unsigned lo, unsigned hi)
{
	unsigned shift = is_second(b, p) ? PAGE_SIZE : 0;
	return lo + shift < b->hi && b->lo < hi + shift;
}

static void page_mark(struct jit_page *p, const struct jit_block *b)
{
	unsigned shift = is_second(b, p) ? PAGE_SIZE : 0;
	unsigned lo = MAX(b->lo, shift) - shift, end = MAX(b->hi, shift) - shift, hi = MIN(end, (unsigned)PAGE_SIZE);

	if (lo >= hi)
		return;
	uint64_t head = ~0ull << lo % 64, tail = ~0ull >> (63 - (hi - 1) % 64);
	for (unsigned word = lo / 64; word <= (hi - 1) / 64; word++)
		p->bytes[word] |= (word == lo / 64 ? head : ~0ull) & (word == (hi - 1) / 64 ? tail : ~0ull);
}

static void page_add(struct jit_page *p, struct jit_block *b)
{
	b->page_next[is_second(b, p)] = p->blocks;
	p->blocks = b;
	page_mark(p, b);
}

void block_add(struct jit_vm *vm, struct jit_block *b)
{
	struct jit_block **head = &vm->hash[hash_block(b->page + b->off, b->key)];

	b->hash_next = *head;
	*head = b;
	page_add(page_get(vm, b->page), b);
	if (b->page2 != PAGE_NONE)
		page_add(page_get(vm, b->page2), b);
}

/* Rel32 fields lie inside aligned 8 bytes (emit_align_patch), so other vCPUs
 * see the old or the new jump. */
static void patch(struct jit_vm *vm, uint8_t *rel32, const uint8_t *to)
{
	const uint8_t *from = rel32 + (vm->rx - vm->rw) + 4;
	__atomic_store_n((uint32_t *)rel32, (uint32_t)(to - from), __ATOMIC_RELEASE);
}

void block_link(struct jit_vm *vm, struct jit_exit *x, struct jit_block *to)
{
	if (x->to || to->dead || vm->blocks[x->block].dead)
		return;
	x->to = to;
	x->next = to->incoming;
	to->incoming = x;
	patch(vm, x->patch, to->code);
}

/* To be found when mappings change. */
static void far_enter(struct jit_vm *vm, struct jit_exit *x)
{
	if (!x->listed)
		vm->far[vm->nfar++] = (uint32_t)(x - vm->exits);
	x->listed = true;
}

void block_link_far(struct jit_vm *vm, struct jit_exit *x, struct jit_block *to)
{
	if (x->to || vm->blocks[x->block].dead)
		return;
	far_enter(vm, x);
	if (!to) {
		patch(vm, x->patch, x->lookup);
		return;
	}
	x->to = to;
	x->next = to->incoming;
	to->incoming = x;
	patch(vm, x->patch, to->needs_flags && !x->flags_native ? to->code_slot : to->code);
}

/* All far links to a block. */
static void unlink_far(struct jit_block *b)
{
	struct jit_exit *keep = NULL;

	for (struct jit_exit *x = b->incoming, *next; x; x = next) {
		next = x->next;
		x->next = x->far ? NULL : keep;
		if (x->far)
			x->to = NULL;
		else
			keep = x;
	}
	b->incoming = keep;
}

void blocks_unlink_far(struct jit_vm *vm)
{
	for (uint32_t n = 0; n < vm->nfar; n++) {
		struct jit_exit *x = &vm->exits[vm->far[n]];
		if (x->to)
			unlink_far(x->to);
		x->listed = false;
		patch(vm, x->patch, x->stub);
	}
	vm->nfar = 0;
	memset(vm->far_filter, 0, sizeof(vm->far_filter));
}

static void unlink_incoming(struct jit_vm *vm, struct jit_block *b)
{
	for (struct jit_exit *x = b->incoming, *next; x; x = next) {
		next = x->next;
		patch(vm, x->patch, x->stub);
		x->to = NULL;
		x->next = NULL;
	}
	b->incoming = NULL;
}

static void unlink_outgoing(struct jit_vm *vm, struct jit_block *b)
{
	for (uint32_t i = b->exits; i < b->exits + b->nexits; i++) {
		struct jit_exit *x = &vm->exits[i], **p;
		if (!x->to)
			continue;
		for (p = &x->to->incoming; *p != x; p = &(*p)->next)
			;
		*p = x->next;
		patch(vm, x->patch, x->stub);
		x->to = NULL;
	}
}

static void list_remove(struct jit_page *p, struct jit_block *b)
{
	struct jit_block **q = &p->blocks;
	while (*q && *q != b)
		q = &(*q)->page_next[is_second(*q, p)];
	if (*q)
		*q = b->page_next[is_second(b, p)];
}

/* Jump caches may still lead here: the entry becomes a jump to STUB_DEAD, by one
 * store of 8 bytes (it is aligned). */
static void retire_entry(struct jit_vm *vm, struct jit_block *b)
{
	uint8_t *p = (uint8_t *)b->code_jump - (vm->rx - vm->rw);
	int64_t code = 0xe9 | (int64_t)(uint32_t)(vm->stub[STUB_DEAD] - (b->code_jump + 5)) << 8;

	__atomic_store_n((int64_t *)p, code | (int64_t)(0xccccccull << 40), __ATOMIC_RELEASE);
}

void block_drop(struct jit_vm *vm, struct jit_block *b)
{
	struct jit_block **q = &vm->hash[hash_block(b->page + b->off, b->key)];
	while (*q != b)
		q = &(*q)->hash_next;
	*q = b->hash_next;
	list_remove(page_find(vm, b->page), b);
	if (b->page2 != PAGE_NONE)
		list_remove(page_find(vm, b->page2), b);
	b->dead = true;
	atomic_fetch_add(&vm->drops, 1);
	unlink_incoming(vm, b);
	unlink_outgoing(vm, b);
	retire_entry(vm, b);
}

static void page_remark(struct jit_page *p)
{
	memset(p->bytes, 0, sizeof(p->bytes));
	for (struct jit_block *b = p->blocks; b; b = b->page_next[is_second(b, p)])
		page_mark(p, b);
}

static bool page_touched(const struct jit_page *p, unsigned lo, unsigned hi)
{
	for (unsigned i = lo; i < hi; i++)
		if (p->bytes[i / 64] >> (i % 64) & 1)
			return true;
	return false;
}

static void drop_covering(struct vcpu *v, struct jit_vm *vm, struct jit_page *p, unsigned lo, unsigned hi)
{
	for (struct jit_block *b = p->blocks, *next; b; b = next) {
		next = b->page_next[is_second(b, p)];
		if (!covers(b, p, lo, hi))
			continue;
		block_drop(vm, b);
		if (v)
			stat_inc(v, drops);
	}
	page_remark(p);
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

/* The code cache is full: all other vCPUs stand still (jit_stop_others). */
void blocks_flush(struct vcpu *v, struct jit_vm *vm)
{
	stat_inc(v, flushes);
	blocks_free(vm);
	memset(vm->hash, 0, sizeof(vm->hash));
	vm->nblocks = vm->nexits = vm->nrecs = vm->nfar = vm->nmemos = vm->nprofiles = 0;
	vm->used = vm->start;
	vm->generation++;
	for (unsigned i = 0; i < vm->machine->nvcpus; i++)
		if (vm->machine->vcpus[i]->engine_data) {
			jump_flush_all(vm->machine->vcpus[i]);
			memos_drop(&vm->machine->vcpus[i]->mmu->memos);
		}
}
