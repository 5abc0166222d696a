/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jump caches: from a guest RIP to code, for indirect branches and for direct
 * ones that leave their page.  A vCPU has one for each combination of address
 * space, privilege and mode key; HOT_JC and HOT_JC_KERNEL point to those in use.  Like a TLB, an
 * entry stays until the mapping it came from is flushed: tlb_space.code_version
 * tells.  A dropped block stays in there, but its entry code is patched to say so.
 * What does not fit is remembered in a larger table that only C code looks into.
 */
#include <errno.h>
#include <sys/mman.h>
#include "engine/jit/jit.h"

/* The RIP of an empty entry. A guest can go there as well: it finds one, which leads to
 * C code, and is never entered itself. */
#define NO_RIP UINT64_MAX

static struct jump_entry no_jump(const struct jit_vm *vm)
{
	return (struct jump_entry) { NO_RIP, vm->stub[STUB_DEAD] };
}

static bool seg_open(const struct x86_seg *s)
{
	return !(s->attr & SEG_UNUSABLE) && s->limit == UINT32_MAX &&
	       (s->attr & (SEG_S | SEG_CODE | SEG_E | SEG_W)) == (SEG_S | SEG_W);
}

static bool seg_flat(const struct x86_seg *s) { return seg_open(s) && s->base == 0; }

static uint32_t segment_key(const struct x86_cpu *c)
{
	uint32_t key = 0;
	if (c->seg[CS].base == 0 && c->seg[CS].limit == UINT32_MAX && c->seg[SS].attr & SEG_DB &&
	    seg_flat(&c->seg[DS]) && seg_flat(&c->seg[ES]) && seg_flat(&c->seg[SS]))
		key |= KEY_FLAT;
	if (seg_open(&c->seg[FS]))
		key |= KEY_FS;
	if (seg_open(&c->seg[GS]))
		key |= KEY_GS;
	return key;
}

enum { MXCSR_MASKS = 0x1f80 };

static uint32_t vector_key(const struct x86_cpu *c)
{
	uint64_t avx = XFEATURE_SSE | XFEATURE_AVX;
	if (c->cr0 & (CR0_EM | CR0_TS) || !(c->cr4 & CR4_OSFXSR) ||
	    (c->xsave.mxcsr & MXCSR_MASKS) != MXCSR_MASKS)
		return 0;
	return c->cr4 & CR4_OSXSAVE && (c->xcr0 & avx) == avx ? KEY_SSE | KEY_AVX : KEY_SSE;
}

uint32_t mode_key(struct vcpu *v)
{
	const struct x86_cpu *c = &v->cpu;
	unsigned size = cpu_code_size(c);
	uint32_t key = size == 8 ? 3 : size == 4 ? 2 : 1;

	if (cpu_real_mode(c) || cpu_vm86(c))
		key |= KEY_REAL;
	if (size == 4)
		key |= segment_key(c);
	if (size >= 4)
		key |= vector_key(c);
	if (size == 8 && c->cpl == 0)
		key |= c->cr4 & CR4_SMAP ? KEY_KERNEL | KEY_SMAP : KEY_KERNEL;
	if (size == 8 && c->cpl == 3)
		key |= KEY_USER;
	if (c->cr0 & CR0_AM && c->rflags & FL_AC && c->cpl == 3)
		key |= KEY_AC;
	return key;
}

/* All epochs have been used up. */
static void epochs_restart(struct vcpu *v)
{
	struct jit_vcpu *j = jit_of(v);

	jit_lock(v);
	blocks_unlink_guarded(jit_vm(v));
	jit_unlock(v);
	memset(j->past, 0, sizeof(*j->past) << PAST_BITS);
	j->epoch = v->index;
	for (unsigned i = 0; i < JC_COUNT; i++)
		j->jcs[i]->epoch = j->epoch += EPOCH_STEP;
}

static void cache_clear(struct vcpu *v, struct jump_cache *jc)
{
	const struct jump_entry none = no_jump(jit_vm(v));
	struct jit_vcpu *j = jit_of(v);

	jc->epoch = j->epoch += EPOCH_STEP;
	if (unlikely(j->epoch < EPOCH_STEP))
		epochs_restart(v);
	if (jc->logged > JC_LOG) {
		for (unsigned i = 0; i < JC_SIZE; i++)
			jc->e[i] = none;
	} else {
		for (unsigned i = 0; i < jc->logged; i++)
			jc->e[jc->log[i]] = none;
	}
	memset(jc->lost, 0, sizeof(jc->lost));
	jc->logged = 0;
	jc->nonglobal = false;
}

static uint64_t cs_base(const struct vcpu *v, uint32_t key)
{
	return (key & KEY_SIZE) == 3 ? 0 : v->cpu.seg[CS].base;
}

/* Supervisor code is mostly global, and then the same in every address space. */
static const void *tag_of(const struct vcpu *v)
{
	return v->cpu.cpl == 3 ? (const void *)v->mmu->code : v->mmu;
}

