/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software MMU: rights in every combination of paging mode, page size, entry
 * bits, control bits, privilege and access, against the SDM's rules written
 * down once more here; reserved bits; accessed and dirty bits; crossing pages;
 * flushes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/rig.h"

#define LIN 0x40201000ull              /* tables of its own: outside of the rig's GiB */
#define TABLES 0x100000ull
#define PAGE 0x600000ull               /* target, aligned to 2 MiB; 4M pages: 0x800000 */
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX BIT(63)

static struct rig rig;
static struct vcpu *v;

enum kind { LEGACY_4K, LEGACY_4M, PAE_4K, PAE_2M, LONG_4K, LONG_2M, LONG_1G, KINDS };
static const char *const kind_name[] = { "32-bit 4K", "32-bit 4M", "PAE 4K", "PAE 2M", "long 4K", "long 2M",
					 "long 1G" };

/* Where the entries are: upper level(s) then the leaf. */
struct tables { uint64_t upper, leaf; unsigned size; };

static void put(uint64_t gpa, unsigned size, uint64_t value)
{
	memcpy(rig_ram(&rig, gpa), &value, size);
}

static uint64_t get(uint64_t gpa, unsigned size)
{
	uint64_t value = 0;
	memcpy(&value, rig_ram(&rig, gpa), size);
	return value;
}

static bool is_long(enum kind k) { return k >= LONG_4K; }
static bool is_large(enum kind k) { return k == LEGACY_4M || k == PAE_2M || k == LONG_2M || k == LONG_1G; }

static uint64_t target(enum kind k)
{
	return k == LEGACY_4M ? 0x800000 : k == LONG_1G ? 0 : PAGE;
}

/* Build tables for LIN with these bits in the leaf and in the level above. */
static struct tables build(enum kind k, uint64_t upper, uint64_t leaf)
{
	uint64_t t = TABLES, size = k < PAE_4K ? 4 : 8;
	memset(rig_ram(&rig, t), 0, 0x5000);
	leaf |= target(k) | (is_large(k) ? PS : 0);
	switch (k) {
	case LEGACY_4K:
		put(t + (LIN >> 22) * 4, 4, (t + 0x1000) | upper);
		put(t + 0x1000 + (LIN >> 12 & 1023) * 4, 4, leaf);
		return (struct tables){ t + (LIN >> 22) * 4, t + 0x1000 + (LIN >> 12 & 1023) * 4, 4 };
	case LEGACY_4M:
		put(t + (LIN >> 22) * 4, 4, leaf);
		return (struct tables){ 0, t + (LIN >> 22) * 4, 4 };
	default:
		break;
	}
	uint64_t pml4 = t, pdpt = t + 0x1000, pd = t + 0x2000, pt = t + 0x3000;
	uint64_t pdpte = pdpt + (LIN >> 30 & 511) * 8, pde = pd + (LIN >> 21 & 511) * 8;
	uint64_t pte = pt + (LIN >> 12 & 511) * 8;
	if (is_long(k))
		put(pml4 + (LIN >> 39 & 511) * 8, 8, pdpt | (k == LONG_1G ? upper : P | W | U));
	v->cpu.pdpte[LIN >> 30 & 3] = pd | P;
	put(pdpte, 8, k == LONG_1G ? leaf : pd | (k == LONG_2M ? upper : P | W | U));
	if (k == LONG_1G)
		return (struct tables){ pml4, pdpte, 8 };
	put(pde, 8, is_large(k) ? leaf : pt | upper);
	if (is_large(k))
		return (struct tables){ k == LONG_2M ? pdpte : 0, pde, 8 };
	put(pte, 8, leaf);
	return (struct tables){ pde, pte, (unsigned)size };
}

static void set_mode(enum kind k, bool nxe, bool wp, bool smep, bool smap)
{
	struct x86_cpu *c = &v->cpu;
	rig_long_mode(&rig);
	c->cr3 = TABLES;
	c->cr4 = (k >= PAE_4K ? CR4_PAE : CR4_PSE) | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
	c->efer = (is_long(k) ? EFER_LME | EFER_LMA : 0) | (nxe ? EFER_NXE : 0);
	c->seg[CS].attr = 0xb | SEG_S | SEG_P | (is_long(k) ? SEG_L : SEG_DB);
	c->cr0 = CR0_PE | CR0_PG | (wp ? CR0_WP : 0);
	mmu_flush_all(v);
}

