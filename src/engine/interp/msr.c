/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers: what Linux, SeaBIOS and OVMF touch on a CPU like
 * the models' (SDM 4 ch. 2).  Anything else is #GP, which Linux's rdmsr_safe
 * takes as "not there".
 */
#include "base/log.h"
#include "base/trace.h"
#include "engine/interp/sys.h"
#include "engine/lapic.h"

enum {
	MSR_P5_MC_ADDR = 0, MSR_P5_MC_TYPE = 1, MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17,
	MSR_APIC_BASE = 0x1b, MSR_EBL_CR_POWERON = 0x2a, MSR_FEATURE_CONTROL = 0x3a,
	MSR_TSC_ADJUST = 0x3b, MSR_SPEC_CTRL = 0x48, MSR_PRED_CMD = 0x49, MSR_UCODE_WRITE = 0x79,
	MSR_UCODE_REV = 0x8b, MSR_PLATFORM_INFO = 0xce, MSR_MTRR_CAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a, MSR_FLUSH_CMD = 0x10b, MSR_BBL_CR_CTL3 = 0x11e,
	MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179, MSR_MCG_STATUS = 0x17a, MSR_MCG_CTL = 0x17b,
	MSR_PERF_STATUS = 0x198, MSR_PERF_CTL = 0x199, MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9, MSR_MTRR_PHYS = 0x200, MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258, MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277, MSR_MTRR_DEF = 0x2ff,
	MSR_MC_BANK = 0x400, MSR_XSS = 0xda0,
	MSR_EFER = 0xc0000080, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK,
	MSR_FS_BASE = 0xc0000100, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_TSC_AUX,
};
enum { MSR_KVM_WALL_OLD = 0x11, MSR_KVM_SYSTEM_OLD = 0x12,
       MSR_KVM_WALL = 0x4b564d00, MSR_KVM_SYSTEM, MSR_KVM_ASYNC_PF, MSR_KVM_STEAL,
       MSR_KVM_EOI, MSR_KVM_POLL };
enum { MTRR_COUNT = 8, MC_BANKS = 4, SPEC_CTRL_KNOWN = 7 };

/* MSRs that are a 64-bit field of struct x86_cpu; `check` may refuse a value. */
enum check { ANY, CANONICAL, LOW32, READ_ONLY };
static const struct plain_msr { uint32_t msr; uint16_t offset; uint8_t check; } plain[] = {
#define FIELD(msr, field, check) { msr, offsetof(struct x86_cpu, field), check }
	FIELD(MSR_SYSENTER_CS, sysenter_cs, ANY), FIELD(MSR_SYSENTER_ESP, sysenter_esp, CANONICAL),
	FIELD(MSR_SYSENTER_EIP, sysenter_eip, CANONICAL), FIELD(MSR_STAR, star, ANY),
	FIELD(MSR_LSTAR, lstar, CANONICAL), FIELD(MSR_CSTAR, cstar, CANONICAL),
	FIELD(MSR_SFMASK, sfmask, LOW32), FIELD(MSR_FS_BASE, seg[FS].base, CANONICAL),
	FIELD(MSR_GS_BASE, seg[GS].base, CANONICAL),
	FIELD(MSR_KERNEL_GS_BASE, kernel_gs_base, CANONICAL), FIELD(MSR_TSC_AUX, tsc_aux, LOW32),
	FIELD(MSR_EFER, efer, READ_ONLY), FIELD(MSR_PAT, pat, READ_ONLY),
	FIELD(MSR_MTRR_DEF, mtrr_def, READ_ONLY), FIELD(MSR_MISC_ENABLE, misc_enable, ANY),
	FIELD(MSR_SPEC_CTRL, spec_ctrl, READ_ONLY), FIELD(MSR_MCG_STATUS, mcg_status, ANY),
	FIELD(MSR_MCG_CTL, mcg_ctl, ANY), FIELD(MSR_TSC_ADJUST, tsc_adjust, READ_ONLY),
	FIELD(MSR_KVM_SYSTEM, kvmclock_system, READ_ONLY), FIELD(MSR_KVM_WALL, kvmclock_wall, READ_ONLY),
	FIELD(MSR_KVM_SYSTEM_OLD, kvmclock_system, READ_ONLY),
	FIELD(MSR_KVM_WALL_OLD, kvmclock_wall, READ_ONLY), FIELD(MSR_KVM_EOI, kvm_eoi, READ_ONLY),
#undef FIELD
};

