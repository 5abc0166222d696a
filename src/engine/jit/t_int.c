/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Templates: integer and data instructions. */
#include "engine/jit/trans.h"

static const struct x86_operand *mem_operand(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->o[n].kind == OPK_MEM)
			return &i->o[n];
	return NULL;
}

/* What there is among the operands: memory (or NULL), the register that AH to BH is the second
 * byte of (or EREG_NONE), and slot registers, a mask of 1 (R10), 2 (R11) by access. */
struct found {
	const struct x86_operand *mem;
	unsigned high8;
	unsigned used, read, written;
};

/* Is the whole register overwritten, whatever it held? */
static bool overwrites(const struct x86_insn *i, const struct x86_operand *o)
{
	return (i->op == OP_MOV || i->op == OP_MOVZX || i->op == OP_MOVSX) && o == &i->o[0] && o->size >= 4;
}

static struct found find_operands(const struct x86_insn *i)
{
	struct found f = { .mem = NULL, .high8 = EREG_NONE };

	for (const struct x86_operand *o = i->o; o < i->o + i->nops; o++) {
		if (o->kind == OPK_MEM)
			f.mem = o;
		if (o->kind != OPK_GPR || o->reg < S0)
			continue;
		if (o->reg >= X86_HIGH8)
			f.high8 = o->reg - X86_HIGH8;
		if (!is_slot_reg(o->reg))
			continue;
		f.used |= 1u << (o->reg - S0);
		if (!overwrites(i, o))
			f.read |= 1u << (o->reg - S0);
		if (o->access & OPA_W)
			f.written |= 1u << (o->reg - S0);
	}
	return f;
}

/* Registers only: the slot registers visit the host registers of their names. */
static void copy_registers(struct trans *t, const struct x86_insn *i, const struct found *f)
{
	struct recode r = { .from = EREG_NONE };

	flags_before_op(t);
	for (unsigned n = 0; f->used && n < 2; n++)
		if (f->read >> n & 1)
			slot_load(t, S0 + n, S0 + n);
	emit_insn(t, i, &r);
	for (unsigned n = 0; f->used && n < 2; n++)
		if (f->written >> n & 1)
			slot_store(t, S0 + n, S0 + n);
	flags_after_op(t);
	keep_scratch(t);
}

/* MOV between registers of which one is a slot, or both are. */
static bool is_plain_move(const struct x86_insn *i)
{
	return i->op == OP_MOV && i->nops == 2 && i->o[0].kind == OPK_GPR && i->o[1].kind == OPK_GPR &&
	       i->o[0].size >= 4 && i->o[0].size == i->o[1].size;
}

/* size bytes of a register; the rest is cleared. */
static void move_from(struct trans *t, unsigned size, unsigned host, unsigned src)
{
	unsigned at = slot_held(t, src);

	if (at == EREG_NONE)
		emit_load(&t->e, size, host, slot_mem(src));
	else if (at != host || size != 8)
		emit_mov(&t->e, size, host, at);
}

static void move_slot(struct trans *t, const struct x86_insn *i)
{
	unsigned dst = i->o[0].reg, src = i->o[1].reg, host = dst;

	if (is_slot_reg(dst) && group_live(t, dst == S0 ? t->s0_group : t->s1_group))
		host = S1;
	move_from(t, i->o[0].size, host, src);
	if (is_slot_reg(dst))
		slot_store(t, dst, host);
	keep_scratch(t);
}

/* With a REX prefix, which S0 needs, nothing names AH: its register's lowest bytes
 * change places for the instruction, which must not use that register otherwise. */
static bool high8_ok(const struct x86_insn *i, unsigned reg)
{
	return reg == EREG_NONE || (i->map == 0 && i->base != reg && i->index != reg);
}

/* XCHG of AL with AH, and so on; without REX. */
static void swap_low_bytes(struct trans *t, unsigned reg)
{
	if (reg != EREG_NONE)
		emit_word(&t->e, 0x86 | (0xc4 | reg << 3 | reg) << 8, 2);
}

