/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug registers, single-step and RF (SDM 3B ch. 17).  Instruction breakpoints
 * are faults, taken before the instruction; single-step, data and I/O
 * breakpoints are traps after it, collected in cpu.debug_pending and held while
 * a MOV SS shadow lasts.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

enum { DR7_GD = 0x2000 };
enum { BP_EXECUTE, BP_WRITE, BP_IO, BP_ACCESS };
#define DR6_FIXED 0xffff0ff0ull
#define DR7_FIXED 0x400ull

static bool bp_enabled(const struct x86_cpu *c, unsigned n) { return c->dr[7] >> (n * 2) & 3; }
static unsigned bp_kind(const struct x86_cpu *c, unsigned n) { return c->dr[7] >> (16 + n * 4) & 3; }

static unsigned bp_length(const struct x86_cpu *c, unsigned n)
{
	static const uint8_t length[] = { 1, 2, 8, 4 };

	return length[c->dr[7] >> (18 + n * 4) & 3];
}

static bool bp_overlaps(const struct x86_cpu *c, unsigned n, uint64_t lin, unsigned size)
{
	unsigned length = bp_length(c, n);
	uint64_t start = c->dr[n] & ~(uint64_t)(length - 1);

	return lin - start < length || start - lin < size;
}

static NORETURN void raise_db(struct vcpu *v, uint64_t dr6)
{
	struct x86_cpu *c = &v->cpu;

	c->dr[6] = (c->dr[6] & ~0xfull) | dr6 | DR6_FIXED;
	c->debug_pending = 0;
	cpu_raise(v, EXC_DB, false, 0);
}

static uint32_t hit_execute(const struct x86_cpu *c, uint64_t lin)
{
	uint32_t hits = 0;

	for (unsigned n = 0; n < 4; n++)
		if (bp_kind(c, n) == BP_EXECUTE && bp_overlaps(c, n, lin, 1))
			hits |= bp_enabled(c, n) << n;
	return hits;
}

void debug_before(struct vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = c->seg[CS].base + c->rip;
	uint32_t hits;

	if (c->debug_pending && c->int_shadow != 2) {     /* T flag of a task switch */
		v->insn_rip = c->rip;
		raise_db(v, c->debug_pending);
	}
	v->step_tf = c->rflags & FL_TF;
	if ((c->dr[7] & 0xff) && !(c->rflags & FL_RF) && c->int_shadow != 2) {
		hits = hit_execute(c, cpu_code64(c) ? lin : (uint32_t)lin);
		if (hits) {
			v->insn_rip = c->rip;
			raise_db(v, hits);
		}
	}
	c->rflags &= ~(uint64_t)FL_RF;
}

void debug_after(struct vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	if (c->int_shadow == 2) {
		v->step_tf = 0;
		return;
	}
	if (v->step_tf)
		c->debug_pending |= DR6_BS;
	v->step_tf = 0;
	if (!c->debug_pending)
		return;
	if (c->rip == v->insn_rip)
		c->rflags |= FL_RF;         /* between iterations of REP (SDM 3B 17.3.1.1) */
	v->insn_rip = c->rip;
	raise_db(v, c->debug_pending);
}

bool debug_page_watched(const struct vcpu *v, uint64_t lin)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t page = lin & ~PAGE_MASK;

	for (unsigned n = 0; n < 4; n++)
		if (bp_enabled(c, n) && (bp_kind(c, n) & 1) && bp_overlaps(c, n, page, PAGE_SIZE))
			return true;
	return false;
}

void debug_access(struct vcpu *v, uint64_t lin, unsigned size, bool write)
{
	struct x86_cpu *c = &v->cpu;

	for (unsigned n = 0; n < 4; n++) {
		unsigned kind = bp_kind(c, n);

		if (bp_enabled(c, n) && (kind == BP_ACCESS || (kind == BP_WRITE && write)) &&
		    bp_overlaps(c, n, lin, size))
			c->debug_pending |= 1u << n;
	}
}

void debug_io(struct vcpu *v, uint16_t port, unsigned size)
{
	struct x86_cpu *c = &v->cpu;

	if (!(c->cr4 & CR4_DE))
		return;
	for (unsigned n = 0; n < 4; n++)
		if (bp_enabled(c, n) && bp_kind(c, n) == BP_IO && bp_overlaps(c, n, port, size))
			c->debug_pending |= 1u << n;
}

/* DR4 and DR5 are DR6 and DR7, or #UD with CR4.DE (SDM 3B 17.2.2). */
static unsigned debug_register(struct vcpu *v, unsigned n)
{
	struct x86_cpu *c = &v->cpu;

	if (n > 7 || ((n == 4 || n == 5) && (c->cr4 & CR4_DE)))
		raise_ud(v);
	require_cpl0(v);
	if (c->dr[7] & DR7_GD) {
		c->rflags |= FL_RF;         /* a fault: the pushed image has RF */
		raise_db(v, DR6_BD);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

void op_MOV_FROM_DR(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t value = v->cpu.dr[debug_register(v, i->o[1].reg)];

	v->cpu.gpr[i->o[0].reg] = cpu_code64(&v->cpu) ? value : (uint32_t)value;
}

void op_MOV_TO_DR(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	unsigned n = debug_register(v, i->o[0].reg);
	uint64_t value = c->gpr[i->o[1].reg], armed = c->dr[7];

	if (!cpu_code64(c))
		value = (uint32_t)value;
	if (n >= 6 && value >> 32)
		raise_gp(v, 0);
	if (n == 6)
		value = (value & 0xe00f) | DR6_FIXED;
	if (n == 7)
		value = (value & 0xffff23ff) | DR7_FIXED;
	c->dr[n] = value;
	if (n != 6 && ((armed | c->dr[7]) & 0xff))
		mmu_flush_all(v);           /* pages become watched, or no longer */
}
