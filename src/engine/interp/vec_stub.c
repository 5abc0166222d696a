/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Synthesis of the host stub of a vector instruction.  The stub is the guest's
 * own instruction, with its memory operand at [rsi] and a general register
 * operand in rax, between loads and stores of the vector registers it names:
 *
 *     load xmm/ymm from the XSAVE image at rdi     load rax, rdx from io at r8
 *     ldmxcsr                                      the instruction
 *     stmxcsr, save flags, rax, rcx                store what it writes
 *     return 0
 *
 * MMX instructions run on the whole FXSAVE image, so that what they do to the
 * x87 state is the host's doing as well.
 */
#include "engine/interp/fpu.h"

enum { MODRM_RDI_DISP32 = 0x87, MODRM_R8_DISP8 = 0x40, MODRM_RSI = 6 };
enum { OFF_XMM = offsetof(struct x86_xsave, xmm), OFF_YMMH = offsetof(struct x86_xsave, ymmh),
       OFF_MXCSR = offsetof(struct x86_xsave, mxcsr) };

static bool has_memory(const struct x86_insn *i) { return i->modrm < 0xc0; }

/* Does it read or write MXCSR? Sorted by map; moves, logic, shuffles and integer
 * instructions do not, and are spared the two loads. */
static bool uses_mxcsr(const struct x86_insn *i)
{
	uint8_t op = i->opcode;

	switch (i->map) {
	case 1:
		return (op >= 0x2a && op <= 0x2f && op != 0x2b) || (op >= 0x51 && op <= 0x53) ||
		       (op >= 0x58 && op <= 0x5f) || op == 0x7c || op == 0x7d || op == 0xc2 ||
		       op == 0xd0 || op == 0xe6;
	case 2:
		return op == 0x13 || (op >= 0x96 && op <= 0xbf);
	default:
		return (op >= 0x08 && op <= 0x0b) || op == 0x40 || op == 0x41 || op == 0x1d;
	}
}

/* --- pieces of code */

static void put_vex(struct thunk_code *c, unsigned reg, unsigned rm, unsigned map,
		    unsigned w, unsigned vvvv, unsigned l, unsigned pp)
{
	thunk_put(c, 1, 0xc4);
	thunk_put(c, 1, (~reg & 8) << 4 | 0x40 | (~rm & 8) << 2 | map);
	thunk_put(c, 1, w << 7 | (~vvvv & 15) << 3 | l << 2 | pp);
}

/* vmovups / movups between xmm `reg` and [rdi + offset]: opcode 10 or 11. */
static void put_move(struct thunk_code *c, bool vex, unsigned opcode, unsigned reg, unsigned offset)
{
	if (vex)
		put_vex(c, reg, 0, 1, 0, 0, 0, 0);
	else
		thunk_put(c, reg & 8 ? 2 : 1, reg & 8 ? 0x0f44 : 0x0f);
	thunk_put(c, 1, opcode);
	thunk_put(c, 1, MODRM_RDI_DISP32 | (reg & 7) << 3);
	thunk_put(c, 4, offset);
}

/* vinsertf128 / vextractf128 of the upper half: opcode 18 or 19. */
static void put_move_high(struct thunk_code *c, unsigned opcode, unsigned reg)
{
	put_vex(c, reg, 0, 3, 0, opcode == 0x18 ? reg : 0, 1, 1);
	thunk_put(c, 1, opcode);
	thunk_put(c, 1, MODRM_RDI_DISP32 | (reg & 7) << 3);
	thunk_put(c, 4, OFF_YMMH + 16 * reg);
	thunk_put(c, 1, 1);
}

static void put_load(struct thunk_code *c, bool vex, bool ymm, unsigned reg)
{
	put_move(c, vex, 0x10, reg, OFF_XMM + 16 * reg);
	if (ymm)
		put_move_high(c, 0x18, reg);
}