static bool matches(const struct jump_cache *jc, const struct vcpu *v, uint32_t key)
{
	return jc->tag == tag_of(v) && jc->key == key && jc->cs_base == cs_base(v, key);
}

static struct jump_cache *cache_find(struct vcpu *v, uint32_t key)
{
	struct jit_vcpu *j = jit_of(v);
	struct jump_cache *victim = NULL;

	for (unsigned i = 0; i < JC_COUNT; i++) {
		if (matches(j->jcs[i], v, key))
			return j->jcs[i];
		if (j->jcs[i] != j->recent[0] && j->jcs[i] != j->recent[1] &&
		    (!victim || j->jcs[i]->used < victim->used))
			victim = j->jcs[i];
	}
	cache_clear(v, victim);
	victim->tag = tag_of(v);
	victim->key = key;
	victim->cs_base = cs_base(v, key);
	return victim;
}

static bool is_stale(const struct jump_cache *jc, const struct soft_mmu *mmu)
{
	return jc->version != mmu->code_version ||
	       (jc->nonglobal && (jc->space != mmu->space || jc->space_version != mmu->space->code_version));
}

/* Far links hold, as entries of a TLB do, until this vCPU flushes their mappings. */
static void forget_far(struct vcpu *v)
{
	struct jit_vm *vm = jit_vm(v);

	jit_lock(v);
	stat_inc(v, far_flushes);
	blocks_unlink_far(vm);
	jit_of(v)->far_version = v->mmu->far_version;
	jit_unlock(v);
}

void jump_select(struct vcpu *v)
{
	struct jit_vcpu *j = jit_of(v);
	uint32_t key = mode_key(v);
	struct jump_cache **recent = &j->recent[v->cpu.cpl == 3];

	j->key = key;
	if (unlikely(!matches(*recent, v, key))) {
		*recent = cache_find(v, key);
		(*recent)->used = ++j->clock;
	}
	j->jc = *recent;
	if (unlikely(j->far_version != v->mmu->far_version))
		forget_far(v);
	if (unlikely(is_stale(j->jc, v->mmu))) {
		stat_inc(v, jc_flushes);
		cache_clear(v, j->jc);
		j->jc->version = v->mmu->code_version;
	}
	v->hot[HOT_TLB] = (uintptr_t)v->mmu->data;
	v->hot[HOT_TLB_STORES] = (uintptr_t)(v->mmu->data + TLB_STORES);
	if (key & KEY_USER)
		returns_select(v);
	/* A full barrier: a kick stores this word after the request that the caller looks for. */
	if (v->hot[jc_word(key)] != (uintptr_t)j->jc->e)
		__atomic_exchange_n(&v->hot[jc_word(key)], (uintptr_t)j->jc->e, __ATOMIC_SEQ_CST);
	if (jc_word(key) == HOT_JC && v->hot[HOT_EPOCH] != j->jc->epoch)
		__atomic_exchange_n(&v->hot[HOT_EPOCH], j->jc->epoch, __ATOMIC_SEQ_CST);
}

/* Non-global entries hold from now on under the version of now. */
static void make_nonglobal(struct jump_cache *jc, const struct tlb_space *space)
{
	if (!jc->nonglobal) {
		jc->space = space;
		jc->space_version = space->code_version;
	}
	jc->nonglobal = true;
}

static void log_slot(struct jump_cache *jc, unsigned slot)
{
	if (jc->logged < JC_LOG)
		jc->log[jc->logged] = (uint16_t)slot;
	if (jc->logged <= JC_LOG)
		jc->logged++;
}

static struct past_jump *past_at(const struct jit_vcpu *j, uint64_t rip)
{
	return &j->past[((uint32_t)rip + j->jc->epoch) * JC_FACTOR >> (32 - PAST_BITS)];
}

/* Most of what a new process runs is not there: one look less, at memory that no cache has. */
static bool may_be_past(const struct jump_cache *jc, uint64_t rip)
{
	unsigned pair = jump_slot(rip) / 2;

	return jc->lost[pair / 64] >> (pair % 64) & 1;
}

void jump_prefetch(struct vcpu *v, uint64_t rip)
{
	if (may_be_past(jit_of(v)->jc, rip))
		__builtin_prefetch(past_at(jit_of(v), rip));
}

/* An entry loses its place in the jump cache. */
static void give_up(struct vcpu *v, const struct jump_entry *e)
{
	struct jump_cache *jc = jit_of(v)->jc;
	unsigned pair = jump_slot(e->rip) / 2;

	if (e->rip == NO_RIP)
		return;
	jc->lost[pair / 64] |= BIT(pair % 64);
	*past_at(jit_of(v), e->rip) = (struct past_jump) { .rip = e->rip, .epoch = jc->epoch,
							   .code = (uint32_t)(e->code - jit_vm(v)->rx) };
}

