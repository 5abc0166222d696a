/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instruction decoder (SDM volume 2, chapters 2 to 6 and appendix A):
 * prefixes, opcode, a form from the tables, ModRM and its memory operand,
 * immediates.  Reads from a zero-padded copy of the bytes, so that nothing but
 * the end has to be checked: whoever has read past what there was answers
 * X86_MORE, whatever he found there.  No state, no allocation.
 */
#include "x86/decode_operand.h"
#include "x86/decode_short.h"

/* Prefix bytes: what they set; 0: not a prefix. */
enum { P_SEG = 1, P_66, P_67, P_LOCK, P_F3, P_F2, P_REX };
static const uint8_t prefix_kind[256] = {
	[0x26] = P_SEG, [0x2e] = P_SEG, [0x36] = P_SEG, [0x3e] = P_SEG, [0x64] = P_SEG, [0x65] = P_SEG,
	[0x66] = P_66, [0x67] = P_67, [0xf0] = P_LOCK, [0xf2] = P_F2, [0xf3] = P_F3,
	[0x40 ... 0x4f] = P_REX,
};

static void segment_prefix(struct decoder *d, uint8_t byte)
{
	unsigned seg = byte >= 0x64 ? FS + (byte & 1) : byte >> 3 & 3;

	if (d->code_size == 8 && seg < FS)
		return;                 /* SDM 1 3.3.7.1: ignored; an earlier FS stays */
	d->insn->seg = seg;
	d->insn->prefix |= PFX_SEG;
	d->segment_override = true;
}

static void decode_prefixes(struct decoder *d)
{
	struct x86_insn *i = d->insn;
	const uint8_t *end = d->buf + MAX_LEN;
	uint8_t kind;

	for (; d->p < end && (kind = prefix_kind[*d->p]); d->p++) {
		if (kind == P_REX) {
			if (d->code_size != 8)
				return;
			i->rex = *d->p & 15;
			i->prefix |= PFX_REX;
			continue;
		}
		i->rex = 0;             /* a REX counts only right before the opcode */
		i->prefix &= ~PFX_REX;
		switch (kind) {
		case P_SEG: segment_prefix(d, *d->p); break;
		case P_66: i->prefix |= PFX_66; break;
		case P_67: i->prefix |= PFX_67; break;
		case P_LOCK: i->prefix |= PFX_LOCK; break;
		case P_F3: i->prefix |= PFX_REP; d->last_rep = PP_F3; break;
		case P_F2: i->prefix |= PFX_REPNE; d->last_rep = PP_F2; break;
		}
	}
}

/* C4, C5: also LES and LDS, unless what follows looks like a register form. */
static bool is_vex(const struct decoder *d)
{
	return d->code_size == 8 || (d->p[1] >= 0xc0 && !d->real);
}

static bool decode_vex(struct decoder *d)
{
	struct x86_insn *i = d->insn;
	uint8_t last;

	if (i->prefix & (PFX_66 | PFX_REP | PFX_REPNE | PFX_LOCK | PFX_REX))
		return false;
	i->prefix |= PFX_VEX;
	if (*d->p == 0xc5) {
		i->map = 1;
		i->rex = (~d->p[1] >> 7 & 1) << 2;
		last = d->p[1];
		d->p += 2;
	} else {
		i->map = d->p[1] & 31;
		i->rex = (~d->p[1] >> 5 & 7) | (d->p[2] >> 7) << 3;
		last = d->p[2];
		d->p += 3;
	}
	if (i->map < 1 || i->map > 3)
		return false;
	i->pp = last & 3;
	i->vvvv = ~last >> 3 & 15;
	d->vvvv_zero = i->vvvv == 0;
	d->vex_l = last >> 2 & 1;
	if (d->code_size != 8) {        /* the high bits are ignored; SDM 2A 2.3.5.6 */
		i->rex &= 8;
		i->vvvv &= 7;
	}
	i->opcode_off = d->p - d->buf;
	i->opcode = *d->p++;
	d->form = &x86_forms_vex[i->map - 1][i->opcode * 4 + i->pp];
	return true;
}