static void put_store(struct thunk_code *c, bool vex, unsigned reg)
{
	put_move(c, vex, 0x11, reg, OFF_XMM + 16 * reg);
	if (vex)
		put_move_high(c, 0x19, reg);     /* zero after a VEX.128 instruction */
}

/* mov between a 64-bit register 0..7 and io: opcode 8b load, 89 store. */
static void put_io(struct thunk_code *c, unsigned opcode, unsigned reg, unsigned offset)
{
	thunk_put(c, 2, opcode << 8 | 0x49);
	thunk_put(c, 2, offset << 8 | MODRM_R8_DISP8 | reg << 3);
}

/* ldmxcsr (/2) or stmxcsr (/3) of the guest's MXCSR. */
static void put_mxcsr(struct thunk_code *c, unsigned digit)
{
	thunk_put(c, 3, (MODRM_RDI_DISP32 | digit << 3) << 16 | 0xae0f);
	thunk_put(c, 4, OFF_MXCSR);
}

static void put_host_mxcsr(struct thunk_code *c)
{
	thunk_put(c, 4, (MODRM_R8_DISP8 | 2 << 3) << 24 | 0xae0f41);
	thunk_put(c, 1, offsetof(struct thunk_io, host_mxcsr));
}

static void put_flags(struct thunk_code *c)
{
	thunk_put(c, 1, 0x9c);                                   /* pushfq */
	thunk_put(c, 4, offsetof(struct thunk_io, flags) << 24 | 0x408f41u);   /* pop [r8+..] */
}

static void put_return(struct thunk_code *c)
{
	thunk_put(c, 3, 0xc3c031);                               /* xor eax, eax; ret */
}

/* The guest's instruction with its operands put elsewhere. */
static void put_insn(struct thunk_code *c, const struct x86_insn *i, bool code64)
{
	static const uint8_t mandatory[4] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned reg = (i->modrm >> 3 & 7) | (i->rex & 4) << 1, rm = (i->modrm & 7) | (i->rex & 1) << 3;
	unsigned w = i->rex >> 3 & 1;

	if (i->vform & VEC_GPR_REG)
		reg = 0;
	if (has_memory(i))
		rm = MODRM_RSI;
	else if (i->vform & VEC_GPR_RM)
		rm = 0;
	if (i->vform & (VEC_GPR_REG | VEC_GPR_RM))
		w &= code64;             /* ignored outside of 64-bit code */
	if (i->prefix & PFX_VEX) {
		put_vex(c, reg, rm, i->map, w, i->vvvv, i->vl == 32, i->pp);
	} else {
		unsigned rex = w << 3 | (reg & 8) >> 1 | (rm & 8) >> 3;

		if (i->pp)
			thunk_put(c, 1, mandatory[i->pp]);
		if (rex)
			thunk_put(c, 1, 0x40 | rex);
		thunk_put(c, 1, 0x0f);
		if (i->map > 1)
			thunk_put(c, 1, i->map == 2 ? 0x38 : 0x3a);
	}
	thunk_put(c, 1, i->opcode);
	thunk_put(c, 1, (has_memory(i) ? 0 : 0xc0) | (reg & 7) << 3 | (rm & 7));
	if (i->imm_off < i->len)
		thunk_put(c, 1, i->vform & VEC_IS4 && !code64 ? i->imm & 0x7f : i->imm);
}

static void put_gprs_in(struct thunk_code *c, const struct x86_insn *i)
{
	if (i->vform & (VEC_GPR_REG | VEC_GPR_RM | VEC_RAX_RDX))
		put_io(c, 0x8b, 0, offsetof(struct thunk_io, rax));
	if (i->vform & VEC_RAX_RDX)
		put_io(c, 0x8b, 2, offsetof(struct thunk_io, rdx));
}