/* -1: allowed; else the error code of the page fault. */
static int attempt(enum mmu_access acc, unsigned mode)
{
	uint64_t gpa;
	v->cpu.event.pending = 0;
	v->cpu.cpl = mode == MMU_USER ? 3 : 0;
	mmu_update_mode(v);
	if (sigsetjmp(v->unwind, 0)) {
		assert_int_equal(v->cpu.event.vector, EXC_PF);
		assert_int_equal(v->cpu.event.cr2, LIN + 8);
		v->cpu.event.pending = 0;
		return (int)v->cpu.event.error;
	}
	switch (acc) {
	case MMU_READ: mmu_load(v, LIN + 8, 4, mode); break;
	case MMU_WRITE: mmu_store(v, LIN + 8, 1, 4, mode); break;
	case MMU_EXEC: mmu_fetch(v, LIN + 8, &(uint32_t){ 0 }, 4, &gpa); break;
	}
	return -1;
}

/* SDM 3A 4.6 and 4.7, in the words of the manual. */
static int expected(uint64_t upper, uint64_t leaf, bool has_upper, enum kind k, bool nxe, bool wp,
		    bool smep, bool smap, enum mmu_access acc, unsigned mode)
{
	if (!has_upper)
		upper = P | W | U;
	bool user = mode == MMU_USER, user_page = upper & leaf & U, writable = upper & leaf & W;
	bool nx = (upper | leaf) & NX, ok = true;
	int code = (acc == MMU_WRITE ? 2 : 0) | (user ? 4 : 0);
	if (acc == MMU_EXEC && (smep || (k >= PAE_4K && nxe)))
		code |= 16;
	if (!(upper & P))
		return code;
	if (upper & NX && !nxe)
		return code | 9;
	if (!(leaf & P))
		return code;
	if (leaf & NX && !nxe)
		return code | 9;
	if (user && !user_page)
		ok = false;
	if (!user && user_page && acc == MMU_EXEC && smep)
		ok = false;
	if (!user && user_page && acc != MMU_EXEC && smap && mode == MMU_SUPER)
		ok = false;
	if (acc == MMU_EXEC && nx)
		ok = false;
	if (acc == MMU_WRITE && !writable && (user || wp))
		ok = false;
	return ok ? -1 : code | 1;
}

static void check_bits(const struct tables *t, int result, enum mmu_access acc, uint64_t leaf)
{
	uint64_t now = get(t->leaf, t->size);
	assert_int_equal(!!(now & A), result < 0);
	assert_int_equal(!!(now & D), result < 0 && acc == MMU_WRITE);
	if (t->upper && leaf & P && result < 0)
		assert_true(get(t->upper, t->size) & A);
}

static void one_combination(enum kind k, uint64_t upper, uint64_t leaf, unsigned controls)
{
	bool nxe = controls & 1, wp = controls & 2, smep = controls & 4, smap = controls & 8;
	for (unsigned n = 0; n < 9; n++) {
		enum mmu_access acc = n % 3;
		unsigned mode = n / 3;
		if (acc == MMU_EXEC && mode == MMU_SUPER_AC)
			continue;
		set_mode(k, nxe, wp, smep, smap);
		struct tables t = build(k, upper, leaf);
		int want = expected(upper, leaf, t.upper, k, nxe, wp, smep, smap, acc, mode);
		int is = attempt(acc, mode);
		if (is != want) {
			fprintf(stderr, "%s: upper %llx leaf %llx nxe %d wp %d smep %d smap %d access %d mode %u: "
				"error code %d, not %d\n", kind_name[k], (unsigned long long)upper,
				(unsigned long long)leaf, nxe, wp, smep, smap, acc, mode, is, want);
			fail();
		}
		check_bits(&t, is, acc, leaf);
		/* the same from the TLB */
		assert_int_equal(attempt(acc, mode), want);
	}
}

