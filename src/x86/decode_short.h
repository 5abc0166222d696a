/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What most 64-bit code consists of, decoded by fewer questions: a REX prefix or none, the
 * one-byte map or 0F, general registers, memory and immediates.  By the same forms as
 * all the rest, and with the same result (decode_test compares them); whatever is not plain is
 * left to the general decoder.  Included by decode.c alone.
 */
#ifndef X86_DECODE_SHORT_H
#define X86_DECODE_SHORT_H

#include "x86/decode_operand.h"

/* What is asked for again: in registers, as stores to the instruction's bytes may alias anything. */
struct short_decoder {
	const uint8_t *p, *bytes;
	struct x86_insn *insn;
	unsigned rex, opsize, opcode, modrm, imm_off;
	bool has_rex, group;            /* group: ModRM is part of the opcode */
};

enum { SHORT_BAD = 0xff };

static inline unsigned short_size(const struct short_decoder *d, unsigned rule)
{
	static const uint8_t fixed[] = { [SZ_NONE] = 0, [SZ_B] = 1, [SZ_W] = 2, [SZ_D] = 4, [SZ_Q] = 8 };

	if (rule == SZ_V)
		return d->opsize;
	if (rule == SZ_Z)
		return MIN(d->opsize, 4u);
	return rule <= SZ_Q ? fixed[rule] : SHORT_BAD;
}

static inline void short_memory(struct short_decoder *d)
{
	struct x86_insn *i = d->insn;
	unsigned mod = d->modrm >> 6, base = (d->modrm & 7) | (d->rex & 1) << 3;

	if ((base & 7) == 4) {
		unsigned sib = *d->p++, index = (sib >> 3 & 7) | (d->rex & 2) << 2;
		base = (sib & 7) | (d->rex & 1) << 3;
		i->scale = (uint8_t)(1 << (sib >> 6));
		if (index != RSP)
			i->index = (uint8_t)index;
		if (!mod && (base & 7) == 5)
			base = X86_NO_REG;
	} else if (!mod && (base & 7) == 5) {
		base = X86_RIP;
	}
	i->base = (uint8_t)base;
	if (base == RSP || base == RBP)
		i->seg = SS;
	if (mod == 1) {
		i->disp = (int8_t)*d->p++;
	} else if (mod == 2 || base >= X86_RIP) {
		i->disp = (int32_t)le32_get(d->p);
		d->p += 4;
	}
}

static inline struct x86_operand short_register(const struct short_decoder *d, unsigned reg, unsigned size)
{
	bool high = size == 1 && reg - 4 < 4 && !d->has_rex;

	return (struct x86_operand) { OPK_GPR, (uint8_t)(high ? X86_HIGH8 + reg - 4 : reg), (uint8_t)size, 0 };
}

static inline int64_t short_fetch(struct short_decoder *d, unsigned size)
{
	const uint8_t *p = d->p;

	d->imm_off = (unsigned)(p - d->bytes);
	d->p += size;
	return size == 1 ? (int8_t)*p : size == 4 ? (int32_t)le32_get(p) :
	       size == 8 ? (int64_t)le64_get(p) : (int16_t)le16_get(p);
}