static void decode_escaped(struct decoder *d)
{
	static const struct x86_form *const tables[] = {
		NULL, x86_forms_0f, x86_forms_0f38, x86_forms_0f3a
	};
	struct x86_insn *i = d->insn;

	i->map = d->p[1] == 0x38 ? 2 : d->p[1] == 0x3a ? 3 : 1;
	d->p += i->map > 1 ? 2 : 1;
	i->pp = d->last_rep ? d->last_rep : i->prefix & PFX_66 ? PP_66 : PP_NONE;
	i->opcode_off = d->p - d->buf;
	i->opcode = *d->p++;
	d->form = &tables[i->map][i->opcode * 4 + i->pp];
}

static bool decode_opcode(struct decoder *d)
{
	uint8_t byte = *d->p;

	if (byte == 0x0f) {
		decode_escaped(d);
		return true;
	}
	if ((byte & 0xfe) == 0xc4 && is_vex(d))
		return decode_vex(d);
	d->insn->opcode_off = d->p - d->buf;
	d->insn->opcode = byte == 0x82 ? 0x80 : byte;   /* an alias that 64-bit code lacks */
	d->p++;
	d->form = &x86_forms_one[byte];
	return true;
}

static unsigned select_nop(const struct decoder *d)
{
	if (d->last_rep == PP_F3)
		return 2;               /* whatever REX.B says: seen on hardware */
	return d->insn->rex & 1;
}

/* Groups: follow the tables down to an instruction. REX.R says nothing there. */
static void resolve(struct decoder *d)
{
	const struct x86_form *f = d->form;

	while (f->select) {
		switch (f->select) {
		case SEL_REG: f = &f->sub[fetch_modrm(d) >> 3 & 7]; d->insn->rex &= ~4; break;
		case SEL_MOD: f = &f->sub[fetch_modrm(d) >= 0xc0]; break;
		case SEL_RM: f = &f->sub[fetch_modrm(d) & 7]; break;
		case SEL_W: f = &f->sub[d->insn->rex >> 3]; break;
		case SEL_L: f = &f->sub[d->vex_l]; break;
		case SEL_C64: f = &f->sub[d->code_size == 8]; break;
		case SEL_NOP: f = &f->sub[select_nop(d)]; break;
		default: f = x86_form_x87(d->insn->opcode, fetch_modrm(d)); d->insn->rex &= ~4; break;
		}
	}
	d->form = f;
}

static bool vex_allowed(const struct decoder *d)
{
	unsigned flags = d->form->flags;
	unsigned w = d->insn->rex >> 3;

	if ((flags & FF_W0 && w) || (flags & FF_W1 && !w))
		return false;
	if ((flags & FF_L0 && d->vex_l) || (flags & FF_L1 && !d->vex_l))
		return false;
	if (!(x86_op_info[d->form->op].props & OPP_VEC))
		return true;            /* BMI: no vector */
	if (d->vex_l && flags & FF_AVX2 && !x86_has(d->model, FEAT_AVX2))
		return false;
	return x86_has(d->model, FEAT_AVX);
}

static bool form_allowed(struct decoder *d)
{
	const struct x86_form *f = d->form;

	if (!x86_has(d->model, f->feature)) {
		if (!(f->flags & FF_FALL))
			return false;
		d->form = f = &x86_forms_0f[d->insn->opcode * 4];
		resolve(d);
		f = d->form;
	}
	if (f->op == OP_INVALID)
		return false;
	if (d->code_size == 8 ? f->flags & FF_I64 : f->flags & FF_O64)
		return false;
	if (d->real && f->flags & FF_PROT)
		return false;
	return !(d->insn->prefix & PFX_VEX) || vex_allowed(d);
}

static void set_opsize(struct decoder *d)
{
	struct x86_insn *i = d->insn;
	unsigned flags = d->form->flags;
	bool p66 = i->prefix & PFX_66;
	unsigned size = (d->code_size == 2) != p66 ? 2 : 4;

	if (d->code_size == 8) {
		if (i->rex & 8 || flags & (FF_F64 | FF_N))
			size = 8;
		else if (flags & FF_D64)
			size = p66 ? 2 : 8;
	} else if (flags & FF_N) {
		size = 4;
	}
	if (flags & FF_MAX4 && size == 8)
		size = 4;
	i->opsize = flags & FF_BYTE ? 1 : size;
}

static void set_vl(struct decoder *d)
{
	struct x86_insn *i = d->insn;
	const struct x86_form *f = d->form;

	i->vform = f->vform;
	if (!(x86_op_info[f->op].props & OPP_VEC))
		return;
	i->vl = i->prefix & PFX_VEX && d->vex_l ? 32 : f->vform & VEC_MMX ? 8 : 16;
}

