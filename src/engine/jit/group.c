/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups: accesses of one block through the same unchanged base (and index),
 * whose displacements lie close together, share one TLB check over their whole
 * range: fields of a structure, a stack frame with its pushes and pops, turns of a
 * loop whose registers move by constants.  The
 * check leaves the host base, or the addend where the operands have room for it, in a
 * word of HOT_GROUP, and in S0 or S1 as long as nothing else needs that; the others then
 * cost a load at most, and leave EFLAGS alone.
 *
 * A group whose range does not lie in one page, or whose page is not in the TLB
 * (for writing, if any member writes), leaves the block for a second translation
 * in which every access is on its own (KEY_ALONE).  What was checked holds until
 * C code runs: page flags and mappings change only there.
 */
#include "engine/jit/memo.h"
#include "engine/jit/trans.h"

struct pass {
	struct trans *t;
	uint16_t version[X86_RIP + 1];
	int32_t moved[X86_RIP + 1];   /* by constants, since the version began */
	int rsp;
};

static void changed(struct pass *p, unsigned reg)
{
	p->version[reg]++;
	p->moved[reg] = 0;
}

static void all_changed(struct pass *p)
{
	for (unsigned r = 0; r <= X86_RIP; r++)
		changed(p, r);
}

static bool same(const struct pass *p, const struct group *g, unsigned base, unsigned index, unsigned scale)
{
	return g->base == base && g->index == index && (index == EREG_NONE || g->scale == scale) &&
	       (base == EREG_NONE || g->version[0] == p->version[base]) &&
	       (index == EREG_NONE || g->version[1] == p->version[index]);
}

static bool joins(const struct group *g, int disp, int size, unsigned align)
{
	int lo = MIN(g->lo, disp), hi = MAX(g->hi, disp + size);
	if (hi - lo > GROUP_RANGE)
		return false;
	return !align || !g->align || ((disp - g->aligned) % (int)MIN(align, (unsigned)g->align)) == 0;
}

static void join(struct group *g, int disp, int size, unsigned align, unsigned acc)
{
	g->lo = MIN(g->lo, disp);
	g->hi = MAX(g->hi, disp + size);
	g->acc |= acc;
	g->members++;
	if (align > g->align) {
		g->align = (uint8_t)align;
		g->aligned = disp;
	}
}

/* disp: for RSP relative to the block's start. */
static int8_t assign(struct pass *p, unsigned base, unsigned index, unsigned scale, int disp, int size,
		     unsigned align, unsigned acc)
{
	struct trans *t = p->t;
	struct group *g;

	for (unsigned n = t->ngroups; n-- > 0; ) {
		g = &t->groups[n];
		if (same(p, g, base, index, scale) && joins(g, disp, size, align)) {
			join(g, disp, size, align, acc);
			return (int8_t)n;
		}
	}
	if (t->ngroups == GROUPS_MAX)
		return -1;
	g = &t->groups[t->ngroups];
	*g = (struct group) { .base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale,
			      .lo = disp, .hi = disp + size, .slot = -1 };
	g->version[0] = base == EREG_NONE ? 0 : p->version[base];
	g->version[1] = index == EREG_NONE ? 0 : p->version[index];
	join(g, disp, size, align, acc);
	return (int8_t)t->ngroups++;
}

static void note_moved(struct pass *p, unsigned base, unsigned index, unsigned scale, unsigned k)
{
	p->t->base_moved[k] = p->moved[base];
	p->t->moved[k] = p->moved[base] + (index == EREG_NONE ? 0 : (int)scale * p->moved[index]);
}

static int8_t assign_operand(struct pass *p, const struct x86_insn *i, unsigned k)
{
	unsigned base = i->base == X86_NO_REG ? EREG_NONE : i->base;
	unsigned index = i->index == X86_NO_REG ? EREG_NONE : i->index;
	int64_t disp = i->disp;
	unsigned acc = 0;

	for (unsigned n = 0; n < i->nops; n++)
		if (i->o[n].kind == OPK_MEM)
			acc |= i->o[n].access & OPA_W ? ACC_WRITE : ACC_READ;
	if (!acc || !access_ok(p->t, i) || i->seg >= FS || i->addrsize != 8 || i->op == OP_CMPXCHG16B || i->op == OP_NOP || is_bit_string(i) ||
	    base == EREG_NONE || (index != EREG_NONE && is_slot_reg(index)))
		return -1;
	if (base == X86_RIP && is_fixed(p->t))
		return -1;                /* cheap enough by itself */
	if (base == X86_RIP)
		disp += p->t->off[k] + i->len;
	if (base == RSP)
		disp += p->rsp;
	note_moved(p, base, index, i->scale, k);
	disp += p->t->moved[k];
	if (disp != (int32_t)disp || (p->t->moved[k] && disp != (int32_t)(disp * 2) / 2))
		return -1;
	return assign(p, base, index, i->scale, (int)disp, i->mem_size, i->align, acc);
}

