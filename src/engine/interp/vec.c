/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MMX, SSE and AVX instructions: availability checks, memory operands, and the
 * call of the host stub that does the work (vec_stub.c).  SDM 2A 2.4 lists the
 * exceptions by class.  Instructions with element-wise memory are in vec_mem.c.
 */
#include "engine/interp/fpu.h"

static const struct x86_operand *operand_of(const struct x86_insn *i, unsigned kind)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->o[n].kind == kind)
			return &i->o[n];
	return NULL;
}

bool vec_is_mmx(const struct x86_insn *i)
{
	return i->vform & VEC_MMX && operand_of(i, OPK_MMX);
}

static bool is_only_mmx(const struct x86_insn *i)
{
	return vec_is_mmx(i) && !operand_of(i, OPK_XMM);
}

void vec_check(struct vcpu *v, const struct x86_insn *i)
{
	const struct x86_cpu *c = &v->cpu;
	const uint64_t avx = XFEATURE_SSE | XFEATURE_AVX;

	if (i->prefix & PFX_VEX) {
		if (!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & avx) != avx)
			raise_ud(v);
	} else if (c->cr0 & CR0_EM || (!(c->cr4 & CR4_OSFXSR) && !is_only_mmx(i))) {
		raise_ud(v);
	}
	if (c->cr0 & CR0_TS)
		cpu_raise(v, EXC_NM, false, 0);
	if (unlikely(c->xsave.fsw & FSW_ES) && vec_is_mmx(i))
		x87_errors(v);
}

void thunk_call(struct vcpu *v, thunk_fn *fn, void *mem, struct thunk_io *io)
{
	io->host_mxcsr = MXCSR_DEFAULT;
	switch (fn(&v->cpu.xsave, mem, 0, 0, io)) {
	case THUNK_DONE:
		return;
	case THUNK_FPE:
		/* The host has set the flags as the SDM wants them (SDM 1 11.5.4). */
		v->cpu.xsave.mxcsr = thunk_fault_mxcsr();
		if (!(v->cpu.cr4 & CR4_OSXMMEXCPT))
			raise_ud(v);
		cpu_raise(v, EXC_XM, false, 0);
	case THUNK_ILLEGAL:
		raise_ud(v);
	}
}

/* Address of the memory operand, checked for both presence and alignment. */
static uint64_t vec_address(struct vcpu *v, const struct x86_insn *i, unsigned access)
{
	uint64_t lin = op_linear(v, i, i->mem_size, access & OPA_W ? MMU_WRITE : MMU_READ);

	if (i->align && lin & (i->align - 1))
		raise_gp(v, 0);
	return lin;
}

/* Plain loads, stores and copies of a whole register, in C: they are half of all
 * vector instructions of a kernel and its libc. Returns false if it is none. */
static bool is_whole_move(const struct x86_insn *i)
{
	if (i->map != 1)
		return false;
	switch (i->opcode) {
	case 0x10: case 0x11: case 0x28: case 0x29:      /* MOVUPS MOVAPS, not MOVSS */
		return i->pp < 2;
	case 0x6f: case 0x7f:                            /* MOVDQA MOVDQU, not MOVQ mm */
		return i->pp == 1 || i->pp == 2;
	case 0xe7:                                       /* MOVNTDQ, not MOVNTQ */
		return i->pp == 1;
	}
	return false;
}

void ymm_get(const struct x86_cpu *c, unsigned reg, uint8_t out[32])
{
	memcpy(out, c->xsave.xmm[reg], 16);
	memcpy(out + 16, c->xsave.ymmh[reg], 16);
}

void ymm_set(struct x86_cpu *c, unsigned reg, const void *value, unsigned size)
{
	uint8_t all[32] = { 0 };

	memcpy(all, value, size);
	memcpy(c->xsave.xmm[reg], all, 16);
	memcpy(c->xsave.ymmh[reg], all + 16, 16);
}