static bool copy_memory(struct trans *t, const struct x86_insn *i, const struct found *f)
{
	struct emem mem;
	struct recode r = { .mem = &mem, .from = f->used == 1 ? S0 : f->used == 2 ? S1 : EREG_NONE, .to = S1 };

	if (!access_ok(t, i) || !high8_ok(i, f->high8) || f->used == 3)
		return false;
	if (f->high8 != EREG_NONE)
		r = (struct recode) { .mem = &mem, .from = f->high8 + 4, .to = f->high8 };
	unsigned acc = f->mem->access & OPA_W ? ACC_WRITE : ACC_READ;
	if (f->read && t->s0_group == HELD(r.from))
		slot_load(t, r.from, S1);            /* S0 is needed */
	t->s1_safe = true;
	t->s1_free = !f->used && t->flags != FLAGS_SLOT;
	struct slow_path *slow = is_bit_string(i) ? bit_check(t, i, acc, &mem) : access_check(t, i, acc, &mem);
	flags_before_op(t);
	if (f->read)
		slot_load(t, r.from, S1);
	swap_low_bytes(t, f->high8);
	emit_insn(t, i, &r);
	swap_low_bytes(t, f->high8);
	if (f->written)
		slot_store(t, r.from, S1);
	flags_after_op(t);
	keep_s1(t);
	trans_resume(t, slow);
	return true;
}

bool t_copy(struct trans *t, const struct x86_insn *i)
{
	struct found f = find_operands(i);

	if (f.mem)
		return copy_memory(t, i, &f);
	if (f.used && is_plain_move(i))
		move_slot(t, i);
	else
		copy_registers(t, i, &f);
	return true;
}

/* BT and its like address bits beyond their operand when the index is a register:
 * the host's instruction does so too, on an address that was checked with it. */
bool t_bit(struct trans *t, const struct x86_insn *i)
{
	if (is_bit_string(i) && (t->size != 8 || i->addrsize != 8))
		return false;
	return t_copy(t, i);
}

/* PREFETCHh and PREFETCHW (SDM 2B), without which a program that looks up large tables waits
 * for each line. */
static bool is_prefetch(const struct trans *t, const struct x86_insn *i)
{
	return i->op == OP_NOP && i->map == 1 && (i->opcode == 0x18 || i->opcode == 0x0d) && i->o[0].kind == OPK_MEM &&
	       (i->modrm >> 3 & 7) < 4 && t->size == 8 && access_ok(t, i);
}

static void prefetch(struct trans *t, const struct x86_insn *i)
{
	struct emem mem;
	uint8_t *miss = hint_check(t, i, &mem);

	emit_rm(&t->e, 4, 1, i->opcode, i->modrm >> 3 & 7, mem);
	emit_bind(&t->e, miss);
}

bool t_nop(struct trans *t, const struct x86_insn *i)
{
	if (is_prefetch(t, i)) {
		prefetch(t, i);
		return true;
	}
	if (!live_after(t))
		t->flags = FLAGS_DEAD;
	keep_scratch(t);
	if (i->op == OP_PAUSE)
		emit_bytes(&t->e, "\xf3\x90", 2);
	return true;
}

bool t_fence(struct trans *t, const struct x86_insn *i)
{
	if (i->modrm < 0xc0)
		return false;
	struct recode r = { .from = EREG_NONE };
	emit_insn(t, i, &r);
	return true;
}

bool t_lea(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	unsigned dst = i->o[0].reg;
	struct emem m = { .base = EREG_NONE, .index = EREG_NONE, .scale = i->scale, .disp = (int32_t)i->disp };

	if (i->addrsize == 2 || (t->size == 4 && i->opsize == 8))
		return false;
	if (i->base == X86_RIP) {
		int64_t disp = i->disp + t->off[t->cur] + i->len + (is_fixed(t) ? t->b->base : 0);
		if (disp != (int32_t)disp)
			return false;
		if (!is_fixed(t)) {
			emit_load(e, 8, S0, EGS(OFF_HOT(HOT_RIPBASE)));
			t->s0_group = -1;
			m.base = S0;
		}
		m.disp = (int32_t)disp;
	} else if (i->base != X86_NO_REG) {
		m.base = (uint8_t)slot_use(t, i->base, i->base);
	}
	if (i->index != X86_NO_REG)
		m.index = (uint8_t)slot_use(t, i->index, m.base == i->index ? S0 + S1 - i->index : i->index);
	if (m.base == EREG_NONE && m.index == EREG_NONE && i->opsize == 8 && i->addrsize == 8 && !is_slot_reg(dst)) {
		emit_mov_imm(e, dst, (uint64_t)(int64_t)m.disp);
	} else if (i->opsize == 2 && is_slot_reg(dst)) {
		emit_lea(e, 8, S1, m);
		emit_store(e, 2, slot_mem(dst), S1);
		slot_changed(t, dst);
		lose_s1(t);
	} else {
		emit_lea(e, i->addrsize == 4 && i->opsize == 8 ? 4 : i->opsize, dst, m);
		if (is_slot_reg(dst))
			slot_store(t, dst, dst);
	}
	keep_scratch(t);
	return true;
}

