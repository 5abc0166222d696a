/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's instruction as a host instruction: the same opcode, with its memory
 * operand or a slot register replaced.  Prefixes are written afresh: only those
 * that mean something to this op, so that what the guest's model does not have
 * (TZCNT under a BSF) cannot come alive.
 */
#include "engine/jit/trans.h"

struct fields { unsigned reg, rm, opcode; };

static bool opcode_has_reg(const struct x86_insn *i)
{
	if (i->has_modrm)
		return false;
	if (i->map == 0)
		return (i->opcode >= 0x90 && i->opcode <= 0x97) || (i->opcode >= 0xb0 && i->opcode <= 0xbf);
	return i->map == 1 && i->opcode >= 0xc8 && i->opcode <= 0xcf;
}

static unsigned moved(const struct recode *r, unsigned reg) { return reg == r->from ? r->to : reg; }

static void emit_imm(struct trans *t, const struct x86_insn *i)
{
	if (i->vform & VEC_IS4)         /* its top bit is ignored outside 64-bit code */
		emit8(&t->e, (uint8_t)i->imm);
	else if (i->imm_off < i->len)
		emit_word(&t->e, i->imm, i->len - i->imm_off);
}

static unsigned rex_bits(const struct fields *f, const struct recode *r)
{
	unsigned b = f->rm, x = 0;

	if (r->mem) {
		b = r->mem->base == EREG_NONE ? 0 : r->mem->base;
		x = r->mem->index == EREG_NONE ? 0 : r->mem->index;
	}
	return (f->reg >> 3 & 1) << 2 | (x >> 3 & 1) << 1 | (b >> 3 & 1);
}

/* Outside of 64-bit code W does not make general registers 64 bits wide. */
static unsigned vex_w(const struct trans *t, const struct x86_insn *i)
{
	bool general = !i->vform || i->vform & (VEC_GPR_REG | VEC_GPR_RM);

	return i->rex >> 3 & (t->size == 8 || !general);
}

static unsigned vex_vvvv(const struct trans *t, const struct x86_insn *i, const struct recode *r)
{
	unsigned vvvv = ~(i->bytes[i->opcode_off - 1u] >> 3) & (t->size == 8 ? 15u : 7u);

	return r->reg_is_vec || r->rm_is_vec ? vvvv : moved(r, vvvv);
}

static void emit_vex(struct trans *t, const struct x86_insn *i, const struct fields *f, const struct recode *r)
{
	unsigned last = i->bytes[i->opcode_off - 1];     /* W or R, vvvv, L, pp */

	emit8(&t->e, 0xc4);
	emit8(&t->e, (~rex_bits(f, r) & 7) << 5 | i->map);
	emit8(&t->e, vex_w(t, i) << 7 | (~vex_vvvv(t, i, r) & 15) << 3 | (last & 7));
	emit8(&t->e, f->opcode);
	if (i->has_modrm && !r->mem)
		emit_modrm_reg(&t->e, f->reg, f->rm);
}

/* ModRM too, if it names registers only. */
static void emit_legacy(struct trans *t, const struct x86_insn *i, const struct fields *f, const struct recode *r)
{
	unsigned rex = rex_bits(f, r) | (i->rex & 8), n = 0;
	uint8_t b[8] = { 0 };
	uint64_t word;

	if (i->prefix & PFX_LOCK)
		b[n++] = 0xf0;
	if (i->prefix & PFX_66)
		b[n++] = 0x66;
	if (i->map && i->pp >= 2 && i->op != OP_BSF && i->op != OP_BSR)
		b[n++] = i->pp == 2 ? 0xf3 : 0xf2;
	if (rex || i->prefix & PFX_REX)
		b[n++] = (uint8_t)(0x40 | rex);
	if (i->map)
		b[n++] = 0x0f;
	if (i->map == 2)
		b[n++] = 0x38;
	else if (i->map == 3)
		b[n++] = 0x3a;
	b[n++] = (uint8_t)f->opcode;
	if (i->has_modrm && !r->mem)
		b[n++] = (uint8_t)(0xc0 | (f->reg & 7) << 3 | (f->rm & 7));
	memcpy(&word, b, 8);
	emit_word(&t->e, word, n);
}

/* MOV AL/eAX from or to an absolute address. */
static bool is_moffs(const struct x86_insn *i) { return i->map == 0 && i->opcode >= 0xa0 && i->opcode <= 0xa3; }

