/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Templates: what a kernel does at every entry and exit, inline at CPL 0 of 64-bit
 * code (KEY_KERNEL).  Flags other than the status flags live in cpu.rflags only.
 */
#include "engine/interp/sys.h"
#include "engine/jit/slow.h"
#include "engine/jit/trans.h"

#define RFLAGS EGS(OFF_CPU(rflags))

static int32_t seg_field(unsigned seg, size_t field)
{
	return (int32_t)(offsetof(struct vcpu, cpu.seg) + seg * sizeof(struct x86_seg) + field);
}

bool t_cli(struct trans *t, const struct x86_insn *i)
{
	if (!(t->key & KEY_KERNEL))
		return false;
	flags_before_check(t);
	emit_alu_mem_imm(&t->e, 4, ALU_AND, RFLAGS, ~(int32_t)FL_IF);
	t->s0_next = t->s0_group;
	return true;
}

/* Never a block's last instruction, so the one in its shadow follows here. What
 * waits for the window goes the long way: it may close before the block ends. */
bool t_sti(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;

	if (!(t->key & KEY_KERNEL) || t->cur + 1 == t->n)
		return false;
	flags_before_check(t);
	emit_load(e, 4, S0, EGS(offsetof(struct vcpu, requests)));
	emit_load(e, 1, S1, EGS(offsetof(struct vcpu, irq_waiting)));
	emit_alu(e, 4, ALU_OR, S0, S1);
	struct slow_path *slow = trans_slow(t, emit_jcc(e, CC_NE));
	emit_alu_mem_imm(e, 4, ALU_OR, RFLAGS, FL_IF);
	emit_rm(e, 4, 0, 0xc6, 0, EGS(OFF_CPU(int_shadow)));
	emit8(e, 1);
	t->shadow = true;
	slow->resume = NULL;
	return true;
}

/* The instruction after STI is done. */
void trans_end_shadow(struct trans *t)
{
	emit_rm(&t->e, 4, 0, 0xc6, 0, EGS(OFF_CPU(int_shadow)));
	emit8(&t->e, 0);
	t->shadow = false;
}

bool t_swapgs(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	struct emem base = EGS(seg_field(GS, offsetof(struct x86_seg, base))), other = EGS(OFF_CPU(kernel_gs_base));

	if (!(t->key & KEY_KERNEL))
		return false;
	emit_load(e, 8, S0, base);
	emit_load(e, 8, S1, other);
	emit_store(e, 8, base, S1);
	emit_store(e, 8, other, S0);
	return true;
}

bool t_pushf(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	struct slow_path *slow;
	struct emem mem;

	if (!(t->key & KEY_KERNEL) || i->opsize != 8)
		return false;
	flags_to_slot(t);
	emit_load(e, 1, S0, EGS(OFF_HOT(HOT_FLAGS)));            /* OF */
	emit_load(e, 1, S1, EGS(OFF_HOT(HOT_FLAGS) + 1));        /* the others */
	emit_shift_imm(e, 4, SHIFT_SHL, S0, 11);
	emit_alu_imm(e, 4, ALU_AND, S1, LAHF_FLAGS);
	emit_alu(e, 4, ALU_OR, S1, S0);
	emit_load(e, 8, S0, RFLAGS);
	emit_alu_imm(e, 8, ALU_AND, S0, ~(int32_t)(FL_STATUS | FL_VM | FL_RF));
	emit_alu(e, 8, ALU_OR, S1, S0);
	emit_store(e, 8, EGS(OFF_HOT(HOT_TMP)), S1);
	t->s0_group = -1;
	slow = stack_check(t, RSP, -8, 8, ACC_WRITE, &mem);
	emit_load(e, 8, S1, EGS(OFF_HOT(HOT_TMP)));
	emit_store(e, 8, mem, S1);
	emit_lea(e, 8, RSP, EMEM(RSP, -8));
	flags_after_op(t, i);
	trans_resume(t, slow);
	return true;
}

bool t_mov_from_sreg(struct trans *t, const struct x86_insn *i)
{
	const struct x86_operand *o = &i->o[0];
	struct emit *e = &t->e;
	unsigned seg = i->modrm >> 3 & 7;

	if (o->kind != OPK_GPR || o->size < 4 || seg > GS)
		return false;
	emit_load(e, 2, S0, EGS(seg_field(seg, offsetof(struct x86_seg, sel))));
	if (is_slot_reg(o->reg))
		emit_store(e, 8, slot_mem(o->reg), S0);
	else
		emit_mov(e, 4, o->reg, S0);
	return true;
}

/* --- leaves: short C functions that cannot fault, called with all registers in
 * v->cpu; the block goes on. */

static void leaf(struct trans *t, uint64_t fn)
{
	struct emit *e = &t->e;

	if (t->live[t->cur])
		flags_to_slot(t);
	emit_mov_imm(e, S0, fn);
	emit_bytes(e, "\x4c\x8d\x1d\x05\0\0\0", 7);  /* lea S1, [rip + 5] */
	emit_jmp_to(e, t->vm->stub[STUB_LEAF]);
	t->flags = live_after(t) ? FLAGS_SLOT : FLAGS_DEAD;
	t->vec = false;
	groups_forget(t);
}

static void leaf_rdtsc(struct vcpu *v)
{
	uint64_t tsc = cpu_tsc(v);
	v->cpu.gpr[RAX] = (uint32_t)tsc;
	v->cpu.gpr[RDX] = tsc >> 32;
}

bool t_rdtsc(struct trans *t, const struct x86_insn *i)
{
	if (!(t->key & KEY_KERNEL) || t->vm->verify)
		return false;
	leaf(t, (uintptr_t)leaf_rdtsc);
	return true;
}