/* Checked for #DE beforehand, as the host must not trap: what might overflow
 * goes to the interpreter. Signed: divisors 0 and -1, and dividends of more than
 * one word. */
static void divisor_checks(struct trans *t, bool is_signed, unsigned size, uint8_t *bad[2])
{
	struct emit *e = &t->e;

	if (!is_signed) {
		emit_alu(e, size, ALU_CMP, RDX, S1);
		bad[0] = emit_jcc(e, CC_AE);
		bad[1] = NULL;
		return;
	}
	emit_lea(e, size, S0, EMEM(S1, 1));
	emit_alu_imm(e, size, ALU_CMP, S0, 1);
	bad[0] = emit_jcc(e, CC_BE);
	emit_mov(e, size, S0, RAX);
	emit_shift_imm(e, size, SHIFT_SAR, S0, size * 8 - 1);
	emit_alu(e, size, ALU_CMP, S0, RDX);
	bad[1] = emit_jcc(e, CC_NE);
}

bool t_div(struct trans *t, const struct x86_insn *i)
{
	const struct x86_operand *m = mem_operand(i);
	struct emit *e = &t->e;
	struct slow_path *slow[3] = { NULL };
	uint8_t *bad[2];
	struct emem mem;

	if (i->opsize < 4 || !(i->opcode & 1) || !i->has_modrm || (m && !access_ok(t, i)))
		return false;
	if (m) {
		slow[2] = access_check(t, i, ACC_READ, &mem);
		flags_before_check(t);
		emit_load(e, i->opsize, S1, mem);
	} else {
		flags_before_check(t);
		unsigned rm = (i->modrm & 7u) | (i->rex & 1u) << 3;
		if (is_slot_reg(rm))
			emit_load(e, i->opsize, S1, slot_mem(rm));
		else
			emit_mov(e, i->opsize, S1, rm);
	}
	t->s0_next = -1;
	divisor_checks(t, i->op == OP_IDIV, i->opsize, bad);
	for (unsigned k = 0; k < 2; k++)
		if (bad[k])
			slow[k] = trans_slow(t, bad[k]);
	emit_rr(e, i->opsize, 0, 0xf7, i->op == OP_IDIV ? 7 : 6, S1);
	flags_after_op(t);
	for (unsigned k = 0; k < 3; k++)
		if (slow[k])
			trans_resume(t, slow[k]);
	return true;
}

/* --- the stack */

/* Neither accesses memory nor has to do with RSP. */
static bool is_apart(const struct x86_insn *i)
{
	if (i->op != OP_MOV && i->op != OP_XOR && i->op != OP_LEA && i->op != OP_MOVZX && i->op != OP_MOVSX)
		return false;
	for (unsigned n = 0; n < i->nops; n++)
		if ((i->o[n].kind == OPK_MEM && i->op != OP_LEA) || (i->o[n].kind == OPK_GPR && (i->o[n].reg & 15) == RSP) ||
		    (i->o[n].kind != OPK_MEM && i->o[n].kind != OPK_GPR && i->o[n].kind != OPK_IMM))
			return false;
	return i->op != OP_LEA || (i->base != RSP && i->index != RSP);
}

static bool is_run(const struct x86_insn *i, bool push)
{
	if (push)
		return i->op == OP_PUSH && (i->o[0].kind == OPK_IMM || (i->o[0].kind == OPK_GPR && i->o[0].reg != RSP));
	return i->op == OP_RET || (i->op == OP_POP && i->o[0].kind == OPK_GPR && i->o[0].reg != RSP);
}

/* A run of pushes, or of pops that a return may end, by the check of one group: none
 * of them can fail, so RSP is set by the last of them. */