/* LOCK: only for a read-modify-write of memory (SDM 2A LOCK). */
static bool lock_legal(const struct x86_insn *i)
{
	return x86_op_info[i->op].props & OPP_LOCKABLE && i->o[0].kind == OPK_MEM;
}

/* Destination, index and mask of a gather must differ (SDM 2A 2.3.12). */
static bool gather_legal(const struct x86_insn *i)
{
	unsigned dest = i->o[0].reg, mask = i->o[2].reg;

	return i->op != OP_VEC_GATHER || (dest != i->index && mask != i->index && dest != mask);
}

/* VEX.W outside 64-bit code: ignored where it would widen general registers. */
static void drop_ignored_w(struct decoder *d)
{
	struct x86_insn *i = d->insn;

	if (i->vform & (VEC_GPR_REG | VEC_GPR_RM | VEC_RAX_RDX) || !i->vl)
		i->rex &= 7;
}

static bool finish(struct decoder *d)
{
	struct x86_insn *i = d->insn;

	i->len = d->p - d->buf;
	if (d->code_size != 8 && i->rex)
		drop_ignored_w(d);
	if (i->imm_off == 0)
		i->imm_off = i->len;
	if (i->op == OP_JCC || i->op == OP_SETCC || i->op == OP_CMOVCC)
		i->cond = i->opcode & 15;
	if (OD_SIZE(d->form->o[0]) == SZ_Y && i->op != OP_CRC32)
		i->opsize = i->o[0].size;       /* no 16-bit form: BMI, ADX, MOVNTI */
	if (i->prefix & PFX_LOCK && !lock_legal(i))
		return false;
	if (!gather_legal(i))
		return false;
	return !(i->prefix & PFX_VEX) || d->vvvv_used || d->vvvv_zero;
}

static bool decode(struct decoder *d)
{
	struct x86_insn *i = d->insn;

	decode_prefixes(d);
	i->nprefix = d->p - d->buf;
	if (!decode_opcode(d))
		return false;
	resolve(d);
	if (!form_allowed(d))
		return false;
	i->op = d->form->op;
	i->addrsize = d->code_size;
	if (i->prefix & PFX_67)
		i->addrsize = d->code_size == 4 ? 2 : 4;
	set_opsize(d);
	set_vl(d);
	return decode_operands(d) && finish(d);
}

/* Two halves: one memset becomes `rep stos`, whose start costs more than the
 * prefixes of an instruction. */
static void clear_insn(struct x86_insn *insn)
{
	enum { HALF = sizeof(*insn) / 2 };

	memset(insn, 0, HALF);
	memset((uint8_t *)insn + HALF, 0, HALF);
	insn->seg = DS;
	insn->base = insn->index = X86_NO_REG;
	insn->scale = 1;
}

/* Flattened: called for each instruction that is met, 50 % faster as one piece. */
static __attribute__((flatten, noinline))
enum x86_decode_status decode_any(const struct x86_model *model, unsigned code_size, bool real, const uint8_t *bytes,
				  unsigned avail, struct x86_insn *insn)
{
	struct decoder d = { .model = model, .insn = insn, .code_size = code_size, .real = real };
	unsigned have = avail < MAX_LEN ? avail : MAX_LEN;
	bool ok;

	if (avail >= 16)
		memcpy(d.buf, bytes, 16);
	else
		memcpy(d.buf, bytes, avail);
	clear_insn(insn);
	d.p = d.buf;
	ok = decode(&d);
	memcpy(insn->bytes, d.buf, sizeof(insn->bytes));
	if (d.p > d.buf + have)
		return avail < MAX_LEN ? X86_MORE : X86_TOO_LONG;
	return ok ? X86_OK : X86_UD;
}

__attribute__((flatten))
enum x86_decode_status x86_decode(const struct x86_model *model, unsigned code_size, bool real, const uint8_t *bytes,
				  unsigned avail, struct x86_insn *insn)
{
	if (code_size == 8 && avail >= 16) {
		clear_insn(insn);
		if (decode_short(model, bytes, insn))
			return X86_OK;
	}
	return decode_any(model, code_size, real, bytes, avail, insn);
}

const struct x86_op_info x86_op_info[OP_COUNT] = {
	[OP_INVALID] = { "INVALID", 0, 0, 0 },
#define OP(name, reads, writes, props) [OP_##name] = { #name, reads, writes, props },
#include "x86/ops.def"
#undef OP
};
