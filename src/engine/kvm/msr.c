/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs that are fields of struct x86_cpu, to and from KVM; the TSC is time.c's. */
#include "engine/kvm/kvm.h"

#include "machine/machine.h"

static const struct { uint32_t msr; uint32_t offset; } msr_fields[] = {
#define M(n, f) { n, offsetof(struct x86_cpu, f) }
	M(0xc0000081, star), M(0xc0000082, lstar), M(0xc0000083, cstar), M(0xc0000084, sfmask),
	M(0xc0000102, kernel_gs_base), M(0x174, sysenter_cs), M(0x175, sysenter_esp),
	M(0x176, sysenter_eip), M(0x277, pat), M(0xc0000103, tsc_aux), M(0x1a0, misc_enable),
	M(0x2ff, mtrr_def), M(0x250, mtrr_fixed[0]), M(0x258, mtrr_fixed[1]), M(0x259, mtrr_fixed[2]),
	M(0x268, mtrr_fixed[3]), M(0x269, mtrr_fixed[4]), M(0x26a, mtrr_fixed[5]),
	M(0x26b, mtrr_fixed[6]), M(0x26c, mtrr_fixed[7]), M(0x26d, mtrr_fixed[8]),
	M(0x26e, mtrr_fixed[9]), M(0x26f, mtrr_fixed[10]),
	M(0x200, mtrr_base[0]), M(0x201, mtrr_mask[0]), M(0x202, mtrr_base[1]), M(0x203, mtrr_mask[1]),
	M(0x204, mtrr_base[2]), M(0x205, mtrr_mask[2]), M(0x206, mtrr_base[3]), M(0x207, mtrr_mask[3]),
	M(0x208, mtrr_base[4]), M(0x209, mtrr_mask[4]), M(0x20a, mtrr_base[5]), M(0x20b, mtrr_mask[5]),
	M(0x20c, mtrr_base[6]), M(0x20d, mtrr_mask[6]), M(0x20e, mtrr_base[7]), M(0x20f, mtrr_mask[7]),
	M(0x3b, tsc_adjust), M(0x48, spec_ctrl), M(0x17a, mcg_status), M(0x17b, mcg_ctl),
#define BANK(n) M(0x400 + 4 * n, mc_bank[n][0]), M(0x401 + 4 * n, mc_bank[n][1]), \
		M(0x402 + 4 * n, mc_bank[n][2]), M(0x403 + 4 * n, mc_bank[n][3])
	BANK(0), BANK(1), BANK(2), BANK(3),
	M(0x4b564d00, kvmclock_wall), M(0x4b564d01, kvmclock_system), M(0x4b564d04, kvm_eoi),
#undef BANK
#undef M
};

static uint64_t *field(struct x86_cpu *c, unsigned i)
{
	return (uint64_t *)((char *)c + msr_fields[i].offset);
}

bool kvm_msr(struct vcpu *v, unsigned long request, uint32_t msr, uint64_t *value)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry e; } m = { .head.nmsrs = 1 };
	m.e.index = msr;
	m.e.data = *value;
	if (kvm_ioctl(kvm_of(v)->fd, request, &m) != 1)
		return false;
	*value = m.e.data;
	return true;
}

/* One at a time: an MSR that this KVM does not know must not stop the others. */
bool kvm_msrs_get(struct vcpu *v, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++)
		kvm_msr(v, KVM_GET_MSRS, msr_fields[i].msr, field(&v->cpu, i));
	return true;
}

bool kvm_msrs_set(struct vcpu *v, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++) {
		uint64_t value = *field(&v->cpu, i);
		if (!kvm_msr(v, KVM_SET_MSRS, msr_fields[i].msr, &value) && value)
			return error_set(err, 0, "KVM does not take MSR 0x%x with the value 0x%llx",
					 msr_fields[i].msr, (unsigned long long)value);
	}
	return true;
}
