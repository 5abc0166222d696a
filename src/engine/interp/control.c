/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CR0, CR3, CR4, CR8 and EFER: reserved bits, mode consistency (SDM 3A 2.5,
 * 4.1, 9.8.5; SDM 2B MOV to CR) and what a change flushes (SDM 3A 4.10.4.1).
 */
#include "base/trace.h"
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"
#include "engine/lapic.h"

#define CR0_KNOWN (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | \
		   CR0_NW | CR0_CD | CR0_PG)

static uint64_t phys_reserved(const struct vcpu *v)
{
	return ~(BIT(v->model->phys_bits) - 1);
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

bool pae_load(struct vcpu *v, uint64_t cr3)
{
	uint64_t pdpte[4], reserved = (phys_reserved(v)) | 0x1e6;

	memory_read(v->memory, (cr3 & 0xffffffe0) & memory_a20_mask(v->memory), pdpte, sizeof(pdpte));
	for (unsigned i = 0; i < 4; i++)
		if ((pdpte[i] & 1) && (pdpte[i] & reserved))
			return false;
	memcpy(v->cpu.pdpte, pdpte, sizeof(pdpte));
	return true;
}

/* Turning paging on with LME (SDM 3A 9.8.5). */
static void check_long_mode_entry(struct vcpu *v)
{
	const struct x86_cpu *c = &v->cpu;

	if (!(c->cr4 & CR4_PAE) || (c->seg[CS].attr & SEG_L) || !(c->tr.attr & 8))
		raise_gp(v, 0);
}

static void check_cr0(struct vcpu *v, uint64_t old, uint64_t new)
{
	const struct x86_cpu *c = &v->cpu;

	if (((new & CR0_PG) && !(new & CR0_PE)) || ((new & CR0_NW) && !(new & CR0_CD)))
		raise_gp(v, 0);
	if ((old & CR0_PG) && !(new & CR0_PG) && (cpu_code64(c) || (c->cr4 & CR4_PCIDE)))
		raise_gp(v, 0);
	if (!(old & CR0_PG) && (new & CR0_PG) && (c->efer & EFER_LME))
		check_long_mode_entry(v);
}

void control_set_cr0(struct vcpu *v, uint64_t value)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t old = c->cr0, new = (value & CR0_KNOWN) | CR0_ET, efer = c->efer;

	if (value >> 32)
		raise_gp(v, 0);
	check_cr0(v, old, new);
	efer &= ~(uint64_t)EFER_LMA;
	if ((new & CR0_PG) && (efer & EFER_LME))
		efer |= EFER_LMA;
	if (pae_paging(new, c->cr4, efer) && ((old ^ new) & (CR0_PG | CR0_CD | CR0_NW)) &&
	    !pae_load(v, c->cr3))
		raise_gp(v, 0);
	trace2(cr_write, 0, new);
	c->cr0 = new;
	c->efer = efer;
	if ((old ^ new) & (CR0_PG | CR0_PE | CR0_WP))
		mmu_flush_all(v);
	mmu_update_mode(v);
}

void control_set_cr3(struct vcpu *v, uint64_t value)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t reserved = phys_reserved(v);

	if (c->cr4 & CR4_PCIDE)
		reserved &= ~BIT(63);
	if (cpu_long_mode(c) && (value & reserved))
		raise_gp(v, 0);
	if (pae_paging(c->cr0, c->cr4, c->efer) && !pae_load(v, value))
		raise_gp(v, 0);
	trace2(cr_write, 3, value);
	mmu_set_cr3(v, value);
}

static uint64_t cr4_known(const struct x86_model *m)
{
	static const struct { uint8_t feature; uint32_t bit; } bits[] = {
		{ FEAT_VME, CR4_VME | CR4_PVI }, { FEAT_TSC, CR4_TSD }, { FEAT_DE, CR4_DE },
		{ FEAT_PSE, CR4_PSE }, { FEAT_PAE, CR4_PAE }, { FEAT_MCE, CR4_MCE },
		{ FEAT_PGE, CR4_PGE }, { FEAT_FXSR, CR4_OSFXSR }, { FEAT_SSE, CR4_OSXMMEXCPT },
		{ FEAT_UMIP, CR4_UMIP }, { FEAT_FSGSBASE, CR4_FSGSBASE }, { FEAT_PCID, CR4_PCIDE },
		{ FEAT_XSAVE, CR4_OSXSAVE }, { FEAT_SMEP, CR4_SMEP }, { FEAT_SMAP, CR4_SMAP },
	};
	uint64_t known = CR4_PCE;

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		if (x86_has(m, bits[i].feature))
			known |= bits[i].bit;
	return known;
}

