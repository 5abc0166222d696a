/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page walk: 32-bit with PSE and PSE-36, PAE, 4-level (SDM 3A 4.3 to 4.7).
 * Accessed and dirty bits are set by compare-exchange in guest RAM, since other
 * vCPUs run at the same time; a lost race starts the walk again.
 */
#include "engine/soft/walk.h"

/* How one paging mode lays out an entry. */
struct format {
	uint8_t top, bits, esize;      /* first shift, index bits, entry bytes */
	uint64_t table;                /* physical address of the first table */
	uint64_t reserved;             /* bits reserved in every entry */
};

static bool ram_refill(struct vcpu *v, uint64_t gpa, struct mmu_ram *r)
{
	const struct mem_range *range = memory_find(v->memory, gpa);
	if (!range || !range->ram)
		return false;
	*r = (struct mmu_ram){
		.start = range->start, .size = range->last - range->start + 1,
		.host = range->ram->host + range->ram_offset, .slot = range->ram,
		.slot_offset = range->ram_offset, .readonly = range->readonly || range->ram->readonly,
	};
	return true;
}

const struct mmu_ram *ram_find(struct vcpu *v, uint64_t gpa)
{
	struct soft_mmu *mmu = v->mmu;
	uint64_t generation = memory_generation(v->memory);
	if (unlikely(generation != mmu->generation)) {
		mmu_flush_all(v);
		memset(mmu->ram, 0, sizeof(mmu->ram));
		mmu->generation = generation;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(mmu->ram); i++)
		if (gpa - mmu->ram[i].start < mmu->ram[i].size)
			return &mmu->ram[i];
	struct mmu_ram *r = &mmu->ram[mmu->ram_next++ % ARRAY_SIZE(mmu->ram)];
	return ram_refill(v, gpa, r) ? r : NULL;
}

static bool entry_cas(uint8_t *p, unsigned esize, uint64_t old, uint64_t new)
{
	if (esize == 8)
		return __sync_bool_compare_and_swap((uint64_t *)p, old, new);
	return __sync_bool_compare_and_swap((uint32_t *)p, (uint32_t)old, (uint32_t)new);
}

/* Set bits in a page-table entry; false: it changed under us. */
static bool entry_set(struct vcpu *v, uint64_t gpa, unsigned esize, uint64_t old, uint64_t bits)
{
	const struct mmu_ram *r = ram_find(v, gpa);
	if ((old & bits) == bits || !r || r->readonly)
		return true;
	uint64_t off = r->slot_offset + (gpa - r->start);
	if (!entry_cas(r->slot->host + off, esize, old, old | bits))
		return false;
	if (unlikely(r->slot->flags[off / PAGE_SIZE]))
		memory_page_written(v->memory, r->slot, off, esize);
	return true;
}

static uint64_t entry_get(struct vcpu *v, uint64_t gpa, unsigned esize)
{
	const struct mmu_ram *r = ram_find(v, gpa);
	if (!r)
		return memory_load(v->memory, gpa, esize);
	const uint8_t *p = r->host + (gpa - r->start);
	return esize == 8 ? le64_get(p) : le32_get(p);
}

static struct format paging_format(const struct vcpu *v, uint64_t lin)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t phys = v->mmu->phys_reserved, nx = c->efer & EFER_NXE ? 0 : PTE_NX;
	if (cpu_long_mode(c))
		return (struct format){ 39, 9, 8, c->cr3 & 0xffffffffff000, phys | nx };
	if (c->cr4 & CR4_PAE)   /* bits 62..52 are reserved too (SDM 3A 4.4.2) */
		return (struct format){ 21, 9, 8, c->pdpte[lin >> 30 & 3] & 0xffffffffff000,
					phys | nx | 0x7ff0000000000000 };
	return (struct format){ 22, 10, 4, c->cr3 & 0xfffff000, 0 };
}

/* Is an entry at `shift` that has PS set a page there? */
static bool large_allowed(const struct vcpu *v, const struct format *f, unsigned shift)
{
	if (f->esize == 4)
		return v->cpu.cr4 & CR4_PSE;
	return shift == 21 || (shift == 30 && x86_has(v->model, FEAT_PDPE1GB));
}

static uint64_t leaf_reserved(const struct format *f, unsigned shift)
{
	if (shift == 12)
		return f->reserved;
	if (f->esize == 4)             /* PSE-36: bits 20..13 are address bits 39..32 */
		return BIT(21);
	return f->reserved | ((BIT(shift) - 1) & ~0x1fffull);
}