/* What ops do here besides accessing and writing what their operands say. */
enum role { ROLE_PLAIN, ROLE_MOVES /* perhaps a register by a constant */, ROLE_RAX /* changes it, RCX and RDX */,
	    ROLE_STRING, ROLE_VEC, ROLE_PUSHF, /* of the stack, from here on: */ ROLE_PUSH, ROLE_POP, ROLE_CALL, ROLE_RET,
	    ROLE_LEAVE };
static const uint8_t roles[OP_COUNT] = {
	[OP_LEA] = ROLE_MOVES, [OP_INC] = ROLE_MOVES, [OP_DEC] = ROLE_MOVES, [OP_ADD] = ROLE_MOVES, [OP_SUB] = ROLE_MOVES,
	[OP_MUL] = ROLE_RAX, [OP_IMUL1] = ROLE_RAX, [OP_DIV] = ROLE_RAX, [OP_IDIV] = ROLE_RAX, [OP_CWD] = ROLE_RAX,
	[OP_CBW] = ROLE_RAX, [OP_LAHF] = ROLE_RAX, [OP_CMPXCHG] = ROLE_RAX, [OP_CMPXCHG8B] = ROLE_RAX,
	[OP_CMPXCHG16B] = ROLE_RAX, [OP_RDTSC] = ROLE_RAX, [OP_RDTSCP] = ROLE_RAX,
	[OP_STOS] = ROLE_STRING, [OP_MOVS] = ROLE_STRING, [OP_VEC] = ROLE_VEC, [OP_VEC_FLAGS] = ROLE_VEC,
	[OP_PUSHF] = ROLE_PUSHF, [OP_PUSH] = ROLE_PUSH, [OP_POP] = ROLE_POP, [OP_CALL] = ROLE_CALL,
	[OP_CALL_IND] = ROLE_CALL, [OP_RET] = ROLE_RET, [OP_LEAVE] = ROLE_LEAVE,
};

/* Implicit accesses of full size. */
static int8_t assign_stack(struct pass *p, const struct x86_insn *i, enum role role)
{
	if (role < ROLE_PUSH || i->opsize != 8)
		return -1;
	if (role == ROLE_PUSH || role == ROLE_CALL)
		return assign(p, RSP, EREG_NONE, 1, p->rsp - 8, 8, 0, ACC_WRITE);
	if (role == ROLE_LEAVE)
		return assign(p, RBP, EREG_NONE, 1, 0, 8, 0, ACC_READ);
	return assign(p, RSP, EREG_NONE, 1, p->rsp, 8, 0, ACC_READ);
}

/* ROLE_MOVES: does it move a register by a constant? (Not RBP, whose implicit accesses do not look.) */
static bool moves(const struct x86_insn *i, unsigned *reg, int64_t *by)
{
	if (i->o[0].kind != OPK_GPR || i->o[0].size != 8 || i->o[0].reg == RBP)
		return false;
	*reg = i->o[0].reg;
	if (i->op == OP_LEA && i->base == *reg && i->index == X86_NO_REG && i->addrsize == 8)
		*by = i->disp;
	else if (i->op == OP_INC || i->op == OP_DEC)
		*by = i->op == OP_INC ? 1 : -1;
	else if (i->op != OP_LEA && i->o[1].kind == OPK_IMM)
		*by = i->op == OP_ADD ? (int64_t)i->imm : -(int64_t)i->imm;
	else
		return false;
	return *by == (int16_t)*by;
}

static void implicit_changes(struct pass *p, const struct x86_insn *i, enum role role)
{
	switch (role) {
	case ROLE_RAX:
		changed(p, RAX);
		changed(p, RDX);
		changed(p, RCX);
		break;
	case ROLE_STRING:
		changed(p, RCX);
		changed(p, RSI);
		changed(p, RDI);
		break;
	case ROLE_VEC:
		if (i->vform & VEC_RCX)
			changed(p, RCX);
		break;
	case ROLE_PUSH: case ROLE_PUSHF: case ROLE_POP:
		if (i->opsize == 8)
			p->rsp += role == ROLE_POP ? 8 : -8;
		else
			changed(p, RSP);
		break;
	case ROLE_LEAVE:
		changed(p, RSP);
		changed(p, RBP);
		break;
	default:
		break;
	}
}

