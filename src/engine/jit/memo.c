/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memos: an access that mostly finds the page it found before remembers that page
 * with its addend (struct page_memo), instead of looking into the TLB. The check
 *
 *     lea S0, [first byte]    xor S0, [page]    cmp S0, limit    jae renew
 *     mov S0, [addend]
 *
 * is half as long, and the access does not wait for the address to be looked up. An
 * aligned vector access turns its low bits to the top first, where they must be 0.
 * `renew` looks into the TLB and goes on, or goes where a TLB miss goes.
 *
 * Code at CPL 3 has memos, and that at CPL 0 without SMAP (an early kernel, its
 * decompressor), whose accesses all go by one table whatever EFLAGS.AC is.
 */
#include <sys/random.h>

#include "engine/jit/memo.h"
#include "engine/jit/trans.h"

enum { REVIEW = 1 << 18 };

/* What remembers nothing names a page that no access lies in: one of 2^50 whose addresses
 * are not canonical, as nothing but chance would find it; should a guest do, its
 * access faults in the host, too, whatever the addend. So the limit is a constant in
 * the code instead of a third word to load. */
void memos_create(struct vcpu *v)
{
	struct jit_near *near = near_of(v);
	uint64_t none;

	if (getrandom(&none, sizeof(none), 0) != sizeof(none))
		none = (uintptr_t)v * 0x9e3779b97f4a7c15;
	near->none = (none & ~(BIT(63) | PAGE_MASK)) | BIT(62);
	for (unsigned n = 0; n < MEMOS; n++)
		near->memo[n].page = near->none;
	v->mmu->memos = (struct memo_log) { .count = &near->memos, .memo = near->log, .none = near->none };
}

static unsigned log2_of(unsigned n) { return (unsigned)__builtin_ctz(n); }

/* Turns of a loop share one, unless a group counts on what it holds. */
static uint32_t memo_for(struct trans *t, uint32_t site)
{
	struct check_place *p = t->place;

	if (!p->has_memo || group_by_memo(t, OFF_MEMO(p->memo, addend))) {
		p->memo = site;
		p->has_memo = true;
	}
	return p->memo;
}

struct memo_use *memo_check(struct trans *t, unsigned size, unsigned align, unsigned acc)
{
	struct memo_use *u = &t->memos[t->nmemos++];
	uint32_t n = t->vm->nmemos++ % MEMOS, memo = memo_for(t, n);
	struct emit *e = &t->e;

	*u = (struct memo_use) { .site = n, .memo = memo, .write = acc & ACC_WRITE, .reload = s1_source(t) };
	unsigned limit = align ? (4096 - size) / align + 1 : 4096 + 1 - size;
	t->vm->sites[n] = (struct memo_site) { .in_page = 4096 + 1 - size, .mask = align ? align - 1 : 0,
		.block = block_index(t->vm, t->b), .memo = memo };
	emit_rm(e, 8, 0, 0x33, S0, EGS(OFF_MEMO(memo, page)));   /* xor */
	if (align)
		emit_shift_imm(e, 8, SHIFT_ROR, S0, log2_of(align));
	emit_in_line(e, 7 + 6);
	emit_alu_imm(e, 8, ALU_CMP, S0, (int)limit);
	u->from = emit_jcc(e, CC_AE);
	t->vm->sites[n].resume = emit_here(e);
	emit_load(e, 8, S0, EGS(OFF_MEMO(memo, addend)));
	return u;
}

bool memo_left(const struct trans *t)
{
	return t->vm->nmemos - t->vm->memos_freed < MEMOS && t->nmemos < ARRAY_SIZE(t->memos);
}

/* Out of line: S0 is the first byte again. */
void memo_renew(struct trans *t, const struct memo_use *u)
{
	emit_mov_imm(&t->e, S1, u->site);
	emit_jmp_to(&t->e, t->vm->stub[u->write ? STUB_MEMO_WRITE : STUB_MEMO_READ]);
}

/* --- the stub: S0 the address, S1 the site. Flags are lost. */

#define SAVE(n) EGS(OFF_NEAR(save) + 8 * (n))
#define SITE(field) EMEM(RAX, offsetof(struct memo_site, field))
#define MEMO(field) EMEM(RCX, OFF_NEAR(memo) + (int32_t)offsetof(struct page_memo, field))

static void restore(struct emit *e)
{
	emit_load(e, 8, RAX, SAVE(0));
	emit_load(e, 8, RCX, SAVE(1));
	emit_load(e, 8, RDX, SAVE(2));
}

