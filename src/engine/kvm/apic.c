/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU whose local APIC is engine/soft's, because KVM has none (choose.c).  KVM then takes
 * a vector when it says that it can be delivered (api.rst, KVM_INTERRUPT: run.c), carries CR8
 * in the page of the run, and tells of HLT and of accesses to the APIC's page and MSRs by
 * exits.  Its share of the APIC is the base, with that MSR's rules.  Halted and waiting vCPUs
 * are not in KVM at all: they sleep as under the other engines (machine/vcpu.c).
 */
#include "engine/kvm/kvm.h"

#include <sys/ioctl.h>

#include "engine/lapic.h"
#include "machine/machine.h"

static bool start_up(struct vcpu *v, enum vcpu_exit *why)
{
	bool ok = kvm_core_get(v, &v->error) && (!lapic_take_startup(v) || kvm_core_set(v, &v->error));
	*why = EXIT_ERROR;
	return ok;
}

bool kvm_apic_enter(struct vcpu *v, enum vcpu_exit *why)
{
	struct x86_cpu *c = &v->cpu;
	if (lapic_startup_pending(v) && !start_up(v, why))
		return false;
	*why = EXIT_HALT;
	if (c->activity == CPU_HALTED && vcpu_has_work(v))
		c->activity = CPU_RUNNING;
	if (c->activity != CPU_RUNNING)
		return false;
	if (atomic_exchange(&c->lapic.pending_nmi, 0))
		kvm_ioctl(kvm_of(v)->fd, KVM_NMI, NULL);
	return true;
}

void kvm_apic_left(struct vcpu *v)
{
	const struct kvm_run *r = kvm_of(v)->run;
	struct x86_lapic *a = &v->cpu.lapic;
	if (a->tpr >> 4 != (r->cr8 & 15))
		a->tpr = (uint32_t)(r->cr8 & 15) << 4;
	a->base = r->apic_base;
}

/* What vcpu_has_work() goes by. */
void kvm_apic_halt(struct vcpu *v)
{
	struct kvm_vcpu_events e;
	struct x86_cpu *c = &v->cpu;
	c->activity = CPU_HALTED;
	c->rflags = kvm_of(v)->run->if_flag ? c->rflags | FL_IF : c->rflags & ~(uint64_t)FL_IF;
	c->nmi_blocked = !kvm_ioctl(kvm_of(v)->fd, KVM_GET_VCPU_EVENTS, &e) && e.nmi.masked;
}

bool kvm_apic_mmio(struct vcpu *v)
{
	struct kvm_run *r = kvm_of(v)->run;
	unsigned at = r->mmio.phys_addr & PAGE_MASK, size = MIN(r->mmio.len, 8u);
	if (!lapic_page(&v->cpu.lapic, r->mmio.phys_addr))
		return false;
	if (r->mmio.is_write)
		lapic_store(v, at, le64_get(r->mmio.data), size);
	else
		le64_put(r->mmio.data, lapic_load(v, at, size));
	return true;
}

/* Any other MSR is here because KVM refuses the access: #GP. */
void kvm_apic_msr(struct vcpu *v)
{
	struct kvm_run *r = kvm_of(v)->run;
	bool deadline = r->msr.index == MSR_TSC_DEADLINE, ours = deadline || r->msr.index - MSR_X2APIC < 0x100u;
	uint64_t value = r->msr.data;
	struct error err;
	if (deadline)         /* by the guest's TSC as it is now */
		kvm_time_get(v, &err);
	if (r->exit_reason == KVM_EXIT_X86_WRMSR) {
		r->msr.error = !ours || !lapic_msr_write(v, r->msr.index, value);
	} else {
		r->msr.error = !ours || !lapic_msr_read(v, r->msr.index, &value);
		r->msr.data = value;
	}
}