static void put_gprs_out(struct thunk_code *c, const struct x86_insn *i)
{
	if (i->op == OP_VEC_FLAGS)
		put_flags(c);
	if (i->vform & (VEC_GPR_REG | VEC_GPR_RM))
		put_io(c, 0x89, 0, offsetof(struct thunk_io, rax));
	if (i->vform & VEC_RCX)
		put_io(c, 0x89, 1, offsetof(struct thunk_io, rcx));
}

/* The XMM registers it touches, as a bit mask, that have one of these accesses. */
static unsigned vector_regs(const struct x86_insn *i, unsigned access)
{
	unsigned regs = 0;
	bool string_mask = i->map == 3 && (i->opcode & 0xfd) == 0x60;    /* PCMP*STRM */

	for (unsigned n = 0; n < i->nops; n++)
		if (i->o[n].kind == OPK_XMM && i->o[n].access & access)
			regs |= 1u << (i->o[n].reg & 15);
	if (i->vform & VEC_XMM0 && (access & OPA_R || string_mask))
		regs |= 1;
	return regs;
}

static void synthesize_vector(struct thunk_code *c, const struct x86_insn *i, bool code64)
{
	bool vex = i->prefix & PFX_VEX, mxcsr = uses_mxcsr(i);
	/* Written ones are loaded too: many instructions keep part of them. */
	unsigned all = vector_regs(i, OPA_R | OPA_W), written = vector_regs(i, OPA_W);

	for (unsigned r = 0; r < 16; r++)
		if (all >> r & 1)
			put_load(c, vex, vex && i->vl == 32, r);
	put_gprs_in(c, i);
	if (mxcsr)
		put_mxcsr(c, 2);
	put_insn(c, i, code64);
	if (mxcsr) {
		put_mxcsr(c, 3);
		put_host_mxcsr(c);
	}
	put_gprs_out(c, i);
	for (unsigned r = 0; r < 16; r++)
		if (written >> r & 1)
			put_store(c, vex, r);
	if (vex)
		thunk_put(c, 3, 0x77f8c5);                       /* vzeroupper */
	put_return(c);
}

static void synthesize_mmx(struct thunk_code *c, const struct x86_insn *i, bool code64)
{
	thunk_put(c, 4, 0x0fae0f48);                             /* fxrstor64 [rdi] */
	put_gprs_in(c, i);
	put_insn(c, i, code64);
	put_gprs_out(c, i);
	thunk_put(c, 4, 0x07ae0f48);                             /* fxsave64 [rdi] */
	thunk_put(c, 2, 0xe3db);                                 /* fninit */
	put_host_mxcsr(c);
	put_return(c);
}

/* All that the code depends on. Bit 0 keeps it apart from 0 and from x87 keys. */
static uint64_t stub_key(const struct x86_insn *i, bool code64)
{
	bool mem = has_memory(i);
	uint64_t modrm = mem ? i->modrm & 0x38 : i->modrm;

	return 1 | code64 << 1 | mem << 2 | (i->prefix & PFX_VEX ? 8 : 0) | (i->vl == 32) << 4 |
	       (uint64_t)(i->rex & (mem ? 0xc : 0xd)) << 5 | (uint64_t)i->map << 9 |
	       (uint64_t)i->pp << 11 | (uint64_t)i->opcode << 13 | modrm << 21 |
	       (uint64_t)i->vvvv << 29 |
	       (i->imm_off < i->len ? (i->imm & 0xff) << 33 : 0);
}

thunk_fn *vec_stub(struct vcpu *v, const struct x86_insn *i)
{
	bool code64 = cpu_code64(&v->cpu);
	uint64_t key = stub_key(i, code64);
	thunk_fn *fn = thunk_find(key);
	struct thunk_code c;

	if (likely(fn))
		return fn;
	c.n = 0;
	if (vec_is_mmx(i))
		synthesize_mmx(&c, i, code64);
	else
		synthesize_vector(&c, i, code64);
	fn = thunk_add(key, &c, &v->error);
	if (!fn)
		cpu_exit(v, EXIT_ERROR);
	return fn;
}
