/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compare and exchange, exchange and add. */
#include "engine/interp/flags.h"
#include "engine/interp/ops.h"

static always_inline uint64_t xadd_sum(uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{
	return BY_SIZE(size, FLAGS_BINARY, "add", a, b, flags);
}

void op_XADD(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->o[0].size;
	uint64_t src = operand_get(v, i, 1), flags = v->cpu.rflags, old;
	if (i->o[0].kind == OPK_MEM) {
		old = rmw_memory(v, mem_linear(v, i, size, MMU_WRITE), size, src,
				 i->prefix & PFX_LOCK, xadd_sum, &flags);
		operand_set(v, i, 1, old);
	} else {
		old = operand_get(v, i, 0);
		operand_set(v, i, 1, old);
		operand_set(v, i, 0, xadd_sum(old, src, size, &flags));
	}
	flags_set(v, flags, FL_STATUS);
}

/* Memory is written in any case (the old value if they differ). Returns what was there. */
static uint64_t cmpxchg_memory(struct vcpu *v, const struct x86_insn *i, unsigned size,
			       uint64_t expected, uint64_t new)
{
	uint64_t lin = mem_linear(v, i, size, MMU_WRITE), old = expected;
	void *p = mmu_rmw_pointer(v, lin, size, v->mmu->mode);
	if (likely(p)) {
		host_cas(p, size, &old, new);
		return old;
	}
	exclusive_begin();
	old = mmu_load(v, lin, size, v->mmu->mode);
	mmu_store(v, lin, old == expected ? new : old, size, v->mmu->mode);
	exclusive_end();
	return old;
}

void op_CMPXCHG(struct vcpu *v, const struct x86_insn *i)
{
	unsigned size = i->o[0].size;
	uint64_t new = operand_get(v, i, 1), flags = v->cpu.rflags, old;
	uint64_t expected = reg_get(&v->cpu, RAX, size);
	if (i->o[0].kind == OPK_MEM) {
		old = cmpxchg_memory(v, i, size, expected, new);
	} else {
		old = operand_get(v, i, 0);
		if (old == expected)             /* else its upper half stays, too */
			operand_set(v, i, 0, new);
	}
	if (old != expected)
		reg_set(&v->cpu, RAX, size, old);
	BY_SIZE(size, FLAGS_BINARY, "cmp", expected, old, &flags);
	flags_set(v, flags, FL_STATUS);
}

void op_CMPXCHG8B(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t expected = c->gpr[RDX] << 32 | (uint32_t)c->gpr[RAX];
	uint64_t new = c->gpr[RCX] << 32 | (uint32_t)c->gpr[RBX];
	uint64_t old = cmpxchg_memory(v, i, 8, expected, new);
	if (old != expected) {
		c->gpr[RAX] = (uint32_t)old;
		c->gpr[RDX] = old >> 32;
	}
	flags_set(v, old == expected ? FL_ZF : 0, FL_ZF);
}

static bool host_cas16(void *p, uint64_t old[2], const uint64_t new[2])
{
	bool ok;
	asm volatile("lock cmpxchg16b %1"
		     : "=@ccz"(ok), "+m"(*(char (*)[16])p), "+a"(old[0]), "+d"(old[1])
		     : "b"(new[0]), "c"(new[1]) : "memory");
	return ok;
}

/* MMIO and the like: two halves, nobody else meanwhile. */
static bool cmpxchg16_indirect(struct vcpu *v, uint64_t lin, uint64_t old[2], const uint64_t new[2])
{
	uint64_t found[2];
	exclusive_begin();
	mmu_read(v, lin, found, 16, v->mmu->mode);
	bool same = found[0] == old[0] && found[1] == old[1];
	mmu_write(v, lin, same ? new : found, 16, v->mmu->mode);
	exclusive_end();
	memcpy(old, found, sizeof(found));
	return same;
}

void op_CMPXCHG16B(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = mem_linear(v, i, 16, MMU_WRITE);
	uint64_t old[2] = { c->gpr[RAX], c->gpr[RDX] }, new[2] = { c->gpr[RBX], c->gpr[RCX] };
	if (lin & 15)
		raise_gp(v, 0);
	void *p = mmu_rmw_pointer(v, lin, 16, v->mmu->mode);
	bool same = p ? host_cas16(p, old, new) : cmpxchg16_indirect(v, lin, old, new);
	if (!same) {
		c->gpr[RAX] = old[0];
		c->gpr[RDX] = old[1];
	}
	flags_set(v, same ? FL_ZF : 0, FL_ZF);
}
