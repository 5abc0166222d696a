/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Builds a case.  Registers are random but those that an instruction takes
 * addresses from: these are set so that it hits the data (at times across a
 * page, into unmapped memory, or to a non-canonical address).  The first step's
 * come from the initial state, later ones from a MOV before the instruction.
 */
#include "oracle/oracle.h"

struct builder {
	struct oracle_case *c;
	struct rng rng;
	const struct x86_insn *insn;
	uint8_t bytes[16];
	unsigned at;            /* where the instruction will lie */
	uint64_t target;        /* of the memory operand */
	uint16_t fixed;         /* registers that must hold `value` */
	uint64_t value[16];
	bool first;
	bool good;
};

/* --- values ------------------------------------------------------------------ */

/*
 * Half of them plain random, the others where arithmetic changes its mind.  One draw
 * each: a case takes some 150.  Which kind, and which of the list, is told by bits
 * of the state, which the product does not show.
 */
static uint64_t interesting(struct rng *r)
{
	static const uint64_t values[64] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 31, 32, 63, 64,
		0x3f800000, 0xbf800000, 0x7f800000, 0x7fc00000, 0x7f800001, 0x00000001, 0x4f000000,
		0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0x7ff8000000000000,
		0x7ff0000000000001, 0x0010000000000000, 0x43e0000000000000, 0x0000000000000001,
		0x3f8000003f800000, 0x7f8000007fc00000, 0x8000000080000000, 0x3fffffffffffffff,
		0xfffffffffffffffe, 0xffffffff00000000, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa,
		0x0123456789abcdef, 0x00ff00ff00ff00ff, 0x8000800080008000, 0x7fff7fff7fff7fff,
		0x8080808080808080, 0x7f7f7f7f7f7f7f7f, 0x3f8000004f000000, 0xcf000000bf800000,
		0xc3e0000000000000, 0x41dfffffffc00000, 0xc1e0000000000000, 0x47efffffe0000000,
		0x36a0000000000000, 0x380fffffe0000000, 0xfff0000000000000, 0xfff8000000000000,
		0xff800000ffc00000, 0x007fffff00800000, 0x807fffff80800000, 0x7bff7c007e000001,
		0x0400040003ff8001, 0xfbfffc00fe00fc01,
	};
	uint64_t v = rng_next(r), which = r->state >> 20;
	uint64_t kinds[8] = {           /* a table: no branch to guess */
		values[which >> 3 & 63], v & 0xff, (uint64_t)((int64_t)(v << 48) >> 48),
		(v & 0x800fffffffffffffull) | (1000 + (which >> 3 & 63)) << 52, v, v, v, v,
	};

	return kinds[which & 7];
}

static void random_x87(struct rng *r, struct x86_xsave *x)
{
	x->fcw = 0x37f;
	if (rng_below(r, 2))
		x->fcw = 0x40 | (rng_next(r) & 0xf00) | (rng_below(r, 8) ? 0x3f : rng_below(r, 64));
	x->fsw = rng_next(r) & 0x7f00 & ~0x8000;
	x->fsw = (x->fsw & 0x7f00) | ((x->fcw & 0x3f) == 0x3f ? rng_below(r, 64) : 0);
	x->ftw = rng_below(r, 4) ? 0xff : rng_next(r);
	for (unsigned n = 0; n < 8; n++) {
		uint64_t mantissa = interesting(r);
		uint16_t exponent = rng_below(r, 3) ? 16383 - 40 + rng_below(r, 90) : rng_next(r);

		if (rng_below(r, 8) == 0)
			exponent |= 0x7fff;
		if (rng_below(r, 8))
			mantissa |= 1ull << 63;
		if (rng_below(r, 8) == 0)
			mantissa = exponent = 0;
		le64_put(x->st[n], mantissa);
		le16_put(x->st[n] + 8, exponent | (rng_next(r) & 0x8000));
	}
}

