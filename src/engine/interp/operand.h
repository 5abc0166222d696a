/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operands, inline: registers, addresses, read-modify-write.  For the integer
 * handlers of this folder; others use the functions of interp.h.
 */
#ifndef ENGINE_INTERP_OPERAND_H
#define ENGINE_INTERP_OPERAND_H

#include "engine/interp/interp.h"

#define always_inline inline __attribute__((always_inline))

static always_inline uint64_t size_mask(unsigned size)
{
	return size >= 8 ? ~0ull : BIT(size * 8) - 1;
}

static always_inline uint64_t reg_get(const struct x86_cpu *c, unsigned reg, unsigned size)
{
	switch (size) {
	case 8: return c->gpr[reg];
	case 4: return (uint32_t)c->gpr[reg];
	case 2: return (uint16_t)c->gpr[reg];
	default: return reg & X86_HIGH8 ? (uint8_t)(c->gpr[reg & 3] >> 8) : (uint8_t)c->gpr[reg];
	}
}

static always_inline void reg_set(struct x86_cpu *c, unsigned reg, unsigned size, uint64_t value)
{
	switch (size) {
	case 8: c->gpr[reg] = value; break;
	case 4: c->gpr[reg] = (uint32_t)value; break;
	case 2: c->gpr[reg] = (c->gpr[reg] & ~0xffffull) | (uint16_t)value; break;
	default:
		if (reg & X86_HIGH8)
			c->gpr[reg & 3] = (c->gpr[reg & 3] & ~0xff00ull) | (uint64_t)(uint8_t)value << 8;
		else
			c->gpr[reg] = (c->gpr[reg] & ~0xffull) | (uint8_t)value;
	}
}

static always_inline uint64_t effective(const struct vcpu *v, const struct x86_insn *i)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t a = (uint64_t)i->disp;
	if (i->base < 16)
		a += c->gpr[i->base];
	else if (i->base == X86_RIP)
		a += c->rip;
	if (i->index < 16)
		a += c->gpr[i->index] * i->scale;
	if (unlikely(i->addrsize != 8))
		a &= size_mask(i->addrsize);
	return a;
}

static always_inline bool is_canonical(uint64_t lin)
{
	return (lin + BIT(47)) >> 48 == 0;
}

uint64_t segment_check(struct vcpu *v, unsigned seg, uint64_t offset, unsigned size,
		       enum mmu_access acc);
/* Would segment_check pass? */
bool segment_ok(const struct vcpu *v, unsigned seg, uint64_t offset, unsigned size,
		enum mmu_access acc);
void raise_not_canonical(struct vcpu *v, unsigned seg) NORETURN;

/* seg_linear of interp.h, inline for 64-bit code. */
static always_inline uint64_t linear(struct vcpu *v, unsigned seg, uint64_t offset,
				     unsigned size, enum mmu_access acc)
{
	if (unlikely(!cpu_code64(&v->cpu)))
		return segment_check(v, seg, offset, size, acc);
	if (unlikely(seg >= FS))
		offset += v->cpu.seg[seg].base;
	if (unlikely(!is_canonical(offset) || !is_canonical(offset + size - 1)))
		raise_not_canonical(v, seg);
	return offset;
}

static always_inline uint64_t mem_linear(struct vcpu *v, const struct x86_insn *i,
					 unsigned size, enum mmu_access acc)
{
	return linear(v, i->seg, effective(v, i), size, acc);
}

static always_inline uint64_t mem_get(struct vcpu *v, const struct x86_insn *i, unsigned size)
{
	return mmu_load(v, mem_linear(v, i, size, MMU_READ), size, v->mmu->mode);
}

static always_inline void mem_set(struct vcpu *v, const struct x86_insn *i, unsigned size,
				  uint64_t value)
{
	mmu_store(v, mem_linear(v, i, size, MMU_WRITE), value, size, v->mmu->mode);
}

/* Operand n: a register, memory or immediate. Immediates come sign-extended to
 * 64 bits: mask where that matters. */