/* Registers that read as a constant; `writable`: writes vanish. */
static const struct fixed_msr { uint32_t msr; bool writable; uint64_t value; } fixed[] = {
	{ MSR_P5_MC_ADDR, true, 0 }, { MSR_P5_MC_TYPE, true, 0 }, { MSR_PLATFORM_ID, false, 0 },
	{ MSR_EBL_CR_POWERON, true, 0 }, { MSR_FEATURE_CONTROL, false, 1 },
	{ MSR_UCODE_WRITE, true, 0 }, { MSR_UCODE_REV, true, 0x1000000000000ull },
	{ MSR_PLATFORM_INFO, false, 0 }, { MSR_MTRR_CAP, false, 1 << 10 | 1 << 8 | MTRR_COUNT },
	{ MSR_BBL_CR_CTL3, true, 0xbe702111 }, { MSR_MCG_CAP, false, 1 << 8 | MC_BANKS },
	{ MSR_PERF_STATUS, false, 0x1000 }, { MSR_PERF_CTL, true, 0 }, { MSR_DEBUGCTL, true, 0 },
};

static const struct plain_msr *plain_find(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
		if (plain[i].msr == msr)
			return &plain[i];
	return NULL;
}

static const struct fixed_msr *fixed_find(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		if (fixed[i].msr == msr)
			return &fixed[i];
	return NULL;
}

/* Arrays: variable and fixed-range MTRRs, machine-check banks. */
static uint64_t *array_find(struct x86_cpu *c, uint32_t msr)
{
	uint32_t n = msr - MSR_MTRR_PHYS;

	if (n < 2 * MTRR_COUNT)
		return n & 1 ? &c->mtrr_mask[n / 2] : &c->mtrr_base[n / 2];
	if (msr == MSR_MTRR_FIX64K)
		return &c->mtrr_fixed[0];
	if (msr - MSR_MTRR_FIX16K < 2u)
		return &c->mtrr_fixed[1 + msr - MSR_MTRR_FIX16K];
	if (msr - MSR_MTRR_FIX4K < 8u)
		return &c->mtrr_fixed[3 + msr - MSR_MTRR_FIX4K];
	n = msr - MSR_MC_BANK;
	if (n < 4 * MC_BANKS)
		return &c->mc_bank[n / 4][n % 4];
	return NULL;
}

static bool is_lapic_msr(uint32_t msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE || msr - MSR_X2APIC < 0x100u;
}

static bool read_other(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	const struct fixed_msr *f = fixed_find(msr);

	switch (msr) {
	case MSR_TSC:
		*value = cpu_tsc(v);
		return true;
	case MSR_XSS:
		*value = v->cpu.xss;
		return x86_has(v->model, FEAT_XSAVES);
	case MSR_ARCH_CAPABILITIES:
		*value = v->model->arch_capabilities;
		return x86_has(v->model, FEAT_ARCH_CAPABILITIES);
	case MSR_KVM_ASYNC_PF: case MSR_KVM_STEAL: case MSR_KVM_EOI: case MSR_KVM_POLL:
		return false;              /* not in the KVM CPUID leaf */
	}
	if (f)
		*value = f->value;
	return f;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	const struct plain_msr *p;
	const uint64_t *element;
	bool ok = true;

	if (is_lapic_msr(msr))
		ok = lapic_msr_read(v, msr, value);
	else if ((p = plain_find(msr)))
		*value = *(uint64_t *)((char *)&v->cpu + p->offset);
	else if ((element = array_find(&v->cpu, msr)))
		*value = *element;
	else
		ok = read_other(v, msr, value);
	if (ok)
		trace2(msr_read, msr, *value);
	else
		log_guest("read of unknown MSR 0x%x at rip 0x%lx", msr, v->insn_rip);
	return ok;
}

static bool valid_memory_type(uint8_t t, bool uc_minus)
{
	return t == 0 || t == 1 || (t >= 4 && t <= 6) || (t == 7 && uc_minus);
}