static bool run_goes_on(const struct trans *t, bool push)
{
	int group = t->group_stack[t->cur];

	if (group < 0 || t->groups[group].slot < 0 || !is_run(&t->insns[t->cur], push))
		return false;
	for (unsigned k = t->cur + 1; k < t->n; k++) {
		if (t->group_stack[k] == group && is_run(&t->insns[k], push))
			return true;
		if (!is_apart(&t->insns[k]))
			return false;
	}
	return false;
}

void add_to_rsp(struct trans *t, int by)
{
	if (t->flags == FLAGS_NATIVE)
		emit_lea(&t->e, t->size, RSP, EMEM(RSP, by));
	else
		emit_alu_imm(&t->e, t->size, ALU_ADD, RSP, by);
}

void move_rsp(struct trans *t, int by)
{
	bool push = by < 0;

	t->rsp_lag += by;
	if (run_goes_on(t, push))
		return;
	add_to_rsp(t, t->rsp_lag);
	t->rsp_lag = 0;
}

/* The source has a memory operand of its own. */
static bool push_memory(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	struct slow_path *load, *store;
	struct emem mem;

	if (!access_ok(t, i))
		return false;
	load = access_check(t, i, ACC_READ, &mem);
	emit_load(e, t->size, S1, mem);
	emit_store(e, 8, EGS(OFF_HOT(HOT_TMP)), S1);
	store = stack_check(t, RSP, -(int)t->size, t->size, ACC_WRITE, &mem);
	emit_load(e, 8, S1, EGS(OFF_HOT(HOT_TMP)));
	emit_store(e, t->size, mem, S1);
	emit_lea(e, t->size, RSP, EMEM(RSP, -(int)t->size));
	flags_after_op(t);
	trans_resume(t, load);
	trans_resume(t, store);
	return true;
}

bool t_push(struct trans *t, const struct x86_insn *i)
{
	const struct x86_operand *o = &i->o[0];
	struct emit *e = &t->e;
	unsigned size = t->size;
	struct emem mem;

	if (!stack_ok(t) || i->opsize != size)
		return false;
	if (o->kind == OPK_MEM)
		return push_memory(t, i);
	if (o->kind != OPK_GPR && o->kind != OPK_IMM)
		return false;
	t->s1_safe = true;
	t->s1_free = !(o->kind == OPK_GPR && is_slot_reg(o->reg));
	struct slow_path *slow = stack_check(t, RSP, -(int)size, size, ACC_WRITE, &mem);
	mem.disp += t->rsp_lag;
	if (o->kind == OPK_IMM)
		emit_store_imm32(e, size, mem, (int32_t)i->imm);
	else
		emit_store(e, size, mem, slot_use(t, o->reg, S1));
	move_rsp(t, -(int)size);
	flags_after_op(t);
	keep_s1(t);
	trans_resume(t, slow);
	return true;
}

bool t_pop(struct trans *t, const struct x86_insn *i)
{
	const struct x86_operand *o = &i->o[0];
	struct emit *e = &t->e;
	unsigned size = t->size;
	struct emem mem;

	if (!stack_ok(t) || i->opsize != size || o->kind != OPK_GPR)
		return false;
	t->s1_safe = true;
	t->s1_free = !is_slot_reg(o->reg);
	struct slow_path *slow = stack_check(t, RSP, 0, size, ACC_READ, &mem);
	mem.disp += t->rsp_lag;
	if (is_slot_reg(o->reg)) {
		emit_load(e, size, S1, mem);
		slot_store(t, o->reg, S1);
	} else {
		emit_load(e, size, o->reg, mem);
	}
	if (o->reg != RSP)
		move_rsp(t, (int)size);
	flags_after_op(t);
	keep_s1(t);
	trans_resume(t, slow);
	return true;
}

bool t_leave(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	unsigned size = t->size;
	struct emem mem;

	if (!stack_ok(t) || i->opsize != size)
		return false;
	struct slow_path *slow = stack_check(t, RBP, 0, size, ACC_READ, &mem);
	emit_load(e, size, S1, mem);
	emit_lea(e, size, RSP, EMEM(RBP, (int)size));
	emit_mov(e, 8, RBP, S1);
	flags_after_op(t);
	trans_resume(t, slow);
	return true;
}