static void apply(struct pass *p, const struct x86_insn *i, enum role role)
{
	int64_t by;
	unsigned reg;

	if (role == ROLE_MOVES && moves(i, &reg, &by)) {
		if (reg == RSP)
			p->rsp += (int)by;
		else
			p->moved[reg] += (int)by;
		return;
	}
	for (const struct x86_operand *o = i->o; o < i->o + i->nops; o++)
		if (o->kind == OPK_GPR && o->access & OPA_W)
			changed(p, o->reg >= X86_HIGH8 ? o->reg & 3u : o->reg);
	if (role > ROLE_MOVES)
		implicit_changes(p, i, role);
}

/* The busiest get the slots. */
static void choose(struct trans *t)
{
	int slot = 0;

	for (unsigned n = 0; n < t->ngroups && slot < GROUP_SLOTS; n++)
		if (t->groups[n].members > 1)
			t->groups[n].slot = slot++;
}

void trans_groups(struct trans *t)
{
	struct pass p = { .t = t };

	t->s0_group = t->s1_group = -1;
	memset(t->group_mem, -1, t->n);
	memset(t->group_stack, -1, t->n);
	if (t->size != 8 || t->key & (KEY_ALONE | KEY_AC))
		return;
	for (unsigned k = 0; k < t->n; k++) {
		const struct x86_insn *i = &t->insns[k];
		t->rsp[k] = (int16_t)p.rsp;
		t->moved[k] = t->base_moved[k] = 0;
		if (!trans_has_template(i) || p.rsp != (int16_t)p.rsp) {
			all_changed(&p);
			continue;
		}
		enum role role = roles[i->op];
		t->group_mem[k] = i->mem_size ? assign_operand(&p, i, k) : -1;
		t->group_stack[k] = assign_stack(&p, i, role);
		apply(&p, i, role);
	}
	choose(t);
}

/* --- emission */

static int now(const struct trans *t, const struct group *g, int disp)
{
	int moved = g->base == RSP && g->index == EREG_NONE ? 0 : t->moved[t->cur];

	return disp - moved - (g->base == RSP ? t->rsp[t->cur] : 0);
}

static struct emem guest_operand(const struct trans *t, const struct group *g, unsigned base, int disp)
{
	return (struct emem){ .base = (uint8_t)base, .index = g->index, .scale = g->scale, .disp = now(t, g, disp) };
}

static void check_alignment(struct trans *t, const struct group *g, unsigned base)
{
	struct emit *e = &t->e;

	emit_lea(e, 8, S0, guest_operand(t, g, base, g->aligned));
	emit_rr(e, 1, 0, 0xf6, 0, S0);                   /* test S0b, align - 1 */
	emit8(e, g->align - 1);
	trans_alone(t, emit_jcc(e, CC_NE), NULL);
}

static int32_t base_part(const struct group *g)
{
	return g->base == X86_RIP ? OFF_HOT(HOT_RIPBASE) : is_slot_reg(g->base) ? OFF_GPR(g->base) : 0;
}

enum { STORE_BYTES = 9 };

/* A host base that nobody has loaded need not have been stored. */
static void forget_store(struct group *g)
{
	static const uint8_t nop[STORE_BYTES] = { 0x66, 0x0f, 0x1f, 0x84 };

	if (g->store && !g->loaded)
		memcpy(g->store, nop, sizeof(nop));
	g->store = NULL;
	g->loaded = false;
}

static void store_base(struct trans *t, struct group *g)
{
	uint8_t *at = t->e.p;

	emit_store(&t->e, 8, EGS(OFF_HOT(HOT_GROUP + g->slot)), S0);
	if (!t->e.full && t->e.p - at == STORE_BYTES)
		g->store = at;
}

void groups_end(struct trans *t)
{
	for (unsigned n = 0; n < t->ngroups; n++)
		forget_store(&t->groups[n]);
}

/* Is the addend enough, as the operand's own form has room for it? */
static bool by_addend(const struct group *g)
{
	return g->base == RSP || (g->index == EREG_NONE && !base_part(g));
}

bool group_live(const struct trans *t, int group)
{
	return group >= 0 && t->groups[group].checked && t->groups[group].members;
}

bool group_by_memo(const struct trans *t, int32_t memo)
{
	for (unsigned n = 0; n < t->ngroups; n++)
		if (t->groups[n].memo == memo && group_live(t, (int)n))
			return true;
	return false;
}

static int32_t source(struct group *g)
{
	g->loaded = true;
	return g->memo ? g->memo : OFF_HOT(HOT_GROUP + g->slot);
}