static void emit_moffs(struct trans *t, const struct x86_insn *i, const struct emem *mem)
{
	unsigned size = i->opcode & 1 ? i->opsize : 1;
	static const uint8_t as[4] = { 0x8a, 0x8b, 0x88, 0x89 };

	emit_rm(&t->e, size, 0, as[i->opcode & 3], RAX, *mem);
}

/* INC and DEC of 32-bit code, whose opcodes are prefixes to us. */
static bool is_short_inc(const struct x86_insn *i)
{
	return i->map == 0 && i->opcode >= 0x40 && i->opcode <= 0x4f && !(i->prefix & PFX_VEX);
}

/* Will the host run it as one with the conditional branch that follows (macro-fusion,
 * Optimization Reference Manual)? */
static bool is_fused(const struct trans *t, const struct x86_insn *i)
{
	if (t->cur + 1 >= t->n || t->insns[t->cur + 1].op != OP_JCC)
		return false;
	switch (i->op) {
	case OP_CMP: case OP_TEST: case OP_ADD: case OP_SUB: case OP_AND: case OP_INC: case OP_DEC:
		return true;
	}
	return false;
}

enum { BRANCH = 6 };                 /* Jcc rel32 */

/* Do n bytes here and such a branch behind them lie in one line, its rel32 as a patch needs it? */
static bool lies_well(uintptr_t at, size_t n)
{
	return at % LINE + n + BRANCH < LINE && (at + n + 2) % 8 <= 4;
}

/* The instruction that begins at `from` goes up a little, together with the branch to come. */
static void go_with_branch(struct emit *e, uint8_t *from)
{
	size_t n = (size_t)(e->p - from), by = 0;
	uint8_t insn[16];

	if (e->full || n > sizeof(insn))
		return;
	while (!lies_well((uintptr_t)from + by, n))
		by++;
	if (!by)
		return;
	memcpy(insn, from, n);
	e->p = from;
	emit_nops(e, (unsigned)by);
	emit_bytes(e, insn, (unsigned)n);
}

/* Do the bytes say the same to the host? Registers only, and no prefix that might mean
 * more to it than to the guest. */
static bool is_as_it_was(const struct trans *t, const struct x86_insn *i, const struct recode *r)
{
	return t->size == 8 && !r->mem && r->from == EREG_NONE && i->map < 2 && !(i->prefix & ~(PFX_REX | PFX_66));
}

static void emit_encoded(struct trans *t, const struct x86_insn *i, const struct recode *r)
{
	struct fields f = { .reg = (i->modrm >> 3 & 7u) | (i->rex & 4u) << 1,
			    .rm = (i->modrm & 7u) | (i->rex & 1u) << 3,
			    .opcode = i->opcode };

	if (opcode_has_reg(i))
		f.rm = (i->opcode & 7u) | (i->rex & 1u) << 3;
	if (!r->reg_is_vec)
		f.reg = moved(r, f.reg);
	if (!r->rm_is_vec)
		f.rm = moved(r, f.rm);
	if (opcode_has_reg(i))
		f.opcode = (i->opcode & ~7u) | (f.rm & 7);
	else if (!i->has_modrm)
		f.reg = f.rm = 0;
	if (i->prefix & PFX_VEX)
		emit_vex(t, i, &f, r);
	else
		emit_legacy(t, i, &f, r);
	if (i->has_modrm && r->mem)
		emit_modrm_mem(&t->e, f.reg, r->mem);
	emit_imm(t, i);
}

static void emit_again(struct trans *t, const struct x86_insn *i, const struct recode *r)
{
	if (is_as_it_was(t, i, r))
		emit_copy(&t->e, i->bytes, i->len);
	else if (is_moffs(i))
		emit_moffs(t, i, r->mem);
	else if (is_short_inc(i))
		emit_rr(&t->e, i->opsize, 0, 0xff, i->op == OP_DEC, i->opcode & 7);
	else
		emit_encoded(t, i, r);
}

void emit_insn(struct trans *t, const struct x86_insn *i, const struct recode *r)
{
	uint8_t *from = t->e.p;

	emit_again(t, i, r);
	if (t->e.lines && is_fused(t, i))
		go_with_branch(&t->e, from);
}
