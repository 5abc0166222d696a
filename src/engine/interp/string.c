/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions.  A handler runs iterations until the count is spent, a
 * request waits, or its share is used up; then rIP stays on the instruction and
 * the registers say how far it got, as after an interrupt (SDM 2B REP).  MOVS
 * (backwards too: so kernels move what they unpack themselves from) and STOS go page by
 * page with the host's own string instructions where both sides are plain RAM.
 */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"
#include "engine/interp/string.h"
#include "memory/tap.h"

enum { SHARE = 65536 };      /* iterations before the run loop gets its turn */

bool string_more(struct vcpu *v, const struct x86_insn *i, uint64_t done)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t count = (reg_get(c, RCX, i->addrsize) - done) & size_mask(i->addrsize);
	if (done)
		reg_set(c, RCX, i->addrsize, count);
	return count;
}

void string_advance(struct vcpu *v, const struct x86_insn *i, unsigned reg, uint64_t n)
{
	uint64_t delta = n * i->opsize;
	if (v->cpu.rflags & FL_DF)
		delta = -delta;
	reg_set(&v->cpu, reg, i->addrsize, v->cpu.gpr[reg] + delta);
}

void string_leave(struct vcpu *v)
{
	v->cpu.rip = v->insn_rip;
	v->interpreted--;            /* it is not done: the run loop counts it once too often */
}

bool string_yield(const struct vcpu *v)
{
	/* what a tape is made of is played again: nothing may come in between */
	return (v->requests && !tape_now) || v->cpu.rflags & FL_TF || debug_armed(v) ||
	       v->debug.single_step || v->debug.hit;
}

uint64_t string_source(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t offset = reg_get(&v->cpu, RSI, i->addrsize);
	return linear(v, i->seg, offset, i->opsize, MMU_READ);
}

uint64_t string_dest(struct vcpu *v, const struct x86_insn *i, enum mmu_access acc)
{
	uint64_t offset = reg_get(&v->cpu, RDI, i->addrsize);
	return linear(v, ES, offset, i->opsize, acc);
}

/* Elements from lin to the end of its page, while offset neither wraps nor
 * leaves the segment. */
static uint64_t run_length(const struct vcpu *v, const struct x86_insn *i, unsigned seg,
			   uint64_t lin, uint64_t offset, enum mmu_access acc)
{
	uint64_t bytes = PAGE_SIZE - (lin & PAGE_MASK), wrap = size_mask(i->addrsize) - offset;
	bytes = MIN(bytes, wrap);
	if (!cpu_code64(&v->cpu) && bytes && !segment_ok(v, seg, offset, (unsigned)bytes, acc))
		return 0;
	return bytes / i->opsize;
}

/* The same downwards: from lin to the beginning of its page. */
static uint64_t run_length_down(const struct vcpu *v, const struct x86_insn *i, unsigned seg,
				uint64_t lin, uint64_t offset, enum mmu_access acc)
{
	uint64_t size = i->opsize, in_page = lin & PAGE_MASK;
	if (in_page + size > PAGE_SIZE || size_mask(i->addrsize) - offset < size)
		return 0;
	uint64_t n = MIN(in_page, offset) / size + 1;
	if (!cpu_code64(&v->cpu) && !segment_ok(v, seg, offset - (n - 1) * size, (unsigned)(n * size), acc))
		return 0;
	return n;
}

#define HOST_REP(insn) asm volatile("rep " insn : "+D"(d), "+S"(s), "+c"(n) : "a"(value) : "memory")

static void host_movs(uint8_t *d, const uint8_t *s, uint64_t n, unsigned size)
{
	uint64_t value = 0;
	switch (size) {
	case 1: HOST_REP("movsb"); break;
	case 2: HOST_REP("movsw"); break;
	case 4: HOST_REP("movsl"); break;
	default: HOST_REP("movsq"); break;
	}
}

/* The ABI wants DF clear again. */
#define HOST_REP_DOWN(insn) asm volatile("std; rep " insn "; cld" : "+D"(d), "+S"(s), "+c"(n) : : "memory")

static void host_movs_down(uint8_t *d, const uint8_t *s, uint64_t n, unsigned size)
{
	switch (size) {
	case 1: HOST_REP_DOWN("movsb"); break;
	case 2: HOST_REP_DOWN("movsw"); break;
	case 4: HOST_REP_DOWN("movsl"); break;
	default: HOST_REP_DOWN("movsq"); break;
	}
}

static void host_stos(uint8_t *d, uint64_t value, uint64_t n, unsigned size)
{
	const uint8_t *s = NULL;
	switch (size) {
	case 1: HOST_REP("stosb"); break;
	case 2: HOST_REP("stosw"); break;
	case 4: HOST_REP("stosl"); break;
	default: HOST_REP("stosq"); break;
	}
}