/* RAX: site; RCX + offset of the array: memo. */
static void find(struct emit *e, const struct jit_vm *vm)
{
	emit_store(e, 8, SAVE(0), RAX);
	emit_store(e, 8, SAVE(1), RCX);
	emit_store(e, 8, SAVE(2), RDX);
	emit_rr(e, 8, 0, 0x6b, RAX, S1);             /* imul RAX, S1, size */
	emit8(e, sizeof(struct memo_site));
	emit_mov_imm(e, RCX, (uintptr_t)vm->sites);
	emit_alu(e, 8, ALU_ADD, RAX, RCX);
	emit_rm(e, 4, 0, 0x6b, RCX, SITE(memo));
	emit8(e, sizeof(struct page_memo));
	emit_alu_load(e, 8, ALU_ADD, RCX, EGS(OFF_HOT(HOT_SELF)));
}

/* S0 := addend, S1 := page; misses[3]: jumps where it cannot be. */
static void look_up(struct emit *e, bool write, uint8_t *misses[3])
{
	emit_mov(e, 4, RDX, S0);
	emit_alu_imm(e, 4, ALU_AND, RDX, PAGE_MASK);
	emit_alu_load(e, 4, ALU_CMP, RDX, SITE(in_page));
	misses[0] = emit_jcc(e, CC_AE);
	emit_rm(e, 4, 0, 0x85, RDX, SITE(mask));     /* test */
	misses[1] = emit_jcc(e, CC_NE);
	emit_mov(e, 8, S1, S0);
	emit_alu_imm(e, 8, ALU_AND, S1, ~(int32_t)PAGE_MASK);
	tlb_find(e, write);
	emit_alu_load(e, 8, ALU_CMP, S1, EMEM(S0, tlb_tag(write)));
	misses[2] = emit_jcc(e, CC_NE);
	emit_load(e, 8, S0, EMEM(S0, offsetof(struct tlb_entry, addend)));
}

/* One that held nothing goes into the log. */
static void fill(struct emit *e)
{
	emit_load(e, 8, RDX, EGS(OFF_NEAR(none)));
	emit_alu_load(e, 8, ALU_CMP, RDX, MEMO(page));
	uint8_t *logged = emit_jcc(e, CC_NE);
	emit_load(e, 8, RDX, EGS(OFF_NEAR(memos)));
	emit_store(e, 8, EMEM(RCX, OFF_NEAR(memo)), S1);         /* page, for now */
	emit_lea(e, 8, S1, EMEM(RCX, OFF_NEAR(memo)));
	emit_store(e, 8, ((struct emem){ .base = EREG_NONE, .index = RDX, .scale = 8, .gs = true,
					 .disp = OFF_NEAR(log) }), S1);
	emit_alu_imm(e, 8, ALU_ADD, RDX, 1);
	emit_store(e, 8, EGS(OFF_NEAR(memos)), RDX);
	emit_load(e, 8, S1, MEMO(page));
	emit_bind(e, logged);
	emit_store(e, 8, MEMO(page), S1);
	emit_store(e, 8, MEMO(addend), S0);
}

/* Zero: it has been renewed often. */
static void count(struct emit *e)
{
	const struct emem renewals = { .base = EREG_NONE, .index = RDX, .scale = 1, .gs = true, .disp = OFF_NEAR(renewals) };

	emit_mov(e, 8, RDX, RCX);
	emit_alu_load(e, 8, ALU_SUB, RDX, EGS(OFF_HOT(HOT_SELF)));
	emit_shift_imm(e, 8, SHIFT_SHR, RDX, log2_of(sizeof(struct page_memo) / sizeof(uint32_t)));
	emit_alu_mem_imm(e, 4, ALU_ADD, renewals, 1);
	emit_rm(e, 4, 0, 0xf7, 0, renewals);         /* test */
	emit32(e, REVIEW - 1);
}

void memo_stub(struct jit_vm *vm, struct emit *e, bool write)
{
	uint8_t *misses[3];

	find(e, vm);
	look_up(e, write, misses);
	fill(e);
	count(e);
	uint8_t *review = emit_jcc(e, CC_E);
	emit_load(e, 8, S1, SITE(resume));
	restore(e);
	emit_jmp_reg(e, S1);
	emit_bind(e, review);
	emit_load(e, 4, S0, SITE(block));
	emit_load(e, 8, S1, SITE(resume));
	restore(e);
	emit_jmp_to(e, vm->stub[STUB_REVIEW]);
	for (unsigned n = 0; n < 3; n++)
		emit_bind(e, misses[n]);
	emit_load(e, 8, S1, SITE(slow));
	restore(e);
	emit_jmp_reg(e, S1);
}