/* OPK_NONE: it is none of these. */
static inline struct x86_operand short_operand(struct short_decoder *d, unsigned desc)
{
	struct x86_insn *i = d->insn;
	unsigned cls = OD_CLS(desc), src = OD_SRC(desc), size = short_size(d, OD_SIZE(desc)), wide = size;
	const struct x86_operand none = { OPK_NONE, 0, 0, 0 };

	if (size == SHORT_BAD || (cls != CLS_GPR && src != SRC_FIXED))
		return none;
	switch (src) {
	case SRC_RM:
	case SRC_MEM:
		if (d->modrm >= 0xc0)
			return src == SRC_RM ? short_register(d, (d->modrm & 7) | (d->rex & 1) << 3, size) : none;
		i->mem_size = (uint16_t)size;
		return (struct x86_operand) { OPK_MEM, 0, (uint8_t)size, 0 };
	case SRC_REG: return short_register(d, (d->modrm >> 3 & 7) | (d->rex & 4) << 1, size);
	case SRC_OPREG: return short_register(d, (d->opcode & 7) | (d->rex & 1) << 3, size);
	case SRC_FIXED: return (struct x86_operand) { OPK_GPR, (uint8_t)cls, (uint8_t)size, 0 };
	case SRC_ONE:
		i->imm = 1;
		return (struct x86_operand) { OPK_IMM, 0, (uint8_t)size, 0 };
	case SRC_IMM:
		wide = d->opsize;
		/* fall through */
	case SRC_UIMM:
		if (d->imm_off)                 /* a second one */
			return none;
		i->imm = (uint64_t)short_fetch(d, size) & ~0ull >> (64 - 8 * wide);
		return (struct x86_operand) { OPK_IMM, 0, (uint8_t)wide, 0 };
	case SRC_REL:
		i->imm = (uint64_t)short_fetch(d, size);
		return (struct x86_operand) { OPK_REL, 0, (uint8_t)size, 0 };
	}
	return none;
}

/* The form, if it is one of these; at the opcode. */
static inline const struct x86_form *short_form(struct short_decoder *d, const struct x86_model *model)
{
	const struct x86_form *f = &x86_forms_one[d->opcode];

	if (d->opcode == 0x0f) {
		d->opcode = *d->p++;
		d->insn->map = 1;
		f = &x86_forms_0f[d->opcode * 4];
	}
	if (f->select == SEL_REG) {
		f = &f->sub[*d->p >> 3 & 7];
		d->rex &= ~4u;
		d->group = true;
	}
	if (f->select || f->vform || f->flags & ~(FF_D64 | FF_F64 | FF_BYTE) || !x86_has(model, f->feature))
		return NULL;
	return f->op == OP_INVALID ? NULL : f;
}

/* At least 16 bytes are there; the instruction has been cleared. */
static bool decode_short(const struct x86_model *model, const uint8_t *bytes, struct x86_insn *i)
{
	struct short_decoder d = { .p = bytes, .bytes = bytes, .insn = i };
	const struct x86_form *f;
	unsigned n = 0;
	uint64_t operands;

	d.opcode = *d.p++;
	if ((d.opcode & 0xf0) == 0x40) {
		d.has_rex = true;
		d.rex = d.opcode & 15;
		d.opcode = *d.p++;
	}
	if (!(f = short_form(&d, model)))
		return false;
	d.opsize = f->flags & FF_BYTE ? 1 : d.rex & 8 || f->flags & (FF_D64 | FF_F64) ? 8 : 4;
	i->op = f->op;
	i->opcode_off = (uint8_t)(d.p - 1 - bytes);
	memcpy(&operands, f->o, sizeof(operands));
	if (operands & 0x100010001 || d.group) {
		i->has_modrm = 1;
		i->modrm = (uint8_t)(d.modrm = *d.p++);
		if (d.modrm < 0xc0)
			short_memory(&d);
	}
	for (; operands; operands >>= 16) {
		struct x86_operand o = short_operand(&d, operands & 0xffff);
		if (o.kind == OPK_NONE)
			return false;
		o.access = OD_ACCESS(operands & 0xffff);
		i->o[n++] = o;
	}
	i->nops = (uint8_t)n;
	i->addrsize = 8;
	i->opsize = (uint8_t)d.opsize;
	i->rex = (uint8_t)d.rex;
	i->prefix = d.has_rex ? PFX_REX : 0;
	i->nprefix = d.has_rex;
	i->opcode = (uint8_t)d.opcode;
	if (i->op == OP_JCC || i->op == OP_SETCC || i->op == OP_CMOVCC)
		i->cond = d.opcode & 15;
	i->len = (uint8_t)(d.p - bytes);
	i->imm_off = (uint8_t)(d.imm_off ? d.imm_off : i->len);
	memcpy(i->bytes, bytes, sizeof(i->bytes));
	return true;
}

#endif