static void random_state(struct rng *r, struct native_state *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned n = 0; n < 16; n++)
		s->gpr[n] = interesting(r);
	s->rflags = (rng_next(r) & FL_STATUS) | 2;
	if (rng_below(r, 4) == 0)
		s->rflags |= FL_DF;
	if (rng_below(r, 16) == 0)
		s->rflags |= FL_AC;             /* alignment checks */
	random_x87(r, &s->xsave);
	s->xsave.mxcsr = rng_below(r, 4) ? 0x1f80 | (rng_next(r) & 0xe000) : 0x1f80 | (rng_next(r) & 0xe07f);
	if (rng_below(r, 8) == 0)
		s->xsave.mxcsr = rng_next(r) & 0xffff;
	s->xsave.mxcsr_mask = 0xffff;
	for (unsigned n = 0; n < 32; n++)
		le64_put(s->xsave.xmm[0] + n * 8, interesting(r));
	for (unsigned n = 0; n < 32; n++)
		le64_put(s->xsave.ymmh[0] + n * 8, interesting(r));
	s->xsave.xstate_bv = 7;
}

/* --- data -------------------------------------------------------------------- */

static bool in_data(uint64_t at, unsigned n)
{
	return at >= DATA_BASE && at + n <= DATA_BASE + DATA_SIZE;
}

static void put_data(struct oracle_case *c, uint64_t at, uint64_t value, unsigned n)
{
	if (n == 8 && in_data(at, 8)) {
		le64_put(c->data + at - DATA_BASE, value);
		return;
	}
	for (unsigned k = 0; k < n; k++)
		if (in_data(at + k, 1))
			c->data[at + k - DATA_BASE] = value >> (8 * k);
}

static uint64_t get_data(const struct oracle_case *c, uint64_t at, unsigned n)
{
	uint64_t value = 0;

	for (unsigned k = 0; k < n; k++)
		if (in_data(at + k, 1))
			value |= (uint64_t)c->data[at + k - DATA_BASE] << (8 * k);
	return value;
}

static void random_data(struct builder *b, uint64_t center)
{
	for (uint64_t at = center - 128; at != center + 128; at += 8)
		put_data(b->c, at, interesting(&b->rng), 8);
}

/* Where a memory operand shall lie. */
static uint64_t choose_target(struct builder *b)
{
	struct rng *r = &b->rng;
	unsigned size = MAX(1u, (unsigned)b->insn->mem_size);
	uint64_t t = DATA_BASE + TARGET_AT + rng_below(r, 256);
	unsigned kind = rng_below(r, 64);

	if (kind < 6)
		t = DATA_BASE + DATA_SIZE / 2 - rng_below(r, size + 8);                 /* over a page boundary */
	else if (kind == 6)
		t = DATA_BASE + DATA_SIZE - rng_below(r, size + 8);              /* into nothing */
	else if (kind == 7)
		t = DATA_BASE - rng_below(r, size + 8);
	else if (kind == 8 && b->insn->addrsize == 8)
		t = 0x0000800000000000ull + rng_below(r, 4096);                  /* not canonical */
	bool locked = b->insn->prefix & PFX_LOCK || b->insn->op == OP_XCHG || b->insn->op == OP_CMPXCHG16B;
	if ((b->insn->align && rng_below(r, 16)) || (locked && size <= 16))
		t &= ~(uint64_t)((b->insn->align ? b->insn->align : size) - 1);  /* no split locks on the host */
	return t;
}

/* --- registers --------------------------------------------------------------- */

/* Where DS and ES begin. */
static uint64_t data_segment(const struct builder *b)
{
	return b->c->segmented ? SEGMENT_BASE : 0;
}

static void fix(struct builder *b, unsigned reg, uint64_t value)
{
	if (b->fixed & 1u << reg && b->value[reg] != value)
		b->good = false;
	b->fixed |= 1u << reg;
	b->value[reg] = value;
}

static unsigned disp_offset(const struct builder *b)
{
	return b->insn->opcode_off + 2 + ((b->insn->modrm & 7) == 4);
}

