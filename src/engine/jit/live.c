/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which status flags are still needed: backwards over the block, and forwards
 * along direct branches inside the page.  A flag that is overwritten before it
 * is read counts as dead even if an instruction in between may fault: what an
 * exception then pushes for it is arbitrary, and comes back by IRET unread.
 */
#include "engine/jit/trans.h"

static unsigned cond_reads(unsigned cond)
{
	static const uint16_t reads[8] = {
		FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF, FL_SF | FL_OF | FL_ZF
	};
	return reads[cond >> 1 & 7];
}

static bool is_shift(const struct x86_insn *i)
{
	return (i->op >= OP_ROL && i->op <= OP_SHRD);
}

/* System instructions that do nothing with the status flags but push them in a fault. */
static bool is_indifferent(const struct x86_insn *i)
{
	switch (i->op) {
	case OP_CLI: case OP_STI: case OP_STAC: case OP_CLAC: case OP_SWAPGS: case OP_RDTSC: case OP_RDTSCP:
	case OP_RDFSBASE: case OP_RDGSBASE: case OP_WRFSBASE: case OP_WRGSBASE: case OP_INVLPG:
		return true;
	}
	return false;
}

static unsigned shift_count(const struct x86_insn *i) { return i->imm & (i->opsize == 8 ? 63 : 31); }

/* A shift by a constant is sure to write, unless that is zero. */
static bool is_shift_imm(const struct x86_insn *i)
{
	return is_shift(i) && i->nops && i->o[i->nops - 1].kind == OPK_IMM && shift_count(i) != 0;
}

/* Of an op that writes flags only sometimes. */
static void use_conditionally(const struct x86_insn *i, struct flag_use *u)
{
	if (is_shift(i))
		u->reads = i->op == OP_RCL || i->op == OP_RCR ? FL_CF : 0;
	if (!is_shift_imm(i))
		u->writes = 0;
	else if (i->op >= OP_ROL && i->op <= OP_RCR && shift_count(i) != 1)
		u->writes = FL_CF;        /* the host keeps OF then */
}

/* Flags that the SDM leaves undefined are what the host makes of them: division
 * keeps all, bit tests keep all but CF. */
static struct flag_use use_of(const struct x86_insn *i)
{
	const struct x86_op_info *info = &x86_op_info[i->op];
	struct flag_use u = { .reads = info->flags_read & FL_STATUS, .writes = info->flags_written & FL_STATUS };

	if (i->op == OP_DIV || i->op == OP_IDIV)
		u.writes = 0;
	else if (i->op >= OP_BT && i->op <= OP_BTC)
		u.writes = FL_CF;
	u.changes = u.writes;
	if (info->props & OPP_SYSTEM && !is_indifferent(i))
		u.reads = FL_STATUS;
	else if (i->op == OP_JCC || i->op == OP_SETCC || i->op == OP_CMOVCC)
		u.reads = (uint16_t)cond_reads(i->cond);
	else if (info->props & OPP_CONDFLAGS)
		use_conditionally(i, &u);
	return u;
}

enum { LOOK_AHEAD = 10, LOOK_DEEP = 2 };

/* What has been decoded to look ahead is remembered by its place, and holds if the
 * same bytes are still there. */
static struct seen *seen_slot(const struct trans *t, int64_t off)
{
	uint64_t at = t->code->page + (uint64_t)off;

	return &t->vm->seen[(at ^ at >> 12) % SEEN];
}

/* Never 0. */
static uint8_t seen_mode(const struct trans *t) { return t->key & (KEY_SIZE | KEY_REAL); }

static bool is_seen(const struct seen *s, const struct trans *t, int64_t off)
{
	const struct code *c = t->code;
	unsigned len = s->len;
	uint64_t was[2], now[2];

	if (s->where != (uint32_t)(c->page + (uint64_t)off) || s->mode != seen_mode(t) || c->end - off < 16)
		return false;
	memcpy(was, s->bytes, sizeof(was));
	memcpy(now, c->bytes + (off - c->lo), sizeof(now));
	return !((now[0] ^ was[0]) & ~0ull >> (64 - 8 * MIN(len, 8u))) &&
	       (len <= 8 || !((now[1] ^ was[1]) & ~0ull >> (64 - 8 * (len - 8))));
}

enum x86_decode_status trans_decode(const struct trans *t, int64_t off, struct x86_insn *i)
{
	const struct code *c = t->code;

