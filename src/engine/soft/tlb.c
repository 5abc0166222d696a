/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TLB: entries, address spaces, flushes.  A space keeps a log of the entries
 * made since its last flush, so that flushing after few fills is cheap; the log
 * of global entries is apart, they outlive MOV CR3 (SDM 3A 4.10).
 */
#include "engine/soft/walk.h"

#include <errno.h>
#include <sys/mman.h>

enum { NO_PCID = 0xffff };

static const struct tlb_entry no_entry = { TLB_NONE, TLB_NONE, TLB_NONE, 0 };

/* Hashes of the 4 MiB and 1 GiB regions, for the filters of large pages. */
static unsigned large_hash(uint64_t lin) { return (unsigned)(lin >> 22 ^ lin >> 32) & (LARGE_FILTER - 1); }
static unsigned huge_hash(uint64_t lin) { return (lin >> 30 ^ lin >> 38) & 255; }

static bool is_set(const uint64_t *bits, unsigned n) { return bits[n / 64] >> (n % 64) & 1; }

/* There are no entries of large pages any more. */
static void large_forget(struct tlb_space *s)
{
	memset(s->large, 0, sizeof(s->large));
	memset(s->huge, 0, sizeof(s->huge));
}

static void large_note(struct tlb_space *s, uint64_t lin, unsigned shift)
{
	if (shift == 30)
		s->huge[huge_hash(lin) / 64] |= BIT(huge_hash(lin) % 64);
	else if (shift > 12)
		s->large[large_hash(lin) / 64] |= BIT(large_hash(lin) % 64);
}

/* Never made, or dropped: an addend is a difference to the host's memory. */
static bool is_empty(const struct tlb_entry *e) { return !e->addend || (e->read & e->write & e->exec) == TLB_NONE; }

static void space_clear(struct tlb_space *s)
{
	struct tlb_entry *e = &s->tlb[0][0];
	for (unsigned i = 0; i < 2 * MMU_MODES * TLB_SIZE; i++)
		if (!is_empty(&e[i]))
			e[i] = no_entry;
	large_forget(s);
	s->logged[0] = s->logged[1] = 0;
	s->code_version++;
}

static void space_flush(struct tlb_space *s, unsigned global)
{
	struct tlb_entry *e = &s->tlb[0][0];
	if (s->logged[global] > TLB_LOG) {
		space_clear(s);
		return;
	}
	for (unsigned i = 0; i < s->logged[global]; i++)
		e[s->log[global][i]] = no_entry;
	s->logged[global] = 0;
	s->code_version++;
}