static void redecode(struct builder *b, struct x86_insn *insn)
{
	b->good = b->good && x86_decode(b->c->model, b->c->mode, false, b->bytes, 16, insn) == X86_OK;
}

/* An index needs a small known value. */
static uint64_t choose_index(struct builder *b)
{
	const struct x86_insn *i = b->insn;
	uint64_t value = rng_below(&b->rng, 64) - 32ull;

	if (i->index == X86_NO_REG || i->op == OP_VEC_GATHER)
		return 0;
	if (b->fixed & 1u << i->index)
		value = b->value[i->index];
	if (i->index == i->base) {
		b->good = i->scale == 1;        /* base + base: half of the target */
		return 0;
	}
	fix(b, i->index, value);
	return value * i->scale;
}

static void aim_base(struct builder *b, uint64_t rest)
{
	const struct x86_insn *i = b->insn;
	uint64_t value = b->target - rest;

	if (i->index == i->base && i->op != OP_VEC_GATHER) {
		if (value & 1)
			b->good = false;
		value /= 2;
	}
	if (i->addrsize == 2)
		value = (uint16_t)value | (rng_next(&b->rng) & 0xffff) << 16;
	else if (b->c->mode != 8)
		value = (uint32_t)value;
	else if (i->addrsize == 4 && rng_below(&b->rng, 2))
		value = (uint32_t)value | rng_next(&b->rng) << 32;      /* cut off by 67 */
	fix(b, i->base, value);
}

/* Make the memory operand hit the target. */
static void aim(struct builder *b, struct x86_insn *insn)
{
	uint64_t base = 0, rest;

	if (insn->seg == FS)
		__asm__("mov %%fs:0, %0" : "=r"(base));           /* the ABI keeps the base there */
	else if (insn->seg == DS || insn->seg == ES)
		base = data_segment(b);
	b->target -= base;
	rest = choose_index(b) + insn->disp;
	if (insn->base == X86_RIP) {
		le32_put(b->bytes + disp_offset(b), b->target - (NATIVE_CODE + b->at + insn->len));
		redecode(b, insn);
	} else if (insn->base == X86_NO_REG && insn->addrsize == 2) {
		le16_put(b->bytes + insn->opcode_off + 2, b->target);
		redecode(b, insn);
	} else if (insn->base == X86_NO_REG && insn->has_modrm) {
		le32_put(b->bytes + disp_offset(b), b->target - (rest - insn->disp));
		redecode(b, insn);
	} else if (insn->base == X86_NO_REG) {          /* moffs */
		if (insn->addrsize == 8)
			le64_put(b->bytes + insn->opcode_off + 1, b->target);
		else
			le32_put(b->bytes + insn->opcode_off + 1, b->target);
		redecode(b, insn);
	} else {
		aim_base(b, rest);
	}
	b->target += base;
}

/* --- instructions with more to them ------------------------------------------ */

static void stack_top(struct builder *b)
{
	if (!(b->fixed & 1u << RSP))
		fix(b, RSP, DATA_BASE + STACK_AT + rng_below(&b->rng, 32) * 4);
}

static void prepare_string(struct builder *b)
{
	struct rng *r = &b->rng;

	uint64_t base = data_segment(b);

	fix(b, RSI, DATA_BASE - base + TARGET_AT + rng_below(r, 128));
	fix(b, RDI, DATA_BASE - base + (rng_below(r, 3) ? TARGET_AT + rng_below(r, 128) : DATA_SIZE / 2 - rng_below(r, 40)));
	if (b->insn->prefix & (PFX_REP | PFX_REPNE))
		fix(b, RCX, rng_below(r, 12));
	if (!b->first)
		return;
	random_data(b, DATA_BASE + TARGET_AT + 0x80);
	if (rng_below(r, 2))            /* something to find */
		for (unsigned n = 0; n < 16; n++)
			put_data(b->c, DATA_BASE + TARGET_AT + n * 8, 0, 8);
}