static void test_rights(void **unused)
{
	for (enum kind k = 0; k < KINDS; k++)
		for (unsigned bits = 0; bits < 256; bits++) {
			uint64_t upper = bits & 7, leaf = bits >> 4 & 7;
			if (k >= PAE_4K) {
				upper |= bits & 8 ? NX : 0;
				leaf |= bits & 128 ? NX : 0;
			} else if (bits & 0x88) {
				continue;
			}
			for (unsigned controls = 0; controls < 16; controls++)
				one_combination(k, upper, leaf, controls);
		}
}

static void test_reserved(void **unused)
{
	static const struct { enum kind kind; uint64_t leaf; bool fault; } cases[] = {
		{ LONG_4K, BIT(40), true }, { LONG_4K, BIT(51), true }, { LONG_4K, BIT(52), false },
		{ LONG_4K, BIT(62), false }, { LONG_2M, BIT(13), true }, { LONG_2M, BIT(20), true },
		{ LONG_2M, BIT(12), false }, { LONG_1G, BIT(29), true }, { LONG_1G, BIT(13), true },
		{ PAE_4K, BIT(52), true }, { PAE_4K, BIT(62), true }, { PAE_2M, BIT(14), true },
		{ LEGACY_4M, BIT(21), true }, { LEGACY_4M, BIT(12), false },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		set_mode(cases[i].kind, true, true, false, false);
		build(cases[i].kind, P | W | U, P | W | U | cases[i].leaf);
		assert_int_equal(attempt(MMU_READ, MMU_SUPER), cases[i].fault ? 9 : -1);
	}
}

/* PSE-36: bits 13..20 are address bits 32..39. */
static void test_pse36(void **unused)
{
	uint64_t gpa;
	set_mode(LEGACY_4M, false, true, false, false);
	build(LEGACY_4M, 0, P | W | U | 3 << 13);
	assert_true(mmu_translate_debug(v, LIN, &gpa));
	assert_int_equal(gpa, 0x300800000ull + (LIN & 0x3fffff));
}

/* A store over two pages, the second not writable: nothing is stored. */
static void test_crossing(void **unused)
{
	set_mode(LONG_4K, true, true, false, false);
	struct tables t = build(LONG_4K, P | W | U, P | W | U);
	put(t.leaf + 8, 8, (PAGE + 0x5000) | P | U);
	put(PAGE + 0xff8, 8, 0x1111111111111111);
	v->cpu.event.pending = 0;
	if (!sigsetjmp(v->unwind, 0)) {
		mmu_store(v, LIN + 0xffc, 0x2222222222222222, 8, MMU_USER);
		fail();
	}
	assert_int_equal(v->cpu.event.cr2, LIN + 0x1000);
	assert_int_equal(v->cpu.event.error, 7);
	assert_int_equal(get(PAGE + 0xff8, 8), 0x1111111111111111);
	v->cpu.event.pending = 0;
	put(t.leaf + 8, 8, (PAGE + 0x5000) | P | W | U);
	mmu_flush_page(v, LIN + 0x1000);
	mmu_store(v, LIN + 0xffc, 0x2222222233333333, 8, MMU_USER);
	assert_int_equal(get(PAGE + 0xffc, 4), 0x33333333);
	assert_int_equal(get(PAGE + 0x5000, 4), 0x22222222);
	assert_int_equal(mmu_load(v, LIN + 0xffc, 8, MMU_USER), 0x2222222233333333);
	assert_null(mmu_rmw_pointer(v, LIN + 0xffc, 8, MMU_USER));
}

static uint64_t reads(unsigned n)
{
	put(PAGE, 8, 0xaaaa);
	put(PAGE + 0x1000, 8, 0xbbbb);
	return mmu_load(v, LIN, 8, MMU_SUPER) + n;
}