void control_set_cr4(struct vcpu *v, uint64_t value)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t old = c->cr4, changed = old ^ value;

	if (value & ~cr4_known(v->model))
		raise_gp(v, 0);
	if (cpu_long_mode(c) && !(value & CR4_PAE))
		raise_gp(v, 0);
	if ((value & ~old & CR4_PCIDE) && (!cpu_long_mode(c) || (c->cr3 & 0xfff)))
		raise_gp(v, 0);
	if (pae_paging(c->cr0, value, c->efer) &&
	    (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) && !pae_load(v, c->cr3))
		raise_gp(v, 0);
	trace2(cr_write, 4, value);
	c->cr4 = value;
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
		mmu_flush_all(v);
	mmu_update_mode(v);
}

/* MSR write (SDM 3A 2.2.1); LMA is read-only. */
bool control_set_efer(struct vcpu *v, uint64_t value)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t known = EFER_LMA, old = c->efer;

	known |= x86_has(v->model, FEAT_SYSCALL) ? EFER_SCE : 0;
	known |= x86_has(v->model, FEAT_LM) ? EFER_LME : 0;
	known |= x86_has(v->model, FEAT_NX) ? EFER_NXE : 0;
	if ((value & ~known) || (((value ^ old) & EFER_LME) && (c->cr0 & CR0_PG)))
		return false;
	c->efer = (value & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
	if ((value ^ old) & EFER_NXE)
		mmu_flush_all(v);
	return true;
}

/* MOV from and to CR moves 64 bits in 64-bit mode, 32 else. */
static uint64_t mov_width(const struct x86_cpu *c, uint64_t value)
{
	return cpu_code64(c) ? value : (uint32_t)value;
}

void op_MOV_FROM_CR(struct vcpu *v, const struct x86_insn *i)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t value;

	switch (i->o[1].reg) {
	case 0: value = c->cr0; break;
	case 2: value = c->cr2; break;
	case 3: value = c->cr3; break;
	case 4: value = c->cr4; break;
	case 8: value = lapic_get_tpr(v); break;
	default: raise_ud(v);
	}
	require_cpl0(v);
	v->cpu.gpr[i->o[0].reg] = mov_width(c, value);
}

static void set_cr8(struct vcpu *v, uint64_t value)
{
	if (value > 15)
		raise_gp(v, 0);
	lapic_set_tpr(v, value);
}

void op_MOV_TO_CR(struct vcpu *v, const struct x86_insn *i)
{
	unsigned cr = i->o[0].reg;
	uint64_t value = mov_width(&v->cpu, v->cpu.gpr[i->o[1].reg]);

	if (cr != 0 && cr != 2 && cr != 3 && cr != 4 && cr != 8)
		raise_ud(v);
	require_cpl0(v);
	switch (cr) {
	case 0: control_set_cr0(v, value); break;
	case 2: v->cpu.cr2 = value; break;
	case 3: control_set_cr3(v, value); break;
	case 4: control_set_cr4(v, value); break;
	case 8: set_cr8(v, value); break;
	}
}

void op_CLTS(struct vcpu *v, const struct x86_insn *i)
{
	require_cpl0(v);
	v->cpu.cr0 &= ~(uint64_t)CR0_TS;
}

/* PE can be set, not cleared. */
void op_LMSW(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t value;

	require_cpl0(v);
	value = op_get(v, i, 0) & (CR0_PE | CR0_MP | CR0_EM | CR0_TS);
	control_set_cr0(v, (v->cpu.cr0 & ~(uint64_t)(CR0_MP | CR0_EM | CR0_TS)) | value);
}

static void require_umip(struct vcpu *v)
{
	if (v->cpu.cpl && (v->cpu.cr4 & CR4_UMIP))
		raise_gp(v, 0);
}

void op_SMSW(struct vcpu *v, const struct x86_insn *i)
{
	require_umip(v);
	op_set(v, i, 0, v->cpu.cr0);
}
