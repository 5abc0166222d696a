/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder's second half: ModRM and its memory operand, registers,
 * immediates.  Included by decode.c alone, which is compiled as one flat function.
 */
#ifndef X86_DECODE_OPERAND_H
#define X86_DECODE_OPERAND_H

#include "base/util.h"
#include "x86/cpu.h"
#include "x86/decode.h"

enum { MAX_LEN = 15, PADDED = 40 };

struct decoder {
	const uint8_t *p;               /* next byte */
	struct x86_insn *insn;
	const struct x86_form *form;
	const struct x86_model *model;
	uint8_t buf[PADDED];
	uint8_t code_size;
	uint8_t vex_l;
	uint8_t last_rep;               /* PP_F3, PP_F2: the later one counts */
	uint8_t vvvv_used;
	bool real;
	bool segment_override;
	bool vsib;
	bool vvvv_zero;                 /* VEX.vvvv as encoded is 1111b */
};

static inline uint8_t fetch_modrm(struct decoder *d)
{
	struct x86_insn *i = d->insn;

	if (!i->has_modrm) {
		i->has_modrm = 1;
		i->modrm = *d->p++;
	}
	return i->modrm;
}

/* 16-bit addressing: base and index by ModRM.rm (SDM 2A table 2-1). */
static void decode_mem16(struct decoder *d)
{
	static const uint8_t base[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const uint8_t index[8] = { RSI, RDI, RSI, RDI, X86_NO_REG, X86_NO_REG,
					  X86_NO_REG, X86_NO_REG };
	struct x86_insn *i = d->insn;
	unsigned mod = i->modrm >> 6, rm = i->modrm & 7;

	i->base = base[rm];
	i->index = index[rm];
	if (mod == 0 && rm == 6)
		i->base = X86_NO_REG;
	if (mod == 1) {
		i->disp = (int8_t)*d->p++;
	} else if (mod == 2 || i->base == X86_NO_REG) {
		i->disp = (int16_t)le16_get(d->p);
		d->p += 2;
	}
}

static void decode_sib(struct decoder *d)
{
	struct x86_insn *i = d->insn;
	uint8_t sib = *d->p++;
	unsigned index = (sib >> 3 & 7) | (i->rex & 2) << 2;

	i->scale = 1 << (sib >> 6);
	i->index = index == RSP && !d->vsib ? X86_NO_REG : index;
	i->base = (sib & 7) | (i->rex & 1) << 3;
	if ((sib & 7) == 5 && i->modrm < 0x40)
		i->base = X86_NO_REG;
}

static void decode_mem32(struct decoder *d)
{
	struct x86_insn *i = d->insn;
	unsigned mod = i->modrm >> 6, rm = i->modrm & 7;

	i->index = X86_NO_REG;
	if (rm == 4)
		decode_sib(d);
	else if (mod == 0 && rm == 5)
		i->base = d->code_size == 8 ? X86_RIP : X86_NO_REG;
	else
		i->base = rm | (i->rex & 1) << 3;
	if (mod == 1) {
		i->disp = (int8_t)*d->p++;
	} else if (mod == 2 || i->base == X86_NO_REG || i->base == X86_RIP) {
		i->disp = (int32_t)le32_get(d->p);
		d->p += 4;
	}
}

static void decode_mem(struct decoder *d)
{
	struct x86_insn *i = d->insn;

	if (i->addrsize == 2)
		decode_mem16(d);
	else
		decode_mem32(d);
	if (!d->segment_override && (i->base == RSP || i->base == RBP))
		i->seg = SS;
}

static unsigned operand_size(const struct decoder *d, unsigned rule)
{
	static const uint8_t fixed[] = { 0, 1, 2, 4, 8, 16, 32, 10 };
	const struct x86_insn *i = d->insn;
	bool code64 = d->code_size == 8;

	if (rule < ARRAY_SIZE(fixed))
		return fixed[rule];
	switch (rule) {
	case SZ_V: return i->opsize;
	case SZ_Z: return MIN(i->opsize, 4);
	case SZ_Y: return i->rex & 8 && code64 ? 8 : 4;
	case SZ_P: return i->opsize + 2;
	case SZ_A: return i->opsize * 2;
	case SZ_S: return code64 ? 10 : 6;
	case SZ_X: return i->vl;
	case SZ_XH: return i->vl / 2;
	case SZ_XQ: return i->vl / 4;
	case SZ_XE: return i->vl / 8;
	case SZ_N: return code64 ? 8 : 4;
	case SZ_E: return i->rex & 8 ? 8 : 4;
	}
	return 0;
}

/* The areas that do not fit an operand's size byte. */
static unsigned area_size(const struct decoder *d, unsigned rule)
{
	switch (rule) {
	case SZ_ENV: return d->insn->opsize == 2 ? 14 : 28;
	case SZ_SAVE: return d->insn->opsize == 2 ? 94 : 108;
	case SZ_FX: return 512;
	}
	return 0;
}

static void mem_operand(struct decoder *d, struct x86_operand *o, unsigned desc)
{
	struct x86_insn *i = d->insn;

	o->kind = OPK_MEM;
	if (OD_SRC(desc) == SRC_VSIB)
		o->size = i->rex & 8 ? 8 : 4;   /* one element */
	i->mem_size = o->size ? o->size : area_size(d, OD_SIZE(desc));
	if (i->prefix & PFX_VEX)
		i->align = d->form->flags & FF_ALIGNED ? o->size : 0;
	else if (o->size == 16 && OD_CLS(desc) == CLS_XMM && !(d->form->flags & FF_UNALIGNED))
		i->align = 16;
}

static bool register_operand(struct decoder *d, struct x86_operand *o, unsigned cls, unsigned reg)
{
	static const uint8_t kinds[] = { OPK_GPR, OPK_GPR, OPK_GPR, OPK_SREG, OPK_CR, OPK_DR,
					 OPK_MMX, OPK_XMM };
	const struct x86_insn *i = d->insn;

	o->kind = kinds[cls];
	o->reg = reg;
	switch (cls) {
	case CLS_GPR:
		if (o->size == 1 && reg - 4 < 4 && !(i->prefix & (PFX_REX | PFX_VEX)))
			o->reg = X86_HIGH8 + reg - 4;
		return true;
	case CLS_GPR4: o->size = 4; return true;
	case CLS_GPRV: o->size = i->opsize; return true;
	case CLS_MMX: o->reg &= 7; return true;
	case CLS_SREG: o->reg &= 7; return o->reg <= GS && !(o->reg == CS && o->access == OPA_W);
	case CLS_CR: return reg == 0 || (reg >= 2 && reg <= 4) || reg == 8;
	case CLS_DR: return reg < 8;
	}
	return true;
}

static int64_t fetch_signed(struct decoder *d, unsigned size)
{
	const uint8_t *p = d->p;

	d->p += size;
	switch (size) {
	case 1: return (int8_t)*p;
	case 2: return (int16_t)le16_get(p);
	case 4: return (int32_t)le32_get(p);
	}
	return le64_get(p);
}

/* The first immediate goes to imm, the next one to imm2. */
static void immediate(struct decoder *d, struct x86_operand *o, bool is_signed)
{
	struct x86_insn *i = d->insn;
	unsigned size = o->size;
	uint64_t value;

	if (i->imm_off == 0)
		i->imm_off = d->p - d->buf;
	else
		size |= 0x100;
	value = fetch_signed(d, size & 0xff);
	o->kind = OPK_IMM;
	if (is_signed)
		o->size = i->opsize;
	if (o->size < 8)
		value &= BIT(o->size * 8) - 1;
	*(size & 0x100 ? &i->imm2 : &i->imm) = value;
}

static void far_pointer(struct decoder *d, struct x86_operand *o)
{
	struct x86_insn *i = d->insn;

	o->kind = OPK_FAR;
	i->imm_off = d->p - d->buf;
	i->imm = i->opsize == 2 ? le16_get(d->p) : le32_get(d->p);
	i->imm2 = le16_get(d->p + i->opsize);
	d->p += i->opsize + 2;
}

static void moffs(struct decoder *d, struct x86_operand *o)
{
	struct x86_insn *i = d->insn;

	i->index = X86_NO_REG;
	i->base = X86_NO_REG;
	i->disp = fetch_signed(d, i->addrsize);
	o->kind = OPK_MEM;
	i->mem_size = o->size;
}

static bool is4_operand(struct decoder *d, struct x86_operand *o)
{
	struct x86_insn *i = d->insn;

	i->imm_off = d->p - d->buf;
	i->imm = *d->p++ & (d->code_size == 8 ? 0xff : 0x7f);
	o->kind = OPK_XMM;
	o->reg = i->imm >> 4;
	return true;
}

/* One operand; false: not a legal combination. */
static bool decode_operand(struct decoder *d, struct x86_operand *o, unsigned desc)
{
	struct x86_insn *i = d->insn;
	unsigned cls = OD_CLS(desc), src = OD_SRC(desc);
	bool is_reg = i->modrm >= 0xc0;

	o->size = operand_size(d, OD_SIZE(desc));
	o->access = OD_ACCESS(desc);
	switch (src) {
	case SRC_RM:
	case SRC_MEM:
	case SRC_VSIB:
		if (!is_reg) {
			mem_operand(d, o, desc);
			return true;
		}
		if (src != SRC_RM)
			return false;
		return register_operand(d, o, cls, (i->modrm & 7) | (i->rex & 1) << 3);
	case SRC_RMREG:
		if (!is_reg)
			return false;
		/* fall through */
	case SRC_RMANY:
		return register_operand(d, o, cls, (i->modrm & 7) | (i->rex & 1) << 3);
	case SRC_REG:
		return register_operand(d, o, cls, (i->modrm >> 3 & 7) | (i->rex & 4) << 1);
	case SRC_OPREG:
		return register_operand(d, o, cls, (i->opcode & 7) | (i->rex & 1) << 3);
	case SRC_VVVV:
		d->vvvv_used = 1;
		return register_operand(d, o, cls, i->vvvv);
	case SRC_FIXED:
		o->kind = OPK_GPR;
		o->reg = cls;
		return true;
	case SRC_SREG:
		return register_operand(d, o, cls, i->opcode >> 3 & 7);
	case SRC_ONE:
		o->kind = OPK_IMM;
		i->imm = 1;
		return true;
	case SRC_IMM: immediate(d, o, true); return true;
	case SRC_UIMM: immediate(d, o, false); return true;
	case SRC_REL:
		o->kind = OPK_REL;
		i->imm_off = d->p - d->buf;
		i->imm = fetch_signed(d, o->size);
		return true;
	case SRC_FAR: far_pointer(d, o); return true;
	case SRC_MOFFS: moffs(d, o); return true;
	case SRC_IS4: return is4_operand(d, o);
	}
	return false;
}

static bool decode_operands(struct decoder *d)
{
	const struct x86_form *f = d->form;
	struct x86_insn *i = d->insn;

	if ((f->o[0] | f->o[1] | f->o[2]) & 1)
		fetch_modrm(d);
	if (i->has_modrm && i->modrm < 0xc0 && OD_SRC(f->o[0]) != SRC_RMANY &&
	    OD_SRC(f->o[1]) != SRC_RMANY) {
		d->vsib = OD_SRC(f->o[1]) == SRC_VSIB;
		if (d->vsib && ((i->modrm & 7) != 4 || i->addrsize == 2))
			return false;
		decode_mem(d);
	}
	for (unsigned n = 0; n < 4 && f->o[n]; n++) {
		if (!decode_operand(d, &i->o[n], f->o[n]))
			return false;
		i->nops = n + 1;
	}
	return true;
}

#endif