	return x86_decode(t->v->model, t->size, t->key & KEY_REAL, c->bytes + (off - c->lo), (unsigned)(c->end - off), i);
}

/* A branch whose target is cut to 16 bits: it goes elsewhere. */
static bool is_cut(const struct trans *t, const struct x86_insn *i)
{
	return t->size == 4 && i->opsize == 2;
}

static enum seen_flow flow_of(const struct trans *t, const struct x86_insn *i)
{
	if (!(x86_op_info[i->op].props & OPP_BRANCH))
		return SEEN_ON;
	if (is_cut(t, i))
		return SEEN_END;
	return i->op == OP_JMP ? SEEN_JMP : i->op == OP_JCC ? SEEN_JCC : SEEN_END;
}

static void see(const struct trans *t, int64_t off, struct seen *s)
{
	struct x86_insn i;

	s->mode = 0;
	if (trans_decode(t, off, &i) != X86_OK)
		return;
	struct flag_use u = use_of(&i);
	*s = (struct seen) { .where = (uint32_t)(t->code->page + (uint64_t)off), .jump = (int32_t)i.imm, .reads = u.reads,
			     .writes = u.writes, .mode = seen_mode(t), .flow = (uint8_t)flow_of(t, &i), .len = i.len };
	memcpy(s->bytes, i.bytes, sizeof(s->bytes));
}

/* NULL: there is none, or not all of it. */
static const struct seen *look_at(struct trans *t, int64_t off)
{
	const struct code *c = t->code;

	if (off < c->lo || off >= c->hi)
		return NULL;
	struct seen *s = seen_slot(t, off);
	if (!is_seen(s, t, off))
		see(t, off, s);
	if (!s->mode)
		return NULL;
	t->b->lo = MIN(t->b->lo, (uint16_t)off);
	t->b->hi = MAX(t->b->hi, (uint16_t)(off + s->len));
	return s;
}

/* off: perhaps outside of what there is. */
static unsigned look(struct trans *t, int64_t off, unsigned depth)
{
	unsigned unknown = FL_STATUS, needed = 0;      /* unknown: neither read nor overwritten yet */
	const struct seen *s;

	for (unsigned k = 0; k < LOOK_AHEAD && unknown && (s = look_at(t, off)); k++) {
		needed |= unknown & s->reads;
		unknown &= ~s->writes;
		off += s->len;
		if (s->flow == SEEN_END)
			break;
		if (s->flow == SEEN_JMP)
			off += s->jump;
		else if (s->flow == SEEN_JCC && depth < LOOK_DEEP)
			needed |= unknown & look(t, off + s->jump, depth + 1);
		else if (s->flow == SEEN_JCC)
			break;
	}
	return needed | unknown;
}

unsigned live_at(struct trans *t, int64_t target)
{
	if (t->live_known && target == t->b->off)
		return t->live[0];
	return look(t, target, 0);
}

int64_t jump_target(const struct trans *t, unsigned k)
{
	return t->off[k] + t->insns[k].len + (int64_t)t->insns[k].imm;
}

int64_t leave_target(const struct trans *t, unsigned k)
{
	return t->turns[k] ? t->off[k] + t->insns[k].len : jump_target(t, k);
}

/* Flags needed after the last instruction. */
static unsigned live_out(struct trans *t)
{
	const struct x86_insn *last = &t->insns[t->n - 1];

	if (is_cut(t, last) && x86_op_info[last->op].props & OPP_BRANCH)
		return FL_STATUS;
	if (last->op == OP_JMP || last->op == OP_CALL)
		return live_at(t, jump_target(t, t->n - 1));
	if (x86_op_info[last->op].props & (OPP_BRANCH | OPP_SYSTEM) && last->op != OP_JCC)
		return FL_STATUS;
	return live_at(t, t->off[t->n]);
}

void trans_liveness(struct trans *t)
{
	unsigned live = live_out(t);

	t->live[t->n] = (uint16_t)live;
	for (unsigned k = t->n; k-- > 0; ) {
		const struct x86_insn *i = &t->insns[k];
		if (i->op == OP_JCC)            /* what its target needs counts before it only */
			live |= is_cut(t, i) ? FL_STATUS : live_at(t, leave_target(t, k));
		t->use[k] = use_of(i);
		live = (live & ~(unsigned)t->use[k].writes) | t->use[k].reads;
		t->live[k] = (uint16_t)live;
	}
	t->live_known = true;
}
