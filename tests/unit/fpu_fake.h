/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the floating-point handlers need of the rest of the interpreter, made
 * simple: guest memory is this program's own, at the same addresses, so that a
 * handler and the host's CPU can be given the same operands.
 */
#ifndef TESTS_FPU_FAKE_H
#define TESTS_FPU_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "engine/interp/fpu.h"
#include "lib/native.h"

#define DATA 0x10100000ull
enum { GUARD = 0x80000, DATA_BYTES = 8192, CODE_AT = 0x10000000 };

static struct vcpu fake;
static struct soft_mmu fake_mmu;

void cpu_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	v->cpu.event = (struct x86_event){ .pending = 1, .vector = (uint8_t)vector };
	siglongjmp(v->unwind, UNWIND_EXCEPTION);
}

/* The fake processor has CR0.NE = 1 where it matters. */
void x87_external_error(struct vcpu *v, bool pending) { }

void cpu_exit(struct vcpu *v, enum vcpu_exit why)
{
	siglongjmp(v->unwind, UNWIND_EXIT + why);
}

uint64_t op_effective(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t at = (uint64_t)i->disp;

	if (i->base == X86_RIP)
		at += v->cpu.rip;
	else if (i->base != X86_NO_REG)
		at += v->cpu.gpr[i->base];
	if (i->index != X86_NO_REG)
		at += v->cpu.gpr[i->index] * i->scale;
	return at;
}

uint64_t seg_linear(struct vcpu *v, unsigned seg, uint64_t offset, unsigned size, enum mmu_access acc)
{
	return offset;
}

uint64_t op_linear(struct vcpu *v, const struct x86_insn *i, unsigned size, enum mmu_access acc)
{
	return op_effective(v, i);
}

/* Beyond the data there is nothing. */
void mmu_probe(struct vcpu *v, uint64_t lin, unsigned n, enum mmu_access acc, unsigned mode)
{
	if ((uint64_t)((int64_t)(lin << 16) >> 16) != lin)
		cpu_raise(v, EXC_GP, true, 0);
	if (lin < DATA || lin + n > DATA + DATA_BYTES) {
		v->cpu.event.cr2 = lin;
		siglongjmp(v->unwind, UNWIND_EXCEPTION);
	}
}

void mmu_read(struct vcpu *v, uint64_t lin, void *buf, unsigned n, unsigned mode)
{
	mmu_probe(v, lin, n, MMU_READ, mode);
	memcpy(buf, (void *)lin, n);
}

void mmu_write(struct vcpu *v, uint64_t lin, const void *buf, unsigned n, unsigned mode)
{
	mmu_probe(v, lin, n, MMU_WRITE, mode);
	memcpy((void *)lin, buf, n);
}

/* EFLAGS.AC is never set here. */
void mmu_check_alignment(struct vcpu *v, uint64_t lin, unsigned align, unsigned mode)
{
}

uint64_t mmu_load(struct vcpu *v, uint64_t lin, unsigned size, unsigned mode)
{
	uint64_t value = 0;

	mmu_read(v, lin, &value, size, mode);
	return value;
}

void mmu_store(struct vcpu *v, uint64_t lin, uint64_t value, unsigned size, unsigned mode)
{
	mmu_write(v, lin, &value, size, mode);
}

