/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port I/O: IN, OUT, INS, OUTS; IOPL and the TSS's permission bitmap (SDM 1 ch. 18). */
#include "base/trace.h"
#include "engine/interp/operand.h"
#include "engine/interp/ops.h"
#include "engine/interp/string.h"

enum { TSS_BUSY_32 = 11, TSS_IO_MAP = 0x66 };

/* All bits of the ports clear; the bitmap is read as two bytes (SDM 1 18.5.2). */
static bool bitmap_allows(struct vcpu *v, uint16_t port, unsigned size)
{
	const struct x86_seg *tr = &v->cpu.tr;
	unsigned type = tr->attr & (SEG_TYPE | SEG_S);
	if (tr->attr & SEG_UNUSABLE || (type & ~2u) != (TSS_BUSY_32 & ~2u) || tr->limit < TSS_IO_MAP + 1)
		return false;
	uint32_t map = (uint32_t)mmu_load(v, tr->base + TSS_IO_MAP, 2, MMU_SUPER);
	if (map + port / 8 + 1 > tr->limit)
		return false;
	uint64_t bits = mmu_load(v, tr->base + map + port / 8, 2, MMU_SUPER);
	return !(bits >> (port % 8) & (BIT(size) - 1));
}

static void check_port(struct vcpu *v, uint16_t port, unsigned size)
{
	const struct x86_cpu *c = &v->cpu;
	unsigned iopl = c->rflags >> 12 & 3;
	if (cpu_real_mode(c) || (!cpu_vm86(c) && c->cpl <= iopl))
		return;
	if (!bitmap_allows(v, port, size))
		raise_gp(v, 0);
}

static uint64_t port_in(struct vcpu *v, uint16_t port, unsigned size)
{
	uint64_t value = memory_load(v->ports, port, size);
	trace3(pio_read, port, size, value);
	debug_io(v, port, size);
	return value;
}

static void port_out(struct vcpu *v, uint16_t port, uint64_t value, unsigned size)
{
	value &= size_mask(size);
	trace3(pio_write, port, size, value);
	memory_store(v->ports, port, value, size);
	debug_io(v, port, size);
}

void op_IN(struct vcpu *v, const struct x86_insn *i)
{
	uint16_t port = (uint16_t)(i->o[1].kind == OPK_IMM ? (uint8_t)i->imm : v->cpu.gpr[RDX]);
	check_port(v, port, i->opsize);
	reg_set(&v->cpu, RAX, i->opsize, port_in(v, port, i->opsize));
}

void op_OUT(struct vcpu *v, const struct x86_insn *i)
{
	uint16_t port = (uint16_t)(i->o[0].kind == OPK_IMM ? (uint8_t)i->imm : v->cpu.gpr[RDX]);
	check_port(v, port, i->opsize);
	port_out(v, port, v->cpu.gpr[RAX], i->opsize);
}

/* Memory is known to be writable before the port is read. */
static uint64_t ins(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t dst = string_dest(v, i, MMU_WRITE);
	mmu_probe(v, dst, i->opsize, MMU_WRITE, v->mmu->mode);
	mmu_store(v, dst, port_in(v, (uint16_t)v->cpu.gpr[RDX], i->opsize), i->opsize, v->mmu->mode);
	string_advance(v, i, RDI, 1);
	return 1;
}

static uint64_t outs(struct vcpu *v, const struct x86_insn *i, uint64_t count)
{
	uint64_t value = mmu_load(v, string_source(v, i), i->opsize, v->mmu->mode);
	port_out(v, (uint16_t)v->cpu.gpr[RDX], value, i->opsize);
	string_advance(v, i, RSI, 1);
	return 1;
}

void op_INS(struct vcpu *v, const struct x86_insn *i)
{
	check_port(v, (uint16_t)v->cpu.gpr[RDX], i->opsize);
	string_repeat(v, i, ins);
}

void op_OUTS(struct vcpu *v, const struct x86_insn *i)
{
	check_port(v, (uint16_t)v->cpu.gpr[RDX], i->opsize);
	string_repeat(v, i, outs);
}
