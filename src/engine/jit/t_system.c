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

bool t_direction(struct trans *t, const struct x86_insn *i)
{
	flags_before_check(t);
	if (i->op == OP_CLD)
		emit_alu_mem_imm(&t->e, 4, ALU_AND, RFLAGS, ~(int32_t)FL_DF);
	else
		emit_alu_mem_imm(&t->e, 4, ALU_OR, RFLAGS, FL_DF);
	t->s0_next = t->s0_group;
	return true;
}

/* STAC and CLAC where they matter: explicit accesses go by another table. */
bool t_ac(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	unsigned mode = i->op == OP_STAC ? MMU_SUPER_AC : MMU_SUPER;

	if (!(t->key & KEY_SMAP))
		return false;
	flags_before_check(t);
	if (i->op == OP_STAC)
		emit_alu_mem_imm(e, 4, ALU_OR, RFLAGS, FL_AC);
	else
		emit_alu_mem_imm(e, 4, ALU_AND, RFLAGS, ~(int32_t)FL_AC);
	emit_load(e, 8, S1, EGS(offsetof(struct vcpu, mmu)));
	emit_load(e, 8, S0, EMEM(S1, offsetof(struct soft_mmu, space)));
	emit_lea(e, 8, S0, EMEM(S0, offsetof(struct tlb_space, tlb) + mode * sizeof(struct tlb_entry[TLB_SIZE])));
	emit_store(e, 8, EMEM(S1, offsetof(struct soft_mmu, data)), S0);
	emit_store_imm32(e, 4, EMEM(S1, offsetof(struct soft_mmu, mode)), (int32_t)mode);
	emit_store(e, 8, EGS(OFF_HOT(HOT_TLB)), S0);
	emit_alu_imm(e, 8, ALU_ADD, S0, TLB_STORES * sizeof(struct tlb_entry));
	emit_store(e, 8, EGS(OFF_HOT(HOT_TLB_STORES)), S0);
	groups_forget(t);
	return true;
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
	flags_to_slot(t, FL_STATUS);
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
	flags_after_op(t);
	trans_resume(t, slow);
	return true;
}

static void set_register(struct trans *t, unsigned reg, unsigned size, unsigned from)
{
	if (is_slot_reg(reg))
		emit_store(&t->e, size < 4 ? size : 8, slot_mem(reg), from);
	else
		emit_mov(&t->e, size < 4 ? size : 8, reg, from);
}

bool t_mov_from_sreg(struct trans *t, const struct x86_insn *i)
{
	const struct x86_operand *o = &i->o[0];
	struct emit *e = &t->e;
	unsigned seg = i->modrm >> 3 & 7;
	struct slow_path *slow = NULL;
	struct emem mem;

	if (seg > GS || (o->kind == OPK_MEM && !access_ok(t, i)))
		return false;
	if (o->kind == OPK_MEM) {
		slow = access_check(t, i, ACC_WRITE, &mem);
		emit_load(e, 2, S1, EGS(seg_field(seg, offsetof(struct x86_seg, sel))));
		emit_store(e, 2, mem, S1);
	} else {
		emit_load(e, 2, S0, EGS(seg_field(seg, offsetof(struct x86_seg, sel))));
		set_register(t, o->reg, o->size, S0);
	}
	flags_after_op(t);
	trans_resume(t, slow);
	return true;
}

bool t_mov_from_cr(struct trans *t, const struct x86_insn *i)
{
	int32_t from;

	if (!(t->key & KEY_KERNEL))
		return false;
	switch (i->o[1].reg) {
	case 0: from = OFF_CPU(cr0); break;
	case 2: from = OFF_CPU(cr2); break;
	case 3: from = OFF_CPU(cr3); break;
	case 4: from = OFF_CPU(cr4); break;
	default: return false;
	}
	emit_load(&t->e, 8, S0, EGS(from));
	set_register(t, i->o[0].reg, 8, S0);
	return true;
}

/* #UD where CR4.FSGSBASE is clear. */
static struct slow_path *check_fsgsbase(struct trans *t)
{
	flags_before_check(t);
	emit_rm(&t->e, 1, 0, 0xf6, 0, EGS(OFF_CPU(cr4) + 2));
	emit8(&t->e, CR4_FSGSBASE >> 16);
	return trans_slow(t, emit_jcc(&t->e, CC_E));
}

bool t_read_base(struct trans *t, const struct x86_insn *i)
{
	struct slow_path *slow;

	if (t->size != 8)
		return false;
	slow = check_fsgsbase(t);
	emit_load(&t->e, i->opsize, S0, EGS(seg_field(i->op == OP_RDFSBASE ? FS : GS, offsetof(struct x86_seg, base))));
	set_register(t, i->o[0].reg, 8, S0);
	flags_after_op(t);
	trans_resume(t, slow);
	return true;
}

bool t_write_base(struct trans *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;
	struct slow_path *ud, *gp;

	if (t->size != 8)
		return false;
	ud = check_fsgsbase(t);
	emit_mov(e, i->opsize, S0, use_reg(t, i->o[0].reg, S0));
	emit_mov(e, 8, S1, S0);
	emit_shift_imm(e, 8, SHIFT_SHL, S1, 16);
	emit_shift_imm(e, 8, SHIFT_SAR, S1, 16);
	emit_alu(e, 8, ALU_CMP, S1, S0);
	gp = trans_slow(t, emit_jcc(e, CC_NE));           /* not canonical */
	emit_store(e, 8, EGS(seg_field(i->op == OP_WRFSBASE ? FS : GS, offsetof(struct x86_seg, base))), S0);
	flags_after_op(t);
	trans_resume(t, ud);
	trans_resume(t, gp);
	return true;
}

/* --- leaves: short C functions that cannot fault, called with all registers in
 * v->cpu; the block goes on. */

static void leaf(struct trans *t, uint64_t fn)
{
	struct emit *e = &t->e;

	if (t->live[t->cur])
		flags_to_slot(t, FL_STATUS);
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

static void leaf_rdtscp(struct vcpu *v)
{
	leaf_rdtsc(v);
	v->cpu.gpr[RCX] = (uint32_t)v->cpu.tsc_aux;
}

bool t_rdtsc(struct trans *t, const struct x86_insn *i)
{
	if (!(t->key & KEY_KERNEL))
		return false;
	leaf(t, i->op == OP_RDTSC ? (uintptr_t)leaf_rdtsc : (uintptr_t)leaf_rdtscp);
	return true;
}