static int fake_setup(void **state)
{
	struct error err;

	/* What lies around the data faults, whatever a sanitizer maps. */
	if (mmap((void *)(DATA - GUARD), DATA_BYTES + 2 * GUARD, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ||
	    mprotect((void *)DATA, DATA_BYTES, PROT_READ | PROT_WRITE) < 0)
		return -1;
	if (!thunk_thread_init(&err) || !native_init(&err)) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	native_pass = thunk_handle_signal;
	fake.mmu = &fake_mmu;
	fake.model = x86_model_find("max", &err);
	fake.cpu.cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_MP;
	fake.cpu.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	fake.cpu.efer = EFER_LMA | EFER_LME;
	fake.cpu.xcr0 = XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX;
	return 0;
}

/* A generator; FPU_TEST_SEED starts it elsewhere. */
static uint64_t random_state;
static inline uint64_t random64(void)
{
	if (!random_state) {
		const char *first = getenv("FPU_TEST_SEED");
		random_state = first ? strtoull(first, NULL, 16) | 1 : 1;
	}
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1dull;
}

static inline void random_bytes(void *p, size_t n)
{
	for (uint8_t *b = p; n--; b++)
		*b = (uint8_t)(random64() >> 32);
}

/* Values of every class: zero, denormal, normal, infinity, NaNs, unnormals. */
static inline void random_st(uint8_t *st)
{
	static const uint16_t exponents[] = { 0, 1, 0x3ffe, 0x3fff, 0x4000, 0x403e, 0x43fe, 0x7ffe, 0x7fff };
	uint64_t mantissa = random64(), r = random64();
	uint16_t sign_exponent = exponents[r % 9] | (r & 0x10000 ? 0x8000 : 0);

	if (r >> 17 & 1)
		mantissa = r >> 18 & 1 ? BIT(63) : 0;
	if (r >> 19 & 7)
		mantissa |= BIT(63);
	if (!(r >> 22 & 3))
		sign_exponent = (uint16_t)(0x3fc0 + (r >> 24 & 0x7f));
	memset(st, 0, 16);
	le64_put(st, mantissa);
	le16_put(st + 8, sign_exponent);
}

static inline void random_x87(struct x86_xsave *x)
{
	uint64_t r = random64();

	memset(x, 0, sizeof(*x));
	x->fcw = (uint16_t)(0x40 | (r & 0x0f00) | (r >> 16 & 3 ? 0x3f : r & 0x3f));
	x->fsw = (uint16_t)(r >> 20 & 0x7f7f & ~(r >> 50 & 7 ? ~x->fcw & 0x3f : 0));
	x->ftw = r >> 40 & 1 ? 0xff : (uint8_t)(r >> 41);
	x->mxcsr = MXCSR_DEFAULT;
	x87_normalize(x);
	for (unsigned n = 0; n < 8; n++)
		random_st(x->st[n]);
}

/* The handler's view of a native state, and back. */
static inline void fake_load(const struct native_state *s, bool compat)
{
	memcpy(fake.cpu.gpr, s->gpr, sizeof(s->gpr));
	fake.cpu.rflags = s->rflags;
	fake.cpu.xsave = s->xsave;
	fake.cpu.seg[CS].attr = compat ? SEG_DB : SEG_L;
	fake.insn_rip = CODE_AT;
}

/* Decode and run one instruction; 0, or the vector raised (EXC_PF: fault_address). */
static inline unsigned fake_run(const uint8_t *code, unsigned n, bool compat, struct x86_insn *insn)
{
	enum x86_decode_status st = x86_decode(fake.model, compat ? 4 : 8, false, code, n, insn);

	if (st != X86_OK)
		return EXC_UD;
	fake.cpu.rip = CODE_AT + insn->len;
	fake.cpu.event = (struct x86_event){ .vector = EXC_PF };
	if (sigsetjmp(fake.unwind, 0))
		return fake.cpu.event.vector;
	switch (insn->op) {
#define CASE(name) case OP_##name: op_##name(&fake, insn); break;
	CASE(X87) CASE(X87_FLAGS) CASE(X87_CMOV) CASE(FNSTSW_AX) CASE(FWAIT) CASE(X87_ENV) CASE(EMMS)
	CASE(VEC) CASE(VEC_FLAGS) CASE(VEC_GATHER) CASE(VEC_MASKMOV) CASE(MASKMOVDQU)
	CASE(VZEROUPPER) CASE(VZEROALL) CASE(LDMXCSR) CASE(STMXCSR) CASE(FXSAVE) CASE(FXRSTOR)
	CASE(XSAVE) CASE(XSAVEOPT) CASE(XSAVEC) CASE(XRSTOR)
#undef CASE
	default: return 0xff;
	}
	return 0;
}

#endif