static void whole_move(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned mode = v->mmu->mode, size = i->vl;
	uint8_t value[32];

	if (i->o[1].kind == OPK_MEM)
		mmu_read(v, vec_address(v, i, OPA_R), value, size, mode);
	else
		ymm_get(c, i->o[1].reg, value);
	if (i->o[0].kind == OPK_MEM)
		mmu_write(v, vec_address(v, i, OPA_W), value, size, mode);
	else if (i->prefix & PFX_VEX)
		ymm_set(c, i->o[0].reg, value, size);
	else
		memcpy(c->xsave.xmm[i->o[0].reg], value, 16);
}

/* VCVTPH2PS, VCVTPS2PH */
static bool is_f16c(const struct x86_insn *i)
{
	return (i->map == 2 && i->opcode == 0x13) || (i->map == 3 && i->opcode == 0x1d);
}

static void vec_run(struct vcpu *v, const struct x86_insn *i)
{
	unsigned mode = v->mmu->mode;
	const struct x86_operand *m = i->modrm < 0xc0 ? operand_of(i, OPK_MEM) : NULL;
	const struct x86_operand *g = NULL;
	struct x86_cpu *c = &v->cpu;
	uint8_t mem[64] __attribute__((aligned(64)));
	struct thunk_io io;
	uint64_t lin = 0;

	if (m) {
		lin = vec_address(v, i, m->access);
		if (i->mem_size > sizeof(mem))
			raise_ud(v);
		if (is_f16c(i))
			mode = mode_without_ac(v);
		if (m->access & OPA_R)
			mmu_read(v, lin, mem, i->mem_size, mode);
		if (m->access & OPA_W)
			mmu_probe(v, lin, i->mem_size, MMU_WRITE, mode);
	}
	if (i->vform & (VEC_GPR_REG | VEC_GPR_RM) && (g = operand_of(i, OPK_GPR)))
		io.rax = c->gpr[g->reg];
	if (i->vform & VEC_RAX_RDX) {
		io.rax = c->gpr[RAX];
		io.rdx = c->gpr[RDX];
	}
	if (vec_is_mmx(i))
		x87_enter_mmx(&c->xsave);        /* even if #XM follows */
	thunk_call(v, vec_stub(v, i), mem, &io);
	if (m && m->access & OPA_W)
		mmu_write(v, lin, mem, i->mem_size, mode);
	if (g && g->access & OPA_W)
		c->gpr[g->reg] = io.rax;
	if (i->vform & VEC_RCX)
		c->gpr[RCX] = io.rcx;
	if (i->op == OP_VEC_FLAGS)
		c->rflags = (c->rflags & ~(uint64_t)FL_STATUS) | (io.flags & FL_STATUS);
}

void op_VEC(struct vcpu *v, const struct x86_insn *i)
{
	vec_check(v, i);
	if (is_whole_move(i))
		whole_move(v, i);
	else
		vec_run(v, i);
}

void op_VEC_FLAGS(struct vcpu *v, const struct x86_insn *i)
{
	vec_check(v, i);
	vec_run(v, i);
}

/* Registers 8..15 are out of reach outside of 64-bit code and keep their content. */
static unsigned reachable(const struct x86_cpu *c) { return cpu_code64(c) ? 16 : 8; }

void op_VZEROUPPER(struct vcpu *v, const struct x86_insn *i)
{
	vec_check(v, i);
	memset(v->cpu.xsave.ymmh, 0, 16 * reachable(&v->cpu));
}

void op_VZEROALL(struct vcpu *v, const struct x86_insn *i)
{
	vec_check(v, i);
	memset(v->cpu.xsave.ymmh, 0, 16 * reachable(&v->cpu));
	memset(v->cpu.xsave.xmm, 0, 16 * reachable(&v->cpu));
}

void op_LDMXCSR(struct vcpu *v, const struct x86_insn *i)
{
	uint32_t value;

	vec_check(v, i);
	value = (uint32_t)mmu_load(v, op_linear(v, i, 4, MMU_READ), 4, v->mmu->mode);
	if (value & ~MXCSR_WRITABLE)
		raise_gp(v, 0);
	v->cpu.xsave.mxcsr = value;
}

void op_STMXCSR(struct vcpu *v, const struct x86_insn *i)
{
	vec_check(v, i);
	mmu_store(v, op_linear(v, i, 4, MMU_WRITE), v->cpu.xsave.mxcsr, 4, v->mmu->mode);
}