static void enter(struct vcpu *v, uint64_t rip, const uint8_t *code)
{
	struct jump_cache *jc = jit_of(v)->jc;
	unsigned slot = jump_slot(rip);

	log_slot(jc, slot);
	if (jc->e[slot].rip != rip && jc->e[slot].rip != NO_RIP) {
		if (jc->e[slot ^ 1].rip != rip)
			give_up(v, &jc->e[slot ^ 1]);
		jc->e[slot ^ 1] = jc->e[slot];
		log_slot(jc, slot ^ 1);
	}
	jc->e[slot].code = code;
	__atomic_store_n(&jc->e[slot].rip, rip, __ATOMIC_RELEASE);
}

const uint8_t *jump_get(struct vcpu *v, uint64_t rip)
{
	const struct jit_vcpu *j = jit_of(v);
	const struct jump_entry *e = j->jc->e;
	unsigned slot = jump_slot(rip);

	if (unlikely(rip == NO_RIP))
		return NULL;
	if (e[slot].rip == rip)
		return e[slot].code;
	if (e[slot ^ 1].rip == rip)
		return e[slot ^ 1].code;
	if (!may_be_past(j->jc, rip))
		return NULL;
	const struct past_jump *past = past_at(j, rip);
	if (past->rip != rip || past->epoch != j->jc->epoch)
		return NULL;
	stat_inc(v, regained);
	const uint8_t *code = jit_vm(v)->rx + past->code;      /* what gives way may take its place */
	enter(v, rip, code);
	return code;
}

/* `lin`: linear address of a page the entry depends on. */
void jump_put(struct vcpu *v, uint64_t rip, uint64_t lin, const uint8_t *code)
{
	struct jump_cache *jc = jit_of(v)->jc;
	unsigned page = code_hash(lin);

	if (unlikely(rip == NO_RIP))
		return;
	const struct tlb_entry *page_entry = &v->mmu->code[tlb_index(lin)];
	const struct tlb_space *space = v->mmu->space;
	if (page_entry->exec != (lin & ~PAGE_MASK) || !space->global[v->cpu.cpl == 3][tlb_index(lin)])
		make_nonglobal(jc, space);
	v->mmu->code_filter[page / 64] |= BIT(page % 64);
	enter(v, rip, code);
}

void jump_forget(struct vcpu *v, uint64_t rip)
{
	struct jump_entry *e = jit_of(v)->jc->e;
	struct past_jump *past = past_at(jit_of(v), rip);
	unsigned slot = jump_slot(rip);

	if (past->rip == rip)
		past->epoch = 0;
	if (e[slot].rip == rip)
		e[slot] = no_jump(jit_vm(v));
	if (e[slot ^ 1].rip == rip)
		e[slot ^ 1] = no_jump(jit_vm(v));
}

void jump_evict(struct vcpu *v, const uint8_t *low, const uint8_t *end)
{
	struct past_jump *past = jit_of(v)->past;

	returns_reset(v);
	for (unsigned i = 0; i < 1 << PAST_BITS; i++)
		if (past[i].epoch && past[i].code >= low - jit_vm(v)->rx && past[i].code < end - jit_vm(v)->rx)
			past[i].epoch = 0;
	for (unsigned i = 0; i < JC_COUNT; i++) {
		struct jump_cache *jc = jit_of(v)->jcs[i];
		for (unsigned slot = 0; jc->tag && slot < JC_SIZE; slot++)
			if (jc->e[slot].code >= low && jc->e[slot].code < end)
				jc->e[slot] = no_jump(jit_vm(v));
	}
}

static void *pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

bool jump_create(struct vcpu *v, struct error *err)
{
	struct jit_vcpu *j = jit_of(v);

	j->past = pages(sizeof(*j->past) << PAST_BITS);
	if (!j->past)
		return error_set(err, errno, "cannot allocate jump caches for vCPU %u", v->index);
	for (unsigned i = 0; i < JC_COUNT; i++) {
		j->jcs[i] = pages(sizeof(struct jump_cache));
		if (!j->jcs[i])
			return error_set(err, errno, "cannot allocate jump caches for vCPU %u", v->index);
		j->jcs[i]->logged = JC_LOG + 1;      /* cleared when it is taken: memory is spent then */
	}
	j->epoch = v->index;
	cache_clear(v, j->jcs[0]);
	j->empty = pages(JC_SIZE * sizeof(struct jump_entry));
	if (!j->empty)
		return error_set(err, errno, "cannot allocate jump caches for vCPU %u", v->index);
	for (unsigned i = 0; i < JC_SIZE; i++)
		j->empty[i] = no_jump(jit_vm(v));
	j->jc = j->recent[0] = j->recent[1] = j->jcs[0];
	v->mmu->far_filter = jit_vm(v)->far_filter;
	return true;
}

void jump_destroy(struct vcpu *v)
{
	struct jit_vcpu *j = jit_of(v);

	for (unsigned i = 0; i < JC_COUNT; i++)
		if (j->jcs[i])
			munmap(j->jcs[i], sizeof(struct jump_cache));
	if (j->past)
		munmap(j->past, sizeof(*j->past) << PAST_BITS);
	if (j->empty)
		munmap(j->empty, JC_SIZE * sizeof(struct jump_entry));
}
