/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inline TLB check.  S0 and S1 get the linear address of the first and of
 * the last byte; S0 becomes the address of the TLB entry, S1 the page that the
 * tag is compared with, so that an access over a page end fails as a miss does
 * (an aligned vector access keeps its low bits in the comparison instead).
 * Then S0 = addend, to which the guest's address is added once more: mostly as
 * part of the operand's own addressing form, so no instruction is spent on it.
 */
#include <stddef.h>
#include "engine/jit/memo.h"
#include "engine/jit/trans.h"

enum { INDEX_MASK = (TLB_SIZE - 1) << 5, INDEX_SHIFT = 12 - 5 };
_Static_assert(sizeof(struct tlb_entry) == 32, "TLB index arithmetic");

/* A guest address, taken apart: at most one part that lies in memory (a slot
 * register, RIPBASE or a segment base), and registers. */
struct address {
	int32_t part;                 /* gs offset of the part in memory, 0: none */
	unsigned base, index, scale;  /* EREG_NONE: none */
	int32_t disp;
	unsigned size;                /* of the address computation: 8 or 4 */
	bool general;                 /* too much for the short forms */
	int32_t segment;              /* gs offset of the segment base, 0: none (general only) */
};

unsigned use_reg(struct trans *t, unsigned reg, unsigned scratch)
{
	if (!is_slot_reg(reg))
		return reg;
	emit_load(&t->e, 8, scratch, slot_mem(reg));
	return scratch;
}

static bool wide_disp(const struct trans *t, const struct x86_insn *i, int64_t *disp)
{
	*disp = i->disp;
	if (i->base == X86_RIP)
		*disp += t->off[t->cur] + i->len;
	if (i->base == X86_RIP && is_fixed(t))
		*disp += t->b->base;
	return *disp + 64 != (int32_t)(*disp + 64);
}

bool access_ok(const struct trans *t, const struct x86_insn *i)
{
	int64_t disp;

	if (t->key & KEY_AC || i->addrsize == 2 || !i->mem_size || i->mem_size > 32 || wide_disp(t, i, &disp))
		return false;
	if (t->size == 8)
		return true;
	if (t->size != 4 || !(t->key & KEY_FLAT) || i->seg == CS)
		return false;
	return i->seg == FS ? t->key & KEY_FS : i->seg == GS ? t->key & KEY_GS : true;
}

bool stack_ok(const struct trans *t)
{
	return !(t->key & KEY_AC) && (t->size == 8 || (t->size == 4 && t->key & KEY_FLAT));
}

static struct address take_apart(const struct trans *t, const struct x86_insn *i)
{
	struct address a = { .base = i->base == X86_NO_REG ? EREG_NONE : i->base,
			     .index = i->index == X86_NO_REG ? EREG_NONE : i->index,
			     .scale = i->scale, .size = i->addrsize };
	int64_t disp;

	wide_disp(t, i, &disp);
	a.disp = (int32_t)disp;
	if (i->seg >= FS)
		a.segment = OFF_CPU(seg[0].base) + (int32_t)sizeof(struct x86_seg) * i->seg;
	if (a.base == X86_RIP) {
		a.part = is_fixed(t) ? 0 : OFF_HOT(HOT_RIPBASE);
		a.base = EREG_NONE;
	} else if (a.base != EREG_NONE && is_slot_reg(a.base)) {
		a.part = OFF_GPR(a.base);
		a.base = EREG_NONE;
	}
	if (a.size == 4) {
		a.general = a.segment || t->size == 8;
		return a;
	}
	if (a.index != EREG_NONE && is_slot_reg(a.index)) {
		a.general = a.scale != 1 || a.part || a.segment;
		if (a.general)
			return a;
		a.part = OFF_GPR(a.index);
		a.index = EREG_NONE;
	}
	if (a.segment) {
		a.general = a.part || (a.base != EREG_NONE && a.index != EREG_NONE);
		if (!a.general) {
			a.part = a.segment;
			a.segment = 0;
		}
	}
	return a;
}