/* BT and the like with a register offset: a bit string around the target. */
static void prepare_bit_string(struct builder *b)
{
	const struct x86_insn *i = b->insn;

	if (i->op < OP_BT || i->op > OP_BTC || i->o[0].kind != OPK_MEM || i->o[1].kind != OPK_GPR)
		return;
	fix(b, i->o[1].reg, rng_below(&b->rng, 1600) - 800ull);
}

/* A branch jumps over MOV EAX, imm32. */
static unsigned skip_length(const struct oracle_case *c)
{
	return c->mode == 2 ? 6 : 5;
}

static uint64_t after_skip(const struct builder *b)
{
	return (b->c->mode == 2 ? 0 : NATIVE_CODE) + b->at + b->insn->len + skip_length(b->c);
}

static void prepare_branch(struct builder *b)
{
	const struct x86_insn *i = b->insn;
	uint64_t to = after_skip(b);

	if (i->o[0].kind == OPK_REL)
		memset(b->bytes + i->imm_off, 0, i->len - i->imm_off), b->bytes[i->imm_off] = skip_length(b->c);
	else if (i->op == OP_RET)
		put_data(b->c, b->value[RSP], to, 8);
	else if (i->o[0].kind == OPK_GPR)
		fix(b, i->o[0].reg, to);
	else
		put_data(b->c, b->target, to, i->opsize);
}

static void prepare_cmpxchg(struct builder *b)
{
	const struct x86_insn *i = b->insn;
	unsigned half = i->mem_size / 2;

	if (!b->first || rng_below(&b->rng, 2))
		return;
	if (i->op == OP_CMPXCHG && i->o[0].kind == OPK_MEM) {
		fix(b, RAX, get_data(b->c, b->target, i->opsize));
	} else if (i->op != OP_CMPXCHG) {
		fix(b, RAX, get_data(b->c, b->target, half));
		fix(b, RDX, get_data(b->c, b->target + half, half));
	}
}

static void prepare_gather(struct builder *b)
{
	uint8_t *index = b->c->in.xsave.xmm[b->insn->index], *high = b->c->in.xsave.ymmh[b->insn->index];
	unsigned wide = b->insn->opcode & 1 ? 8 : 4;

	if (!b->first)
		b->good = false;
	for (unsigned n = 0; n < 16; n += wide) {
		int64_t v = (int)rng_below(&b->rng, 24) - 12, w = (int)rng_below(&b->rng, 24) - 12;

		memcpy(index + n, &v, wide);
		memcpy(high + n, &w, wide);
	}
}

static void prepare_enter(struct builder *b)
{
	b->bytes[b->insn->imm_off] &= 0x3f;
	b->bytes[b->insn->imm_off + 1] = 0;
	b->bytes[b->insn->imm_off + 2] &= 0x23;
	fix(b, RBP, DATA_BASE + STACK_AT + 0x100 + rng_below(&b->rng, 32) * 8);
}

/* What the special operands of this op need; before the memory operand is aimed. */
static void prepare_op(struct builder *b)
{
	const struct x86_insn *i = b->insn;

	switch (i->op) {
	case OP_PUSH: case OP_POP: case OP_PUSHA: case OP_POPA: case OP_PUSHF: case OP_POPF:
	case OP_PUSH_SREG: case OP_CALL: case OP_CALL_IND: case OP_RET:
		stack_top(b);
		break;
	case OP_ENTER: stack_top(b); prepare_enter(b); break;
	case OP_LEAVE: fix(b, RBP, DATA_BASE + STACK_AT + rng_below(&b->rng, 256)); break;
	case OP_XLAT: fix(b, RBX, DATA_BASE - data_segment(b) + TARGET_AT); break;
	case OP_MASKMOVDQU: fix(b, RDI, DATA_BASE - data_segment(b) + TARGET_AT + rng_below(&b->rng, 64)); break;
	case OP_VEC_GATHER: prepare_gather(b); break;
	}
	if (x86_op_info[i->op].props & OPP_STRING && i->op != OP_INS && i->op != OP_OUTS)
		prepare_string(b);
}

