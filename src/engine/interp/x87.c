/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 instructions, run on the host's FPU (SDM 1 ch. 8).  A stub loads the
 * guest's image with its real control word, runs the instruction, stores the
 * image and resets the host's FPU.  An unmasked exception does not trap there:
 * it stays pending in FSW.ES, and #MF is raised at the guest's next waiting
 * instruction, as on a processor.  The host's FPU never executes a waiting
 * instruction while ES is set.
 */
#include "engine/interp/fpu.h"

enum { OFF_RAX = offsetof(struct thunk_io, rax), OFF_FLAGS = offsetof(struct thunk_io, flags) };

void x87_errors(struct vcpu *v)
{
	bool pending = v->cpu.xsave.fsw & FSW_ES;

	if (unlikely(!(v->cpu.cr0 & CR0_NE)))
		x87_external_error(v, pending);
	else if (unlikely(pending))
		cpu_raise(v, EXC_MF, false, 0);
}

void x87_check(struct vcpu *v, bool waiting)
{
	if (v->cpu.cr0 & (CR0_EM | CR0_TS))
		cpu_raise(v, EXC_NM, false, 0);
	if (waiting)
		x87_errors(v);
}

void x87_normalize(struct x86_xsave *x)
{
	x->fcw = (x->fcw & 0x1f3f) | 0x40;
	x->fsw &= (uint16_t)~(FSW_ES | FSW_B);
	if (x->fsw & ~x->fcw & 0x3f)
		x->fsw |= FSW_ES | FSW_B;
}

void x87_enter_mmx(struct x86_xsave *x)
{
	unsigned top = FSW_TOP(x->fsw);
	uint8_t st[8][16];

	memcpy(st, x->st, sizeof(st));
	for (unsigned n = 0; n < 8; n++)
		memcpy(x->st[n], st[(n - top) & 7], 16);
	x->fsw &= (uint16_t)~0x3800;
	x->ftw = 0xff;
}

/* Keys are even, those of vec_stub.c odd. */
static uint64_t x87_key(uint8_t opcode, uint8_t modrm, unsigned op)
{
	return (uint64_t)op << 24 | opcode << 16 | modrm << 8 | 2;
}

static void synthesize(struct thunk_code *c, uint8_t opcode, uint8_t modrm, unsigned op)
{
	thunk_put(c, 4, 0x0fae0f48);                             /* fxrstor64 [rdi] */
	if (op == OP_X87_CMOV || op == OP_X87_FLAGS) {
		thunk_put(c, 4, OFF_FLAGS << 24 | 0x70ff41u);    /* push [r8 + flags] */
		thunk_put(c, 1, 0x9d);                           /* popfq */
	}
	thunk_put(c, 2, modrm << 8 | opcode);
	if (op == OP_X87_FLAGS) {
		thunk_put(c, 1, 0x9c);                           /* pushfq */
		thunk_put(c, 4, OFF_FLAGS << 24 | 0x408f41u);    /* pop [r8 + flags] */
	}
	thunk_put(c, 4, 0x07ae0f48);                             /* fxsave64 [rdi] */
	thunk_put(c, 2, 0xe3db);                                 /* fninit */
	thunk_put(c, 4, 0x50ae0f41);                             /* ldmxcsr [r8 + host_mxcsr] */
	thunk_put(c, 1, offsetof(struct thunk_io, host_mxcsr));
	thunk_put(c, 3, 0xc3c031);                               /* xor eax, eax; ret */
}

static thunk_fn *x87_stub(struct vcpu *v, uint8_t opcode, uint8_t modrm, unsigned op)
{
	uint64_t key;
	thunk_fn *fn;
	struct thunk_code c = { .n = 0 };

	if (modrm < 0xc0)
		modrm = (modrm & 0x38) | 6;                      /* [rsi] */
	key = x87_key(opcode, modrm, op);
	fn = thunk_find(key);
	if (likely(fn))
		return fn;
	synthesize(&c, opcode, modrm, op);
	fn = thunk_add(key, &c, &v->error);
	if (!fn)
		cpu_exit(v, EXIT_ERROR);
	return fn;
}

/* FNSTCW, FNSTSW, FNCLEX, FNINIT and the 8087's and 80287's FNENI, FNDISI, FNSETPM. */
static bool is_nonwaiting(const struct x86_insn *i)
{
	if (i->modrm >= 0xc0)
		return i->opcode == 0xdb && i->modrm >= 0xe0 && i->modrm <= 0xe4;
	return (i->opcode == 0xd9 || i->opcode == 0xdd) && (i->modrm & 0x38) == 0x38;
}