static struct tlb_space *space_new(void)
{
	void *p = mmap(NULL, sizeof(struct tlb_space), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	struct tlb_space *s = p;
	for (unsigned mode = 0; mode < 2 * MMU_MODES; mode++)
		for (unsigned i = 0; i < TLB_BEFORE_ZERO; i++)
			s->tlb[mode][(TLB_SIZE - i) % TLB_SIZE] = no_entry;
	return s;
}

static void space_use(struct vcpu *v, struct tlb_space *s)
{
	s->used = ++v->mmu->clock;
	v->mmu->flushes++;
	memos_drop(&v->mmu->memos);
	v->mmu->space = s;
	mmu_update_mode(v);
}

/* The space of a PCID; takes over the one unused for longest if it has none. */
static struct tlb_space *space_find(struct soft_mmu *mmu, unsigned pcid)
{
	struct tlb_space *victim = NULL;
	for (unsigned i = 0; i < MMU_SPACES; i++) {
		struct tlb_space *s = mmu->spaces[i];
		if (!s) {
			s = mmu->spaces[i] = space_new();
			if (!s)
				break;
			s->pcid = (uint16_t)pcid;
		}
		if (s->pcid == pcid)
			return s;
		if (s != mmu->space && (!victim || s->used < victim->used))
			victim = s;
	}
	if (!victim)              /* no memory for a second one */
		victim = mmu->space;
	space_flush(victim, 0);
	space_flush(victim, 1);
	victim->pcid = (uint16_t)pcid;
	return victim;
}

void mmu_update_mode(struct vcpu *v)
{
	const struct x86_cpu *c = &v->cpu;
	struct soft_mmu *mmu = v->mmu;
	unsigned code = c->cpl == 3 ? MMU_USER : MMU_SUPER;
	mmu->mode = code;
	if (code == MMU_SUPER && c->cr4 & CR4_SMAP && c->rflags & FL_AC)
		mmu->mode = MMU_SUPER_AC;
	if (unlikely(code == MMU_USER && c->cr0 & CR0_AM && c->rflags & FL_AC))
		mmu->mode = MMU_USER_AC;
	mmu->data = mmu->space->tlb[mmu->mode];
	mmu->code = mmu->space->tlb[code];
}

static void log_entry(struct tlb_space *s, unsigned mode, unsigned slot, bool global)
{
	unsigned n = s->logged[global];
	if (n < TLB_LOG)
		s->log[global][n] = (uint32_t)(mode << TLB_BITS | slot);
	s->logged[global] = MIN(n + 1, (unsigned)TLB_LOG + 1);
}

static bool entry_in(const struct tlb_entry *e, uint64_t lin, unsigned shift)
{
	uint64_t tag = e->read & e->write & e->exec;   /* tags are equal or all ones */
	return tag != TLB_NONE && tag >> shift == lin >> shift;
}

/* May an entry of one kind take this slot for an access of another kind? Only if
 * nobody loses: a copy's source must not drive out its destination. */
static bool slot_free(const struct tlb_entry *e, uint64_t lin)
{
	return is_empty(e) || entry_in(e, lin, 12);
}

static unsigned stored_hash(uint64_t host) { return host >> 12 & (STORED_FILTER - 1); }

static void note_stored(struct soft_mmu *mmu, const struct tlb_entry *e)
{
	unsigned n = stored_hash((e->write & ~PAGE_MASK) + (uint64_t)e->addend);
	mmu->stored[n / 64] |= BIT(n % 64);
}

void tlb_fill(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode, const struct mapping *m,
	      const struct mmu_ram *ram, bool watched)
{
	struct tlb_space *s = v->mmu->space;
	uint64_t page = lin & ~PAGE_MASK, gpa = m->gpa & ~PAGE_MASK;
	uint64_t slot_page = (ram->slot_offset + (gpa - ram->start)) / PAGE_SIZE;
	int64_t addend = (int64_t)((uintptr_t)ram->host + (gpa - ram->start) - page);
	struct tlb_entry *e = &s->tlb[mode][tlb_index(lin)], *w = e + TLB_STORES;
	bool store = !watched && m->dirty && !ram->readonly && !ram->slot->flags[slot_page] &&
		     mapping_allows(v, m, MMU_WRITE, mode);

	if (acc != MMU_WRITE || slot_free(e, lin)) {
		e->write = TLB_NONE;
		e->read = !watched && mapping_allows(v, m, MMU_READ, mode) ? page : TLB_NONE;
		e->exec = mapping_allows(v, m, MMU_EXEC, mode) ? page : TLB_NONE;
		e->addend = addend;
		s->global[mode][tlb_index(lin)] = m->global;
		log_entry(s, mode, tlb_index(lin), m->global);
	}
	if (store && (acc == MMU_WRITE || slot_free(w, lin))) {
		w->read = w->exec = TLB_NONE;
		w->write = v->mmu->undo ? page | TLB_NOTED : page;
		w->addend = addend;
		note_stored(v->mmu, w);
		log_entry(s, MMU_MODES + mode, tlb_index(lin), m->global);
	} else if (entry_in(w, lin, 12)) {
		*w = no_entry;
		memos_drop(&v->mmu->memos);
	}
	large_note(s, lin, m->shift);
}

static bool log_is_whole(const struct tlb_space *s) { return s->logged[0] <= TLB_LOG && s->logged[1] <= TLB_LOG; }

/* Drop every entry of the 2^shift bytes around lin. */
static void space_drop_region(struct tlb_space *s, uint64_t lin, unsigned shift)
{
	struct tlb_entry *e = &s->tlb[0][0];
	if (!log_is_whole(s)) {
		for (unsigned i = 0; i < 2 * MMU_MODES * TLB_SIZE; i++)
			if (entry_in(&e[i], lin, shift))
				e[i] = no_entry;
		return;
	}
	for (unsigned global = 0; global < 2; global++)
		for (unsigned i = 0; i < s->logged[global]; i++)
			if (entry_in(&e[s->log[global][i]], lin, shift))
				e[s->log[global][i]] = no_entry;
}

/* Any mapping of code may have changed, global ones too. */
static void code_changed(struct soft_mmu *mmu)
{
	mmu->code_version++;
	memset(mmu->code_filter, 0, sizeof(mmu->code_filter));
}

/* A mapping of 4 MiB around lin is gone, or two of 2 MiB. */
static void large_code_changed(struct soft_mmu *mmu, uint64_t lin)
{
	const unsigned words = (1 << (22 - 12)) / 64;
	const uint64_t *filter = &mmu->code_filter[code_hash(lin) / 64 / words * words];

	for (unsigned i = 0; i < words; i++)
		if (filter[i]) {
			code_changed(mmu);
			return;
		}
}

static void space_drop_page(struct tlb_space *s, uint64_t lin)
{
	for (unsigned mode = 0; mode < 2 * MMU_MODES; mode++) {
		struct tlb_entry *e = &s->tlb[mode][tlb_index(lin)];
		if (entry_in(e, lin, 12))
			*e = no_entry;
	}
}

static void everything_changed(struct soft_mmu *mmu)
{
	code_changed(mmu);
	mmu->far_version++;
}

/* Another vCPU that links notes the region before it looks at the page tables. */
static void far_changed(struct soft_mmu *mmu, uint64_t lin)
{
	if (!mmu->far_filter || !(lin >> 63))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (is_set(mmu->far_filter, far_hash(lin)))
		mmu->far_version++;
}

void mmu_flush_page(struct vcpu *v, uint64_t lin)
{
	far_changed(v->mmu, lin);
	if (is_set(v->mmu->code_filter, code_hash(lin)))
		code_changed(v->mmu);
	v->mmu->flushes++;
	memos_drop(&v->mmu->memos);
	for (unsigned i = 0; i < MMU_SPACES && v->mmu->spaces[i]; i++) {
		struct tlb_space *s = v->mmu->spaces[i];
		if (is_set(s->huge, huge_hash(lin)))
			everything_changed(v->mmu), space_drop_region(s, lin, 30);
		else if (is_set(s->large, large_hash(lin)))
			large_code_changed(v->mmu, lin), space_drop_region(s, lin, 22);
		else
			space_drop_page(s, lin);
	}
}

/* All spaces are empty then; only the one in use keeps an owner. */
void mmu_flush_all(struct vcpu *v)
{
	struct soft_mmu *mmu = v->mmu;
	mmu->flushes++;
	memos_drop(&mmu->memos);
	everything_changed(mmu);
	for (unsigned i = 0; i < MMU_SPACES && mmu->spaces[i]; i++) {
		struct tlb_space *s = mmu->spaces[i];
		space_flush(s, 0);
		space_flush(s, 1);
		large_forget(s);
		s->pcid = NO_PCID;
	}
	mmu->space->pcid = v->cpu.cr4 & CR4_PCIDE ? v->cpu.cr3 & 0xfff : 0;
}

void mmu_flush_nonglobal(struct vcpu *v)
{
	v->mmu->flushes++;
	memos_drop(&v->mmu->memos);
	space_flush(v->mmu->space, 0);
}

void mmu_flush_pcid(struct vcpu *v, unsigned pcid)
{
	v->mmu->flushes++;
	memos_drop(&v->mmu->memos);
	for (unsigned i = 0; i < MMU_SPACES && v->mmu->spaces[i]; i++)
		if (v->mmu->spaces[i]->pcid == pcid)
			space_flush(v->mmu->spaces[i], 0);
}

void mmu_set_cr3(struct vcpu *v, uint64_t cr3)
{
	bool pcide = v->cpu.cr4 & CR4_PCIDE, keep = pcide && cr3 >> 63;
	unsigned pcid = pcide ? cr3 & 0xfff : 0;
	v->cpu.cr3 = cr3 & ~BIT(63);
	if (v->mmu->space->pcid != pcid)
		space_use(v, space_find(v->mmu, pcid));
	if (!keep)
		mmu_flush_nonglobal(v);
}

static void drop_writable(struct soft_mmu *mmu, struct tlb_entry *e, uint64_t host, uint64_t size)
{
	if (e->write == TLB_NONE || is_empty(e))
		return;
	if ((e->write & ~PAGE_MASK) + (uint64_t)e->addend - host < size)
		e->write = TLB_NONE;
	else
		note_stored(mmu, e);
}

static void space_drop_writable(struct soft_mmu *mmu, struct tlb_space *s, uint64_t host, uint64_t size)
{
	struct tlb_entry *e = &s->tlb[0][0];
	if (!log_is_whole(s)) {
		for (unsigned i = TLB_STORES; i < 2 * MMU_MODES * TLB_SIZE; i++)
			drop_writable(mmu, &e[i], host, size);
		return;
	}
	for (unsigned global = 0; global < 2; global++)
		for (unsigned i = 0; i < s->logged[global]; i++)
			drop_writable(mmu, &e[s->log[global][i]], host, size);
}

static bool was_stored(const struct soft_mmu *mmu, uint64_t host, uint64_t count)
{
	if (count >= STORED_FILTER)
		return true;
	for (uint64_t i = 0; i < count; i++)
		if (is_set(mmu->stored, stored_hash(host + i * PAGE_SIZE)))
			return true;
	return false;
}

/* All entries are looked at for one page, which often becomes code: a program's, written in a
 * row with others that will. So those around it go, too. */
#define DROP_PAGES UINT64_C(64)

void mmu_drop_writable(struct vcpu *v, struct ram_slot *slot, uint64_t first, uint64_t count)
{
	uint64_t from = first & ~(DROP_PAGES - 1), end = ALIGN_UP(first + count, DROP_PAGES);

	if (!was_stored(v->mmu, (uintptr_t)slot->host + first * PAGE_SIZE, count))
		return;
	memset(v->mmu->stored, 0, sizeof(v->mmu->stored));
	memos_drop(&v->mmu->memos);
	for (unsigned i = 0; i < MMU_SPACES && v->mmu->spaces[i]; i++)
		space_drop_writable(v->mmu, v->mmu->spaces[i], (uintptr_t)slot->host + from * PAGE_SIZE,
				    (end - from) * PAGE_SIZE);
}

bool mmu_create(struct vcpu *v, struct error *err)
{
	struct soft_mmu *mmu = xnew(struct soft_mmu);
	mmu->space = mmu->spaces[0] = space_new();
	if (!mmu->space) {
		free(mmu);
		return error_set(err, errno, "cannot allocate a TLB for vCPU %u", v->index);
	}
	mmu->phys_reserved = 0xffffffffff000 & ~(BIT(v->model->phys_bits) - 1);
	mmu->generation = memory_generation(v->memory);
	v->mmu = mmu;
	mmu_update_mode(v);
	return true;
}

void mmu_destroy(struct vcpu *v)
{
	struct soft_mmu *mmu = v->mmu;
	if (!mmu)
		return;
	for (unsigned i = 0; i < MMU_SPACES; i++)
		if (mmu->spaces[i])
			munmap(mmu->spaces[i], sizeof(struct tlb_space));
	free(mmu);
	v->mmu = NULL;
}