/* TF would trap, NT and AC change what follows. */
static void tame_popf(struct builder *b)
{
	uint64_t at = b->value[RSP];

	put_data(b->c, at, get_data(b->c, at, 4) & (FL_STATUS | FL_DF | FL_IF), 4);
}

/* Operands whose registers were taken for addresses may not matter; but an
 * instruction must not address by what it fixes otherwise (fix() refuses). */
static void prepare(struct builder *b, struct x86_insn *insn)
{
	bool memory = false;

	for (unsigned n = 0; n < insn->nops; n++)
		memory |= insn->o[n].kind == OPK_MEM;
	b->insn = insn;
	prepare_op(b);
	prepare_bit_string(b);
	if (memory && insn->op != OP_LEA) {
		b->target = choose_target(b);
		if (b->first)           /* later steps take what is there: branch targets too */
			random_data(b, b->target);
		aim(b, insn);
	}
	if (x86_op_info[insn->op].props & OPP_BRANCH && insn->op != OP_UD)
		prepare_branch(b);
	if (insn->op == OP_CMPXCHG || insn->op == OP_CMPXCHG8B || insn->op == OP_CMPXCHG16B)
		prepare_cmpxchg(b);
	if (insn->op == OP_POPF)
		tame_popf(b);
}

/* --- steps ------------------------------------------------------------------- */

/* MOV register, imm64 or (narrow) imm32. */
static unsigned put_load(const struct oracle_case *c, uint8_t *p, unsigned reg, uint64_t value, bool narrow)
{
	uint8_t *start = p;

	if (c->mode == 2)
		*p++ = 0x66;
	if (!narrow)
		*p++ = 0x48 | reg >> 3;
	*p++ = 0xb8 | (reg & 7);
	if (narrow) {
		le32_put(p, value);
		return p + 4 - start;
	}
	le64_put(p, value);
	return p + 8 - start;
}

static unsigned load_length(const struct oracle_case *c)
{
	return c->mode == 8 ? 10 : c->mode == 4 ? 5 : 6;
}

static unsigned put_loads(struct oracle_case *c, const struct builder *b)
{
	unsigned n = 0;

	for (unsigned reg = 0; reg < 16; reg++)
		if (b->fixed & 1u << reg)
			n += put_load(c, c->code + c->n + n, reg, b->value[reg], c->mode != 8);
	return n;
}

/* Flags left undefined by an earlier step must not be read. */
static bool flags_good(struct oracle_case *c, const struct x86_insn *i)
{
	const struct x86_op_info *info = &x86_op_info[i->op];

	if (c->undefined_flags & info->flags_read)
		return false;
	c->undefined_flags &= ~(uint32_t)info->flags_written;
	c->undefined_flags |= flags_undefined(i, &c->in, c->steps);
	c->undefined_once |= c->undefined_flags;
	return true;
}

/*
 * Alignment checks (EFLAGS.AC) that cannot be compared: ENTER and MASKMOVDQU check
 * their pieces in an order of their own.
 */
static bool alignment_differs(const struct x86_insn *i)
{
	return i->op == OP_ENTER || i->op == OP_MASKMOVDQU || movbe_in_parts(i);
}

static bool only_first(const struct x86_insn *i)
{
	/* An earlier step may overwrite the target: the host would run wild. */
	if (alignment_differs(i))
		return true;    /* AC may be set */
	if (i->op == OP_X87_ENV)
		return true;    /* and the host's addresses in an image must not be loaded again */
	return i->op == OP_RET || i->op == OP_POPF || i->op == OP_LEAVE ||
	       ((i->op == OP_CALL_IND || i->op == OP_JMP_IND) && i->o[0].kind == OPK_MEM);
}

/* The instruction's place depends on its loads, whose number is known after a
 * first try; the second one repeats it with the same random numbers. */