static bool valid_types(uint64_t value, bool uc_minus)
{
	for (unsigned i = 0; i < 64; i += 8)
		if (!valid_memory_type(value >> i, uc_minus))
			return false;
	return true;
}

static bool write_plain(struct vcpu *v, const struct plain_msr *p, uint64_t value)
{
	if (p->check == READ_ONLY || (p->check == CANONICAL && !canonical(value)) ||
	    (p->check == LOW32 && value >> 32))
		return false;
	*(uint64_t *)((char *)&v->cpu + p->offset) = value;
	return true;
}

static bool write_array(struct vcpu *v, uint32_t msr, uint64_t *element, uint64_t value)
{
	uint64_t phys = BIT(v->model->phys_bits) - 1;

	if (msr >= MSR_MC_BANK) {
		/* CTL takes anything; STATUS can only be cleared (SDM 3B 15.3.2.2) */
		if ((msr & 3) == 1 && value)
			return false;
	} else if (msr >= MSR_MTRR_FIX64K) {
		if (!valid_types(value, false))
			return false;
	} else if (msr & 1) {
		if (value & ~phys & ~0xfffull)
			return false;
	} else if ((value & ~phys) || (value & 0xf00) || !valid_memory_type(value, false)) {
		return false;
	}
	*element = value;
	return true;
}

/* IA32_TSC and IA32_TSC_ADJUST move together (SDM 3B 17.17.3). */
static void set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	v->cpu.tsc_adjust += offset - v->cpu.tsc_offset;
	v->cpu.tsc_offset = offset;
	lapic_timer_rearm(v);
	if (v->cpu.kvmclock_system & 1)
		kvmclock_write_system(v, v->cpu.kvmclock_system);
}

static bool write_checked(struct x86_cpu *c, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case MSR_PAT:
		if (!valid_types(value, true))
			return false;
		c->pat = value;
		return true;
	case MSR_MTRR_DEF:
		if ((value & ~0xcffull) || !valid_memory_type(value, false))
			return false;
		c->mtrr_def = value;
		return true;
	case MSR_SPEC_CTRL:
		if (value & ~(uint64_t)SPEC_CTRL_KNOWN)
			return false;
		c->spec_ctrl = value;
		return true;
	}
	return false;
}

static bool write_other(struct vcpu *v, uint32_t msr, uint64_t value)
{
	const struct fixed_msr *f;

	switch (msr) {
	case MSR_PAT: case MSR_MTRR_DEF: case MSR_SPEC_CTRL:
		return write_checked(&v->cpu, msr, value);
	case MSR_EFER:
		return control_set_efer(v, value);
	case MSR_TSC:
		set_tsc_offset(v, v->cpu.tsc_offset + value - cpu_tsc(v));
		return true;
	case MSR_TSC_ADJUST:
		set_tsc_offset(v, v->cpu.tsc_offset + value - v->cpu.tsc_adjust);
		return true;
	case MSR_XSS:
		return x86_has(v->model, FEAT_XSAVES) && !value;
	case MSR_PRED_CMD: case MSR_FLUSH_CMD:
		return !(value & ~1ull);
	case MSR_KVM_SYSTEM: case MSR_KVM_SYSTEM_OLD:
		kvmclock_write_system(v, value);
		return true;
	case MSR_KVM_WALL: case MSR_KVM_WALL_OLD:
		kvmclock_write_wall(v, value);
		return true;
	case MSR_KVM_EOI:         /* where to say "no EOI needed": never said here, which is allowed */
		if (value & 2)
			return false;
		v->cpu.kvm_eoi = value;
		return true;
	}
	f = fixed_find(msr);
	return f && f->writable;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	const struct plain_msr *p;
	uint64_t *element;
	bool ok;

	if (is_lapic_msr(msr))
		ok = lapic_msr_write(v, msr, value);
	else if ((p = plain_find(msr)) && p->check != READ_ONLY)
		ok = write_plain(v, p, value);
	else if ((element = array_find(&v->cpu, msr)))
		ok = write_array(v, msr, element, value);
	else
		ok = write_other(v, msr, value);
	if (ok)
		trace2(msr_write, msr, value);
	else
		log_guest("refused write of 0x%lx to MSR 0x%x at rip 0x%lx", value, msr, v->insn_rip);
	return ok;
}