static always_inline uint64_t operand_get(struct vcpu *v, const struct x86_insn *i, unsigned n)
{
	const struct x86_operand *o = &i->o[n];
	if (o->kind == OPK_GPR)
		return reg_get(&v->cpu, o->reg, o->size);
	if (o->kind == OPK_MEM)
		return mem_get(v, i, o->size);
	return i->imm;
}

static always_inline void operand_set(struct vcpu *v, const struct x86_insn *i, unsigned n,
				      uint64_t value)
{
	const struct x86_operand *o = &i->o[n];
	if (o->kind == OPK_GPR)
		reg_set(&v->cpu, o->reg, o->size, value);
	else
		mem_set(v, i, o->size, value);
}

static always_inline void flags_set(struct vcpu *v, uint64_t flags, uint64_t which)
{
	v->cpu.rflags = (v->cpu.rflags & ~which) | (flags & which);
}

static always_inline uint64_t host_load(const void *p, unsigned size)
{
	switch (size) {
	case 1: return *(const volatile uint8_t *)p;
	case 2: return le16_get(p);
	case 4: return le32_get(p);
	default: return le64_get(p);
	}
}

static always_inline void host_store(void *p, unsigned size, uint64_t value)
{
	switch (size) {
	case 1: *(volatile uint8_t *)p = (uint8_t)value; break;
	case 2: le16_put(p, (uint16_t)value); break;
	case 4: le32_put(p, (uint32_t)value); break;
	default: le64_put(p, value);
	}
}

/* result = fn(old, b), flags in *flags (in: the current ones). */
typedef uint64_t rmw_fn(uint64_t old, uint64_t b, unsigned size, uint64_t *flags);

/* Compare-exchange of 1 to 8 bytes in guest RAM; *old: in expected, out found. */
bool host_cas(void *p, unsigned size, uint64_t *old, uint64_t new);
/* One at a time in the whole process, for what host atomics cannot do: locked
 * accesses to MMIO or over a page boundary. Nothing in between may fault. */
void exclusive_begin(void);
void exclusive_end(void);
void exclusive_drop(void);       /* after an unwind: end it if this thread is inside */

/* Read-modify-write of the memory operand at lin: the slow kinds. */
uint64_t rmw_locked(struct vcpu *v, uint64_t lin, unsigned size, uint64_t b, rmw_fn *fn,
		    uint64_t *flags);
uint64_t rmw_indirect(struct vcpu *v, uint64_t lin, unsigned size, uint64_t b, rmw_fn *fn,
		      uint64_t *flags);

/* Apply fn to memory, atomically if `lock`; returns the old value. The fault of
 * a page that cannot be written comes before anything changes. */
static always_inline uint64_t rmw_memory(struct vcpu *v, uint64_t lin, unsigned size, uint64_t b,
					 bool lock, rmw_fn *fn, uint64_t *flags)
{
	if (unlikely(lock))
		return rmw_locked(v, lin, size, b, fn, flags);
	void *p = mmu_rmw_pointer(v, lin, size, v->mmu->mode);
	if (unlikely(!p))
		return rmw_indirect(v, lin, size, b, fn, flags);
	uint64_t old = host_load(p, size);
	host_store(p, size, fn(old, b, size, flags));
	return old;
}

/* Apply fn to operand 0, register or memory; returns the flags. */
static always_inline uint64_t rmw_operand(struct vcpu *v, const struct x86_insn *i, uint64_t b,
					  rmw_fn *fn)
{
	unsigned size = i->o[0].size;
	uint64_t flags = v->cpu.rflags;
	if (likely(i->o[0].kind == OPK_GPR)) {
		uint64_t a = reg_get(&v->cpu, i->o[0].reg, size);
		reg_set(&v->cpu, i->o[0].reg, size, fn(a, b, size, &flags));
	} else {
		rmw_memory(v, mem_linear(v, i, size, MMU_WRITE), size, b, i->prefix & PFX_LOCK,
			   fn, &flags);
	}
	return flags;
}

/* Near transfer: the target cut to opsize and checked; #GP(0). */
uint64_t branch_target(struct vcpu *v, uint64_t target, unsigned opsize);

#endif