static uint64_t leaf_address(const struct format *f, unsigned shift, uint64_t e, uint64_t lin)
{
	uint64_t in_page = lin & (BIT(shift) - 1);
	if (f->esize == 8)
		return (e & 0xffffffffff000 & ~(BIT(shift) - 1)) | in_page;
	if (shift == 12)
		return (e & 0xfffff000) | in_page;
	return (e & 0xffc00000) | (e >> 13 & 0xff) << 32 | in_page;
}

bool mapping_allows(const struct vcpu *v, const struct mapping *m, enum mmu_access acc,
		    unsigned mode)
{
	const struct x86_cpu *c = &v->cpu;
	bool user_page = m->rights & PTE_U;
	if (mode == MMU_USER && !user_page)
		return false;
	if (acc == MMU_EXEC)
		return !m->nx && !(mode != MMU_USER && user_page && c->cr4 & CR4_SMEP);
	if (mode == MMU_SUPER && user_page && c->cr4 & CR4_SMAP)
		return false;
	if (acc == MMU_WRITE && !(m->rights & PTE_W))
		return mode != MMU_USER && !(c->cr0 & CR0_WP);
	return true;
}

/* SDM 3A 4.7 */
static int fault_code(const struct vcpu *v, enum mmu_access acc, unsigned mode, int why)
{
	const struct x86_cpu *c = &v->cpu;
	if (acc == MMU_WRITE)
		why |= PF_W;
	if (mode == MMU_USER)
		why |= PF_U;
	if (acc == MMU_EXEC && (c->cr4 & CR4_SMEP || (c->cr4 & CR4_PAE && c->efer & EFER_NXE)))
		why |= PF_ID;
	return why;
}

static void map_identity(const struct vcpu *v, uint64_t lin, uint64_t a20, struct mapping *m)
{
	*m = (struct mapping){ .gpa = lin & 0xffffffff & a20, .rights = PTE_W | PTE_U,
			       .dirty = true, .shift = 12 };
}

/* One pass; -2: an entry changed while its A or D bit was being set. */
static int walk_once(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode,
		     bool touch, uint64_t a20, struct mapping *m)
{
	struct format f = paging_format(v, lin);
	uint64_t table = f.table, gpa, e;
	unsigned shift = f.top, mask = (1u << f.bits) - 1;
	uint8_t rights = PTE_W | PTE_U;
	bool nx = false;
	if (f.top == 21 && !(v->cpu.pdpte[lin >> 30 & 3] & PTE_P))
		return fault_code(v, acc, mode, 0);
	for (;; shift -= f.bits) {
		gpa = (table + (lin >> shift & mask) * f.esize) & a20;
		e = entry_get(v, gpa, f.esize);
		if (!(e & PTE_P))
			return fault_code(v, acc, mode, 0);
		rights &= e;
		nx |= e >> 63;
		if (shift == 12 || (e & PTE_PS && large_allowed(v, &f, shift)))
			break;
		if (e & f.reserved || (e & PTE_PS && f.esize == 8))
			return fault_code(v, acc, mode, PF_P | PF_RSVD);
		if (touch && !entry_set(v, gpa, f.esize, e, PTE_A))
			return -2;
		table = f.esize == 8 ? e & 0xffffffffff000 : e & 0xfffff000;
	}
	if (e & leaf_reserved(&f, shift))
		return fault_code(v, acc, mode, PF_P | PF_RSVD);
	*m = (struct mapping){
		.gpa = leaf_address(&f, shift, e, lin) & a20, .rights = rights, .nx = nx,
		.dirty = e & PTE_D || (touch && acc == MMU_WRITE), .shift = shift,
		.global = e & PTE_G && v->cpu.cr4 & CR4_PGE,
	};
	if (!touch)
		return -1;
	if (!mapping_allows(v, m, acc, mode))
		return fault_code(v, acc, mode, PF_P);
	return entry_set(v, gpa, f.esize, e, acc == MMU_WRITE ? PTE_A | PTE_D : PTE_A) ? -1 : -2;
}

int walk_page(struct vcpu *v, uint64_t lin, enum mmu_access acc, unsigned mode,
	      bool touch, struct mapping *m)
{
	uint64_t a20 = memory_a20_mask(v->memory);
	int result;
	if (!(v->cpu.cr0 & CR0_PG)) {
		map_identity(v, lin, a20, m);
		return -1;
	}
	v->mmu->walks++;
	do
		result = walk_once(v, lin, acc, mode, touch, a20, m);
	while (result == -2);
	return result;
}