int32_t s1_source(struct trans *t)
{
	unsigned slot = slot_of_held(t->s1_group);

	if (slot != EREG_NONE)
		return OFF_GPR(slot);
	return group_live(t, t->s1_group) ? source(&t->groups[t->s1_group]) : 0;
}

/* The check of another group needs S0; S1 holds nothing of use. */
static void s0_to_s1(struct trans *t)
{
	if (!group_live(t, t->s0_group) || group_live(t, t->s1_group))
		return;
	emit_mov(&t->e, 8, S1, S0);
	t->s1_group = t->s0_group;
}

/* S0 := what the operand is relative to; HOT_GROUP remembers it, or the memo has it. */
static void check_group(struct trans *t, struct group *g)
{
	struct emit *e = &t->e;
	int32_t part = base_part(g);
	unsigned base = g->base;

	forget_store(g);
	flags_before_check(t);
	if (part) {
		emit_load(e, 8, S1, EGS(part));
		base = S1;
	}
	bool memo = tier_memo(t, g->acc);
	if (memo && !part && t->s1_free)
		s0_to_s1(t);
	else
		lose_s1(t);
	/* the memo's check is for the first byte: does that say the same? */
	unsigned align = memo && g->align && (g->aligned - g->lo) % g->align == 0 ? g->align : 0;
	if (g->align && !align)
		check_alignment(t, g, base);
	emit_lea(e, 8, S0, guest_operand(t, g, base, g->lo));
	if (memo) {
		struct memo_use *u = memo_check(t, (unsigned)(g->hi - g->lo), align, g->acc);
		u->part = part;
		u->size = 8;
		u->first = guest_operand(t, g, base, g->lo);
		trans_alone(t, NULL, &t->vm->sites[u->site]);
		g->memo = by_addend(g) ? OFF_MEMO(u->memo, addend) : 0;
	} else {
		emit_lea(e, 8, S1, EMEM(S0, g->hi - 1 - g->lo));
		trans_alone(t, tlb_compare(t, 0, g->acc), NULL);
		tier_note(t);
		g->memo = 0;
	}
	if (part)
		emit_alu_load(e, 8, ALU_ADD, S0, EGS(part));
	else if (!by_addend(g))
		emit_alu(e, 8, ALU_ADD, S0, g->base);
	if (!g->memo)
		store_base(t, g);
	g->base_moved = t->base_moved[t->cur];
	g->checked = true;
}

/* Into which register a group's base is loaded. */
static unsigned load_base(struct trans *t, struct group *g, int group)
{
	unsigned into = !t->s1_free || group_live(t, t->s1_group) ? S0 : S1;

	emit_load(&t->e, 8, into, EGS(source(g)));
	if (into == S1)
		t->s1_group = group;
	else
		t->s0_group = group;
	return into;
}

/* The register with what the operand is relative to. */
static unsigned host_base(struct trans *t, struct group *g, int group)
{
	unsigned host = S0;

	if (!g->checked) {
		check_group(t, g);
		t->s0_group = group;
	} else if (t->s1_group == group && t->s1_free) {
		host = S1;
	} else if (t->s1_group == group) {
		emit_mov(&t->e, 8, S0, S1);
		t->s0_group = group;
	} else if (t->s0_group != group) {
		host = load_base(t, g, group);
	}
	t->s0_next = t->s0_group;
	return host;
}

bool group_access(struct trans *t, int group, int disp, struct emem *mem)
{
	struct group *g = group < 0 ? NULL : &t->groups[group];

	if (!g || g->slot < 0)
		return false;
	if (!t->s1_safe)
		lose_s1(t);
	unsigned host = host_base(t, g, group);
	g->members--;
	*mem = (struct emem){ .base = (uint8_t)host, .index = g->index, .scale = g->scale,
			      .disp = disp + t->base_moved[t->cur] - g->base_moved };
	if (!by_addend(g))
		return true;
	*mem = (struct emem){ .base = g->base, .index = (uint8_t)host, .scale = 1, .disp = disp };
	if (g->index != EREG_NONE) {
		emit_lea(&t->e, 8, S0, (struct emem){ .base = RSP, .index = (uint8_t)host, .scale = 1 });
		*mem = (struct emem){ .base = S0, .index = g->index, .scale = g->scale, .disp = disp };
		t->s0_group = t->s0_next = -1;
	}
	return true;
}

void groups_forget(struct trans *t)
{
	for (unsigned n = 0; n < t->ngroups; n++)
		t->groups[n].checked = false;
	lose_scratch(t);
}

bool groups_live(const struct trans *t)
{
	for (unsigned n = 0; n < t->ngroups; n++)
		if (t->groups[n].checked && t->groups[n].members)
			return true;
	return false;
}