/* Control instructions leave the last instruction's pointers alone (SDM 1 8.1.8). */
static bool is_control(const struct x86_insn *i)
{
	bool fldcw = i->opcode == 0xd9 && i->modrm < 0xc0 && (i->modrm & 0x38) == 0x28;

	return fldcw || is_nonwaiting(i);
}

/* The host has stored pointers of its own: give back or replace the guest's. */
static void set_pointers(struct vcpu *v, const struct x86_insn *i, uint64_t fip, uint64_t fdp,
			 uint16_t fop)
{
	struct x86_xsave *x = &v->cpu.xsave;

	x->fip = fip;
	x->fdp = fdp;
	x->fop = fop;
	if (i->opcode == 0xdb && i->modrm == 0xe3)
		x->fip = x->fdp = x->fop = 0;                    /* FNINIT */
	if (is_control(i))
		return;
	x->fip = v->insn_rip;
	x->fop = (uint16_t)((i->opcode & 7) << 8 | i->modrm);
	if (i->modrm < 0xc0)
		x->fdp = op_effective(v, i);
}

static void run_on_host(struct vcpu *v, const struct x86_insn *i, void *mem, struct thunk_io *io)
{
	struct x86_xsave *x = &v->cpu.xsave;
	uint64_t fip = x->fip, fdp = x->fdp;
	uint16_t fop = x->fop;

	thunk_call(v, x87_stub(v, i->opcode, i->modrm, i->op), mem, io);
	set_pointers(v, i, fip, fdp, fop);
}

/*
 * A store with an unmasked exception leaves memory alone.  Whether this one did
 * is told by running it on two different fillings: what is stored is the same
 * in both, what is not stored differs.
 */
static bool run_store(struct vcpu *v, const struct x86_insn *i, uint8_t *mem, unsigned size,
		      struct thunk_io *io)
{
	struct x86_xsave *x = &v->cpu.xsave;
	uint8_t before[160], again[16];

	memcpy(before, x, sizeof(before));
	memset(mem, 0, size);
	run_on_host(v, i, mem, io);
	if (!(x->fsw & FSW_ES))
		return true;
	memcpy(x, before, sizeof(before));
	memset(again, 0xff, sizeof(again));
	run_on_host(v, i, again, io);
	return !memcmp(mem, again, size);
}

static void x87_memory(struct vcpu *v, const struct x86_insn *i)
{
	uint8_t mem[16] __attribute__((aligned(16)));
	bool store = i->o[0].access & OPA_W;
	unsigned size = MIN(i->mem_size, 10u);
	uint64_t lin = op_linear(v, i, size, store ? MMU_WRITE : MMU_READ);
	struct thunk_io io;

	if (!store) {
		mmu_read(v, lin, mem, size, v->mmu->mode);
		run_on_host(v, i, mem, &io);
		return;
	}
	mmu_probe(v, lin, size, MMU_WRITE, v->mmu->mode);
	if (run_store(v, i, mem, size, &io))
		mmu_write(v, lin, mem, size, v->mmu->mode);
}

void op_X87(struct vcpu *v, const struct x86_insn *i)
{
	struct thunk_io io;

	x87_check(v, !is_nonwaiting(i));
	if (i->modrm < 0xc0)
		x87_memory(v, i);
	else
		run_on_host(v, i, NULL, &io);
}

/* FCOMI and family: write ZF, PF, CF and clear the other status flags. */
void op_X87_FLAGS(struct vcpu *v, const struct x86_insn *i)
{
	struct thunk_io io = { .flags = (v->cpu.rflags & FL_STATUS) | FL_1 | FL_IF };

	x87_check(v, true);
	run_on_host(v, i, NULL, &io);
	v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)FL_STATUS) | (io.flags & FL_STATUS);
}

void op_X87_CMOV(struct vcpu *v, const struct x86_insn *i)
{
	struct thunk_io io = { .flags = (v->cpu.rflags & FL_STATUS) | FL_1 | FL_IF };

	x87_check(v, true);
	run_on_host(v, i, NULL, &io);
}

void op_FNSTSW_AX(struct vcpu *v, const struct x86_insn *i)
{
	x87_check(v, false);
	v->cpu.gpr[RAX] = (v->cpu.gpr[RAX] & ~0xffffull) | v->cpu.xsave.fsw;
}

/* WAIT looks at CR0.MP, not EM (SDM 3A table 2-2). */
void op_FWAIT(struct vcpu *v, const struct x86_insn *i)
{
	if ((v->cpu.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_raise(v, EXC_NM, false, 0);
	x87_errors(v);
}

void op_EMMS(struct vcpu *v, const struct x86_insn *i)
{
	if (v->cpu.cr0 & CR0_EM)
		raise_ud(v);
	x87_check(v, true);
	x87_enter_mmx(&v->cpu.xsave);
	v->cpu.xsave.ftw = 0;
}