/* As many elements as one page of each side holds; 0: take the slow way. */
static uint64_t movs_fast(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t from = reg_get(c, RSI, i->addrsize), to = reg_get(c, RDI, i->addrsize);
	uint64_t src = string_source(v, i), dst = string_dest(v, i, MMU_WRITE);
	bool down = c->rflags & FL_DF;
	uint64_t (*length)(const struct vcpu *, const struct x86_insn *, unsigned, uint64_t, uint64_t,
			   enum mmu_access) = down ? run_length_down : run_length;
	uint64_t n = MIN(length(v, i, i->seg, src, from, MMU_READ), length(v, i, ES, dst, to, MMU_WRITE));
	n = MIN(n, count);
	if (!n)
		return 0;
	const uint8_t *s = mmu_page_pointer(v, src, MMU_READ, v->mmu->mode);
	uint8_t *d = mmu_page_pointer(v, dst, MMU_WRITE, v->mmu->mode);
	if (!s || !d)
		return 0;
	(down ? host_movs_down : host_movs)(d, s, n, i->opsize);
	return n;
}

static uint64_t movs(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t n = count > 1 ? movs_fast(v, i, count) : 0, src, dst;
	if (!n) {
		n = 1;
		src = string_source(v, i);
		dst = string_dest(v, i, MMU_WRITE);
		mmu_store(v, dst, mmu_load(v, src, i->opsize, v->mmu->mode), i->opsize,
			  v->mmu->mode);
	}
	string_advance(v, i, RSI, n);
	string_advance(v, i, RDI, n);
	return n;
}

static uint64_t stos_fast(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t dst = string_dest(v, i, MMU_WRITE);
	uint64_t n = run_length(v, i, ES, dst, reg_get(c, RDI, i->addrsize), MMU_WRITE);
	n = MIN(n, count);
	if (!n || c->rflags & FL_DF)
		return 0;
	uint8_t *d = mmu_page_pointer(v, dst, MMU_WRITE, v->mmu->mode);
	if (!d)
		return 0;
	host_stos(d, c->gpr[RAX], n, i->opsize);
	return n;
}

static uint64_t stos(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t n = count > 1 ? stos_fast(v, i, count) : 0;
	if (!n) {
		n = 1;
		mmu_store(v, string_dest(v, i, MMU_WRITE), v->cpu.gpr[RAX], i->opsize,
			  v->mmu->mode);
	}
	string_advance(v, i, RDI, n);
	return n;
}

static uint64_t lods(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t value = mmu_load(v, string_source(v, i), i->opsize, v->mmu->mode);
	reg_set(&v->cpu, RAX, i->opsize, value);
	string_advance(v, i, RSI, 1);
	return 1;
}

/* Without REP: once. With: until the count is spent; `done` iterations a call. */
void string_repeat(struct vcpu *v, const struct x86_insn *i, string_fn *fn)
{
	uint64_t share = SHARE, done = 0;
	if (!(i->prefix & (PFX_REP | PFX_REPNE))) {
		fn(v, i, 1);
		return;
	}
	if (!string_more(v, i, 0))
		return;
	bool single = string_yield(v);
	for (;;) {
		uint64_t count = reg_get(&v->cpu, RCX, i->addrsize);
		done = fn(v, i, single ? 1 : MIN(count, share));
		if (!string_more(v, i, done))
			return;
		share -= done;
		if (!share || string_yield(v))
			break;
	}
	string_leave(v);
}

void op_MOVS(struct vcpu *v, const struct x86_insn *i) { string_repeat(v, i, movs); }
void op_STOS(struct vcpu *v, const struct x86_insn *i) { string_repeat(v, i, stos); }
void op_LODS(struct vcpu *v, const struct x86_insn *i) { string_repeat(v, i, lods); }

static void compare(struct vcpu *v, uint64_t a, uint64_t b, unsigned size)
{
	uint64_t flags = v->cpu.rflags;
	BY_SIZE(size, FLAGS_BINARY, "cmp", a, b, &flags);
	flags_set(v, flags, FL_STATUS);
}

static uint64_t cmps(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t a = mmu_load(v, string_source(v, i), i->opsize, v->mmu->mode);
	uint64_t b = mmu_load(v, string_dest(v, i, MMU_READ), i->opsize, v->mmu->mode);
	compare(v, a, b, i->opsize);
	string_advance(v, i, RSI, 1);
	string_advance(v, i, RDI, 1);
	return 1;
}

static uint64_t scas(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t b = mmu_load(v, string_dest(v, i, MMU_READ), i->opsize, v->mmu->mode);
	compare(v, reg_get(&v->cpu, RAX, i->opsize), b, i->opsize);
	string_advance(v, i, RDI, 1);
	return 1;
}

/* REPE and REPNE: the comparison ends it too. */
static void string_compare(struct vcpu *v, const struct x86_insn *i, string_fn *fn)
{
	uint64_t go_on = i->prefix & PFX_REPNE ? 0 : FL_ZF;
	if (!(i->prefix & (PFX_REP | PFX_REPNE))) {
		fn(v, i, 1);
		return;
	}
	if (!string_more(v, i, 0))
		return;
	for (unsigned share = SHARE; share; share--) {
		fn(v, i, 1);
		if (!string_more(v, i, 1) || (v->cpu.rflags & FL_ZF) != go_on)
			return;
		if (string_yield(v))
			break;
	}
	string_leave(v);
}

void op_CMPS(struct vcpu *v, const struct x86_insn *i) { string_compare(v, i, cmps); }
void op_SCAS(struct vcpu *v, const struct x86_insn *i) { string_compare(v, i, scas); }