/* Translations live until their flush, and no longer. */
static void test_flushes(void **unused)
{
	set_mode(LONG_4K, true, true, false, false);
	v->cpu.cr4 |= CR4_PGE | CR4_PCIDE;
	mmu_flush_all(v);
	struct tables t = build(LONG_4K, P | W | U, P | W | U);
	assert_int_equal(reads(0), 0xaaaa);
	put(t.leaf, 8, (PAGE + 0x1000) | P | W | U);
	mmu_set_cr3(v, TABLES | BIT(63));
	assert_int_equal(reads(0), 0xaaaa);                 /* kept */
	mmu_set_cr3(v, TABLES | 5 | BIT(63));               /* another space */
	assert_int_equal(reads(0), 0xbbbb);
	mmu_set_cr3(v, TABLES | BIT(63));
	assert_int_equal(reads(0), 0xaaaa);                 /* kept still */
	mmu_set_cr3(v, TABLES);
	assert_int_equal(reads(0), 0xbbbb);
	put(t.leaf, 8, PAGE | P | W | U | G);
	mmu_flush_all(v);        /* a slot that held a local page may go with the next flush */
	assert_int_equal(reads(0), 0xaaaa);
	put(t.leaf, 8, (PAGE + 0x1000) | P | W | U | G);
	mmu_set_cr3(v, TABLES);
	assert_int_equal(reads(0), 0xaaaa);                 /* global */
	mmu_flush_all(v);
	assert_int_equal(reads(0), 0xbbbb);
}

/* One INVLPG drops every piece of a large page. */
static void test_flush_large(void **unused)
{
	set_mode(LONG_2M, true, true, false, false);
	struct tables t = build(LONG_2M, P | W | U, P | W | U);
	put(PAGE + 0x3000, 8, 0xcccc);
	put(PAGE + 0x203000, 8, 0xdddd);
	uint64_t at = (LIN & ~0x1fffffull) + 0x3000;
	assert_int_equal(mmu_load(v, at, 8, MMU_SUPER), 0xcccc);
	put(t.leaf, 8, (PAGE + 0x200000) | P | W | U | PS);
	assert_int_equal(mmu_load(v, at, 8, MMU_SUPER), 0xcccc);
	mmu_flush_page(v, LIN + 0x9000);
	assert_int_equal(mmu_load(v, at, 8, MMU_SUPER), 0xdddd);
}

/* Many fills overflow the log; a flush then still reaches every entry. */
static void test_flush_many(void **unused)
{
	set_mode(LONG_2M, true, true, false, false);
	struct tables t = build(LONG_2M, P | W | U, P | W | U);
	for (unsigned n = 0; n < 3 * TLB_LOG; n++)
		mmu_load(v, (LIN & ~0x1fffffull) + (n * 7 % 512) * PAGE_SIZE, 8, MMU_SUPER);
	put(t.leaf, 8, 0);
	mmu_flush_nonglobal(v);
	assert_int_equal(attempt(MMU_READ, MMU_SUPER), 0);
}

/* Nothing is mapped at 0, and what a new TLB holds does not look as if it were. */
static void test_page_zero(void **unused)
{
	set_mode(LONG_4K, true, true, false, false);
	build(LONG_4K, P | W | U, P | W | U);
	mmu_set_cr3(v, v->cpu.cr3);
	for (volatile int n = 0; n < 4; n++) {
		v->cpu.event.pending = 0;
		if (sigsetjmp(v->unwind, 0)) {
			assert_int_equal(v->cpu.event.vector, EXC_PF);
			assert_int_equal(v->cpu.event.cr2, 8);
		} else if (n & 1) {
			mmu_store(v, 8, 1, 4, n & 2 ? MMU_USER : MMU_SUPER);
			fail();
		} else {
			mmu_load(v, 8, 4, n & 2 ? MMU_USER : MMU_SUPER);
			fail();
		}
	}
	v->cpu.event.pending = 0;
}

/* Pages that lie 32 MiB apart do not throw each other out. */
static void test_reach(void **unused)
{
	set_mode(LONG_1G, true, true, false, false);
	build(LONG_1G, P | W | U, P | W | U);
	uint64_t near = (LIN & ~(GiB - 1)) + 16 * MiB, far = near + 32 * MiB;
	mmu_store(v, near, 1, 8, MMU_SUPER);
	mmu_store(v, far, 2, 8, MMU_SUPER);
	uint64_t walks = v->mmu->walks;
	assert_int_equal(mmu_load(v, near, 8, MMU_SUPER), 1);
	assert_int_equal(mmu_load(v, far, 8, MMU_SUPER), 2);
	assert_int_equal(v->mmu->walks, walks);
}