static bool add_step(struct oracle_case *c, struct form *f, struct rng *r)
{
	struct builder b;
	struct x86_insn insn;
	uint8_t bytes[16];
	unsigned at = c->n;
	struct rng start;

	if (!form_encode(f, c->model, r, bytes, &insn) || (c->steps && only_first(&insn)))
		return false;
	rng_next(r);
	start = *r;
	for (unsigned pass = c->steps == 0; pass < 2; pass++) {
		b = (struct builder){ .c = c, .rng = start, .at = at, .first = c->steps == 0, .good = true };
		memcpy(b.bytes, bytes, 16);
		if (x86_decode(c->model, f->mode, false, bytes, 16, &insn) != X86_OK)
			return false;
		prepare(&b, &insn);
		if (!b.first)
			at = c->n + __builtin_popcount(b.fixed) * load_length(c);
	}
	*r = b.rng;
	x86_decode(c->model, f->mode, false, b.bytes, 16, &insn);
	if (!b.good || !flags_good(c, &insn))
		return false;
	struct step *s = &c->step[c->steps++];
	s->form = f;
	s->insn = insn;
	s->fixes = b.first ? 0 : put_loads(c, &b);
	for (unsigned reg = 0; reg < 16 && b.first; reg++)
		if (b.fixed & 1u << reg)
			c->in.gpr[reg] = b.value[reg];
	s->at = c->n + s->fixes;
	memcpy(c->code + s->at, b.bytes, insn.len);
	c->n = s->at + insn.len;
	if (x86_op_info[insn.op].props & OPP_BRANCH && insn.op != OP_UD)
		c->n += put_load(c, c->code + c->n, RAX, rng_next(r), true);
	return true;
}

/* Privileged instructions fault: they end a sequence. */
static bool faults_always(const struct form *f)
{
	return f->op == OP_UD || (x86_op_info[f->op].props & (OPP_SYSTEM | OPP_IO) &&
				  f->op != OP_PUSHF && f->op != OP_POPF && f->op != OP_MOV_SREG_STORE);
}

/* 16-bit addresses. */
static bool needs_segment(const struct form *f)
{
	return f->mode == 4 && (f->address == ADDR_67_B || f->address == ADDR_67_BI);
}

/* The first instruction, its state and memory; false: no luck. */
static bool make_first(struct oracle_case *c, struct form *first, struct rng *r)
{
	c->steps = c->n = 0;
	c->undefined_flags = c->undefined_once = 0;
	c->mode = first->mode;
	c->segmented = c->mode == 2 || needs_segment(first) || (c->mode == 4 && rng_below(r, 4) == 0);
	memset(c->data, 0, sizeof(c->data));
	random_state(r, &c->in);
	for (unsigned reg = 8; reg < 16 && c->mode != 8; reg++)
		c->in.gpr[reg] = 0;
	for (unsigned reg = 0; reg < 8 && c->mode != 8; reg++)
		c->in.gpr[reg] = (uint32_t)c->in.gpr[reg];
	random_data(&(struct builder){ .c = c, .rng = { rng_next(r) | 1 } }, DATA_BASE + STACK_AT);
	return add_step(c, first, r);
}

bool case_make(struct oracle_case *c, struct form *forms, unsigned count, struct form *first, unsigned steps)
{
	struct rng r = { c->seed * 0xd1342543de82ef95ull + c->index * 0x9e3779b97f4a7c15ull };
	unsigned tries = 0;

	r.state += !r.state;            /* 0 would stay 0 */
	for (unsigned n = 0; n < 4; n++)
		rng_next(&r);
	while (!make_first(c, first, &r))
		if (++tries == 20)
			return false;
	if (alignment_differs(&c->step[0].insn))
		c->in.rflags &= ~(uint64_t)FL_AC;
	if (c->step[0].insn.op == OP_X87_ENV)
		steps = 1;
	for (tries = 0; c->steps < steps && tries < 40; tries++) {
		struct form *f = &forms[rng_below(&r, count)];

		if (f->mode == c->mode && !faults_always(f) && (c->segmented || !needs_segment(f)))
			add_step(c, f, &r);
	}
	return true;
}