static struct emem form(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	if (index == RSP && scale == 1)
		return (struct emem){ .base = RSP, .index = base, .scale = 1, .disp = disp };
	return (struct emem){ .base = base, .index = index, .scale = scale, .disp = disp };
}

/* The first byte; a part that lies in memory is in S1. */
static struct emem first_byte(const struct address *a)
{
	unsigned base = a->base, index = a->index, scale = a->scale;

	if (a->part) {
		if (base != EREG_NONE) {       /* the other register */
			index = base;
			scale = 1;
		}
		base = S1;
	}
	return base == EREG_NONE || index == EREG_NONE ?
		(struct emem){ .base = base, .index = index, .scale = scale, .disp = a->disp } :
		form(base, index, scale, a->disp);
}

/* `into` := the first byte, by way of S1. */
static void short_first(struct trans *t, const struct address *a, unsigned into)
{
	if (a->part)
		emit_load(&t->e, 8, S1, EGS(a->part));
	emit_lea(&t->e, a->size, into, first_byte(a));
}

/* S0, S1 := first and last byte (S1 = S0's byte too if last is 0). */
static void short_linear(struct trans *t, const struct address *a, int last)
{
	short_first(t, a, S0);
	emit_lea(&t->e, a->size, S1, EMEM(S0, last));
}

static void general_linear(struct trans *t, const struct address *a, int last)
{
	struct emit *e = &t->e;
	unsigned base = a->base, index = a->index;

	if (a->part) {
		emit_load(e, 8, S0, EGS(a->part));
		base = S0;
	}
	if (index != EREG_NONE)
		index = use_reg(t, index, S1);
	emit_lea(e, a->size, S0, (struct emem){ .base = base, .index = index, .scale = a->scale, .disp = a->disp });
	if (a->segment)
		emit_alu_load(e, t->size, ALU_ADD, S0, EGS(a->segment));
	emit_store(e, 8, EGS(OFF_HOT(HOT_TMP2)), S0);
	emit_lea(e, t->size, S1, EMEM(S0, last));
}

static void linear(struct trans *t, const struct address *a, int last)
{
	if (a->general)
		general_linear(t, a, last);
	else
		short_linear(t, a, last);
}

/* An access that no other shares its check with: S0, S1 := its first byte. */
static void linear_alone(struct trans *t, const struct address *a)
{
	lose_scratch(t);
	flags_before_check(t);
	linear(t, a, 0);
}

void tlb_find(struct emit *e, bool write)
{
	static const uint8_t code[] = {
		0x49, 0xc1, 0xea, INDEX_SHIFT,               /* shr S0, INDEX_SHIFT */
		0x41, 0x81, 0xe2, BYTES32(INDEX_MASK),       /* and S0d, INDEX_MASK */
	};

	emit_bytes(e, code, sizeof(code));
	emit_alu_load(e, 8, ALU_ADD, S0, EGS(OFF_HOT(write ? HOT_TLB_STORES : HOT_TLB)));
}

/* Compare and take the addend. */
uint8_t *tlb_compare(struct trans *t, unsigned align, unsigned acc)
{
	struct emit *e = &t->e;
	bool write = acc & ACC_WRITE;
	size_t tag = tlb_tag(write);
	uint64_t mask = (uint32_t)~(unsigned)PAGE_MASK | (align ? align - 1 : 0);

	tlb_find(e, write);
	emit_word(e, 0xe38149 | mask << 24, 7);      /* and S1, mask */
	emit_in_line(e, (tag ? 4 : 3) + 6);
	emit_alu_load(e, 8, ALU_CMP, S1, EMEM(S0, tag));
	uint8_t *miss = emit_jcc(e, CC_NE);
	emit_load(e, 8, S0, EMEM(S0, offsetof(struct tlb_entry, addend)));
	return miss;
}

static struct emem short_operand(struct trans *t, const struct address *a)
{
	struct emit *e = &t->e;

