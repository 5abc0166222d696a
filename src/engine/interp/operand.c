/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operands: segment checks (SDM 3A 5.3, 5.4), the stack, read-modify-write of
 * memory.  Locked accesses use the host's atomics on the guest's page, since
 * translations of other vCPUs run at the same time.
 */
#include "engine/interp/operand.h"

static pthread_mutex_t exclusive = PTHREAD_MUTEX_INITIALIZER;

static __thread bool inside;

void exclusive_begin(void)
{
	pthread_mutex_lock(&exclusive);
	inside = true;
}

void exclusive_end(void)
{
	inside = false;
	pthread_mutex_unlock(&exclusive);
}

void exclusive_drop(void)
{
	if (unlikely(inside))
		exclusive_end();
}

static void NORETURN raise_segment(struct vcpu *v, unsigned seg)
{
	cpu_raise(v, seg == SS ? EXC_SS : EXC_GP, true, 0);
}

void raise_not_canonical(struct vcpu *v, unsigned seg)
{
	raise_segment(v, seg);
}

static bool segment_allows(const struct x86_seg *s, enum mmu_access acc)
{
	if (s->attr & SEG_UNUSABLE)
		return false;
	if (s->attr & SEG_CODE)
		return acc != MMU_WRITE && (acc == MMU_EXEC || s->attr & SEG_R);
	return acc != MMU_WRITE || s->attr & SEG_W;
}

static bool segment_covers(const struct x86_seg *s, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;
	if ((s->attr & (SEG_CODE | SEG_E)) == SEG_E)
		return offset > s->limit && last <= (s->attr & SEG_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

bool segment_ok(const struct vcpu *v, unsigned seg, uint64_t offset, unsigned size,
		enum mmu_access acc)
{
	const struct x86_seg *s = &v->cpu.seg[seg];
	return segment_allows(s, acc) && segment_covers(s, offset, size);
}

uint64_t segment_check(struct vcpu *v, unsigned seg, uint64_t offset, unsigned size,
		       enum mmu_access acc)
{
	if (unlikely(!segment_ok(v, seg, offset, size, acc)))
		raise_segment(v, seg);
	return (uint32_t)(v->cpu.seg[seg].base + offset);
}

uint64_t seg_linear(struct vcpu *v, unsigned seg, uint64_t offset, unsigned size,
		    enum mmu_access acc)
{
	return linear(v, seg, offset, size, acc);
}

uint64_t op_effective(struct vcpu *v, const struct x86_insn *i)
{
	return effective(v, i);
}

uint64_t op_linear(struct vcpu *v, const struct x86_insn *i, unsigned size, enum mmu_access acc)
{
	return mem_linear(v, i, size ? size : 1, acc);
}

uint64_t op_get(struct vcpu *v, const struct x86_insn *i, unsigned n)
{
	return operand_get(v, i, n) & size_mask(i->o[n].size);
}

void op_set(struct vcpu *v, const struct x86_insn *i, unsigned n, uint64_t value)
{
	operand_set(v, i, n, value);
}

static uint64_t stack_pointer_add(const struct x86_cpu *c, uint64_t delta, uint64_t *offset)
{
	uint64_t mask = size_mask(cpu_stack_size(c)), sp = c->gpr[RSP];
	*offset = (sp + delta) & mask;
	return mask == 0xffff ? (sp & ~mask) | *offset : *offset;
}

void stack_push(struct vcpu *v, uint64_t value, unsigned size)
{
	uint64_t offset, sp = stack_pointer_add(&v->cpu, -(uint64_t)size, &offset);
	mmu_store(v, linear(v, SS, offset, size, MMU_WRITE), value, size, v->mmu->mode);
	v->cpu.gpr[RSP] = sp;
}

uint64_t stack_pop(struct vcpu *v, unsigned size)
{
	uint64_t offset, sp = stack_pointer_add(&v->cpu, 0, &offset);
	uint64_t value = mmu_load(v, linear(v, SS, offset, size, MMU_READ), size, v->mmu->mode);
	sp = stack_pointer_add(&v->cpu, size, &offset);
	v->cpu.gpr[RSP] = sp;
	return value;
}

#define CAS(type) ({ \
	type expected_ = (type)*old; \
	bool ok_; \
	asm volatile("lock cmpxchg %3, %1" : "+a"(expected_), "+m"(*(type *)p), "=@ccz"(ok_) \
		     : "r"((type)new) : "memory"); \
	*old = expected_; ok_; })

/* By asm: guest addresses need not be aligned. */
bool host_cas(void *p, unsigned size, uint64_t *old, uint64_t new)
{
	switch (size) {
	case 1: return CAS(uint8_t);
	case 2: return CAS(uint16_t);
	case 4: return CAS(uint32_t);
	default: return CAS(uint64_t);
	}
}

uint64_t rmw_indirect(struct vcpu *v, uint64_t lin, unsigned size, uint64_t b, rmw_fn *fn,
		      uint64_t *flags)
{
	mmu_probe(v, lin, size, MMU_WRITE, v->mmu->mode);
	uint64_t old = mmu_load(v, lin, size, v->mmu->mode);
	mmu_store(v, lin, fn(old, b, size, flags), size, v->mmu->mode);
	return old;
}

uint64_t rmw_locked(struct vcpu *v, uint64_t lin, unsigned size, uint64_t b, rmw_fn *fn,
		    uint64_t *flags)
{
	void *p = mmu_rmw_pointer(v, lin, size, v->mmu->mode);
	uint64_t old, in = *flags;
	if (!p) {
		exclusive_begin();
		old = rmw_indirect(v, lin, size, b, fn, flags);
		exclusive_end();
		return old;
	}
	old = host_load(p, size);
	do
		*flags = in;
	while (!host_cas(p, size, &old, fn(old, b, size, flags)));
	return old;
}

uint64_t branch_target(struct vcpu *v, uint64_t target, unsigned opsize)
{
	if (likely(cpu_code64(&v->cpu))) {
		if (unlikely(!is_canonical(target)))
			raise_gp(v, 0);
		return target;
	}
	target &= size_mask(MIN(opsize, 4u));
	if (unlikely(target > v->cpu.seg[CS].limit))
		raise_gp(v, 0);
	return target;
}

bool cpu_cond(const struct x86_cpu *c, unsigned cond)
{
	uint64_t f = c->rflags;
	bool result = false;
	switch (cond >> 1) {
	case 0: result = f & FL_OF; break;
	case 1: result = f & FL_CF; break;
	case 2: result = f & FL_ZF; break;
	case 3: result = f & (FL_CF | FL_ZF); break;
	case 4: result = f & FL_SF; break;
	case 5: result = f & FL_PF; break;
	case 6: result = !(f & FL_SF) != !(f & FL_OF); break;
	case 7: result = f & FL_ZF || !(f & FL_SF) != !(f & FL_OF); break;
	}
	return result ^ (cond & 1);
}