/* Pages get flags one by one, in any order: none keeps an entry for stores. */
static void test_pages_flagged(void **unused)
{
	set_mode(LONG_2M, true, true, false, false);
	build(LONG_2M, P | W | U, P | W | U);
	enum { APART = 7 * PAGE_SIZE };     /* more than go together */
	uint64_t start = LIN & ~0x1fffffull;
	for (unsigned n = 0; n < 64; n++)
		mmu_store(v, start + n * APART, n, 8, MMU_SUPER);
	for (unsigned k = 0; k < 64; k++) {
		unsigned n = k * 37 % 64;
		const uint8_t *host = mmu_page_pointer(v, start + n * APART, MMU_WRITE, MMU_SUPER);
		assert_non_null(host);
		uint64_t page = (uint64_t)(host - rig.ram->host) / PAGE_SIZE;
		memory_flag_pages(rig.m.memory, rig.ram, page, 1, PAGE_CODE);
		assert_null(mmu_page_pointer(v, start + n * APART, MMU_WRITE, MMU_SUPER));
		memory_unflag_page(rig.ram, page, PAGE_CODE);
		if (k & 1)
			mmu_store(v, start + n * APART, n, 8, MMU_SUPER);
	}
}

/* With one page that gets a flag, those around it lose their entries for stores: they are not
 * looked for again, one by one. */
static void test_neighbours_flagged(void **unused)
{
	set_mode(LONG_2M, true, true, false, false);
	build(LONG_2M, P | W | U, P | W | U);
	uint64_t start = LIN & ~0x1fffffull, page = PAGE / PAGE_SIZE;
	for (unsigned n = 0; n < 3; n++)
		mmu_store(v, start + n * PAGE_SIZE, n, 8, MMU_SUPER);
	memory_flag_pages(rig.m.memory, rig.ram, page + 1, 1, PAGE_CODE);
	for (unsigned n = 0; n < 3; n++) {
		uint64_t walks = v->mmu->walks;
		mmu_store(v, start + n * PAGE_SIZE, n, 8, MMU_SUPER);
		assert_int_equal(v->mmu->walks, walks + 1);
	}
	memory_unflag_page(rig.ram, page + 1, PAGE_CODE);
}

/* Flags on a page: no store-capable entry, and the store is noticed. */
static void test_page_flags(void **unused)
{
	set_mode(LONG_4K, true, true, false, false);
	build(LONG_4K, P | W | U, P | W | U);
	mmu_store(v, LIN, 1, 8, MMU_SUPER);
	memory_dirty_start(rig.m.memory, rig.ram, DIRTY_SPARE);
	mmu_store(v, LIN, 2, 8, MMU_SUPER);
	uint64_t page = PAGE / PAGE_SIZE;
	assert_true(rig.ram->dirty[DIRTY_SPARE][page / 64] >> (page % 64) & 1);
	assert_non_null(mmu_page_pointer(v, LIN, MMU_WRITE, MMU_SUPER));
	memory_dirty_stop(rig.m.memory, rig.ram, DIRTY_SPARE);
}

static int setup(void **unused)
{
	rig_create(&rig, &engine_interp, "max", 64 * MiB);
	v = rig.v;
	return 0;
}

static int teardown(void **unused)
{
	rig_destroy(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights), cmocka_unit_test(test_reserved), cmocka_unit_test(test_pse36),
		cmocka_unit_test(test_crossing), cmocka_unit_test(test_flushes), cmocka_unit_test(test_flush_large),
		cmocka_unit_test(test_flush_many), cmocka_unit_test(test_page_zero),
		cmocka_unit_test(test_reach), cmocka_unit_test(test_pages_flagged), cmocka_unit_test(test_neighbours_flagged), cmocka_unit_test(test_page_flags),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