	if (a->size == 4) {                    /* the address wraps at 4 GiB */
		struct emem m = { .base = a->base, .index = a->index, .scale = a->scale, .disp = a->disp };
		emit_lea(e, 4, S1, m);
		emit_alu(e, 8, ALU_ADD, S0, S1);
		return EMEM(S0, 0);
	}
	if (a->part)
		emit_alu_load(e, 8, ALU_ADD, S0, EGS(a->part));
	else if (a->base != EREG_NONE && a->index != EREG_NONE)
		emit_alu(e, 8, ALU_ADD, S0, a->base);
	if (a->index != EREG_NONE)
		return form(S0, a->index, a->scale, a->disp);
	if (a->base != EREG_NONE)
		return form(S0, a->base, 1, a->disp);
	return EMEM(S0, a->disp);
}

/* S0 is the addend. */
static void checked_operand(struct trans *t, const struct address *a, struct emem *mem)
{
	if (a->general) {
		emit_alu_load(&t->e, 8, ALU_ADD, S0, EGS(OFF_HOT(HOT_TMP2)));
		*mem = EMEM(S0, 0);
	} else {
		*mem = short_operand(t, a);
	}
}

/* An address known now, in one page: the entry's place in the table is a constant. */
static bool is_constant(const struct address *a, unsigned size, unsigned align)
{
	return a->size == 8 && !a->general && !a->part && a->base == EREG_NONE && a->index == EREG_NONE &&
	       ((unsigned)a->disp & PAGE_MASK) + size <= PAGE_SIZE && !(align && (unsigned)a->disp & (align - 1));
}

static struct slow_path *check_constant(struct trans *t, const struct address *a, unsigned acc, struct emem *mem)
{
	struct emit *e = &t->e;
	bool write = acc & ACC_WRITE;
	size_t entry = (tlb_index((uint64_t)(int64_t)a->disp) + (write ? TLB_STORES : 0)) * sizeof(struct tlb_entry);
	size_t tag = write ? offsetof(struct tlb_entry, write) : offsetof(struct tlb_entry, read);

	emit_load(e, 8, S0, EGS(OFF_HOT(HOT_TLB)));
	emit_alu_mem_imm(e, 8, ALU_CMP, EMEM(S0, entry + tag), a->disp & ~(int)PAGE_MASK);
	struct slow_path *s = trans_slow(t, emit_jcc(e, CC_NE));
	emit_load(e, 8, S0, EMEM(S0, entry + offsetof(struct tlb_entry, addend)));
	*mem = EMEM(S0, a->disp);
	return s;
}

static struct slow_path *check_by_memo(struct trans *t, const struct address *a, unsigned size, unsigned align,
				       unsigned acc)
{
	struct emem first = first_byte(a);

	if (a->part)
		emit_load(&t->e, 8, S1, EGS(a->part));
	emit_lea(&t->e, a->size, S0, first);
	struct memo_use *u = memo_check(t, size, align, acc);
	u->part = a->part;
	u->size = (uint8_t)a->size;
	u->first = first;
	struct slow_path *s = trans_slow(t, NULL);
	s->memo = &t->vm->sites[u->site];
	return s;
}

static struct slow_path *check(struct trans *t, const struct address *a, unsigned size, unsigned align,
			       unsigned acc, struct emem *mem)
{
	int last = align ? 0 : (int)size - 1;

	struct slow_path *s;

	t->s0_group = t->s0_next = -1;
	flags_before_check(t);
	if (is_constant(a, size, align))
		return check_constant(t, a, acc, mem);
	bool memo = tier_memo(t, acc) && !a->general;
	if (!memo || a->part || a->size != 8 || !t->s1_safe)
		lose_s1(t);
	if (memo) {
		s = check_by_memo(t, a, size, align, acc);
	} else {
		linear(t, a, last);
		s = trans_slow(t, tlb_compare(t, align, acc));
		tier_note(t);
	}
	checked_operand(t, a, mem);
	return s;
}

bool is_bit_string(const struct x86_insn *i)
{
	return i->op >= OP_BT && i->op <= OP_BTC && i->o[0].kind == OPK_MEM && i->o[1].kind == OPK_GPR;
}

/* S0 += what the bit number adds to the address (SDM 2A BT); S1 := last byte. */
static void add_bit_offset(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	unsigned size = i->opsize, reg = use_reg(t, i->o[1].reg, S1);

	if (size == 8)
		emit_mov(e, 8, S1, reg);
	else if (size == 4)
		emit_rr(e, 8, 0, 0x63, S1, reg);          /* movsxd */
	else
		emit_rr(e, 8, 1, 0xbf, S1, reg);          /* movsx */
	emit_shift_imm(e, 8, SHIFT_SAR, S1, size == 8 ? 6 : size == 4 ? 5 : 4);
	emit_lea(e, 8, S0, (struct emem){ .base = S0, .index = S1, .scale = (uint8_t)size });
	emit_lea(e, 8, S1, EMEM(S0, size - 1));
}

struct slow_path *bit_check(struct trans *t, const struct x86_insn *i, unsigned acc, struct emem *mem)
{
	struct address a = take_apart(t, i);

	linear_alone(t, &a);
	add_bit_offset(t, i);
	struct slow_path *s = trans_slow(t, tlb_compare(t, 0, acc));
	checked_operand(t, &a, mem);
	return s;
}

struct slow_path *access_check(struct trans *t, const struct x86_insn *i, unsigned acc, struct emem *mem)
{
	struct address a = take_apart(t, i);
	int64_t disp;

	wide_disp(t, i, &disp);
	if (group_access(t, t->group_mem[t->cur], (int)disp, mem))
		return NULL;
	return check(t, &a, i->mem_size, i->op == OP_CMPXCHG16B ? 16 : i->align, acc, mem);
}

/* By whatever entry is in its place, so that flags stay: a line of another page is fetched for
 * nothing, but does no harm. RORX and SHRX leave the index alone. */
static void hint_unchecked(struct trans *t, const struct address *a, struct emem *mem)
{
	struct emit *e = &t->e;

	lose_scratch(t);
	short_first(t, a, S0);
	emit_bytes(e, "\xc4\x43\xfb\xf0\xd2", 5);              /* rorx S0, S0, 12 + TLB_BITS */
	emit8(e, 12 + TLB_BITS);
	emit_mov_imm(e, S1, 64 - TLB_BITS);
	emit_bytes(e, "\xc4\x42\xa3\xf7\xd2", 5);              /* shrx S0, S0, S1 */
	emit_lea(e, 8, S0, (struct emem){ .base = EREG_NONE, .index = S0, .scale = 8 });
	emit_load(e, 8, S1, EGS(OFF_HOT(HOT_TLB)));
	emit_load(e, 8, S0, (struct emem){ .base = S1, .index = S0, .scale = 4, .disp = offsetof(struct tlb_entry, addend) });
	short_first(t, a, S1);
	*mem = (struct emem){ .base = S0, .index = S1, .scale = 1 };
}

uint8_t *hint_check(struct trans *t, const struct x86_insn *i, struct emem *mem)
{
	struct address a = take_apart(t, i);

	if (t->vm->bmi2 && !a.general) {
		hint_unchecked(t, &a, mem);
		return NULL;
	}
	linear_alone(t, &a);
	uint8_t *miss = tlb_compare(t, 0, ACC_READ);
	checked_operand(t, &a, mem);
	return miss;
}

struct slow_path *stack_check(struct trans *t, unsigned base, int disp, unsigned size, unsigned acc,
			      struct emem *mem)
{
	if (group_access(t, t->group_stack[t->cur], disp, mem))
		return NULL;
	struct address a = { .base = base, .index = EREG_NONE, .scale = 1, .disp = disp, .size = t->size };
	return check(t, &a, size, 0, acc, mem);
}
