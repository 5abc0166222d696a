/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time under KVM: the TSC and kvmclock are counted by the kernel, all else by the
 * machine's clock.  When the machine stops, so must they: on the way on all
 * TSCs are moved by one common step and kvmclock is set, to machine time.
 */
#include "engine/kvm/kvm.h"

#include <sys/ioctl.h>

#include "engine/lapic.h"
#include "machine/machine.h"

enum { MSR_TSC = 0x10 };

/*
 * Will the TSC run at the model's rate: scaled, or within what KVM takes for equal
 * (250 ppm)? Else it runs at the host's, and the CPU model promises no rate: guests
 * then take their time from kvmclock, which says at each vCPU what a tick is.
 */
void kvm_choose_tsc(struct machine *m)
{
	struct kvm_vm *k = m->engine_data;
	int host = ioctl(k->fd, KVM_GET_TSC_KHZ, 0);
	uint32_t want = m->model->tsc_khz, off = host > 0 ? (uint32_t)abs(host - (int)want) : want;
	k->tsc_exact = ioctl(k->dev, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0 || off <= want / 4000;
	if (!k->tsc_exact)
		machine_set_model(m, x86_model_any_tsc(m->model));
}

static uint64_t model_ticks(const struct vcpu *v)
{
	return muldiv64(clock_now(v->machine->clock), v->model->tsc_khz, 1000000);
}

/* While machine time stands still the TSC does not: its last offset counts. */
bool kvm_time_get(struct vcpu *v, struct error *err)
{
	uint64_t tsc = 0;
	if (clock_paused(v->machine->clock))
		return true;
	if (!kvm_msr(v, KVM_GET_MSRS, MSR_TSC, &tsc))
		return kvm_failed(err, "the TSC");
	v->cpu.tsc_offset = tsc - model_ticks(v);
	/* At another rate than the model's, offsets read one after the other drift
	 * apart; the guest's TSCs do not. */
	if (v->index && !kvm_of(v)->vm->tsc_exact)
		v->cpu.tsc_offset = v->machine->vcpus[0]->cpu.tsc_offset;
	return true;
}

bool kvm_time_set(struct vcpu *v, struct error *err)
{
	uint64_t tsc = model_ticks(v) + v->cpu.tsc_offset;
	struct kvm_clock_data d = { .clock = clock_now(v->machine->clock) };
	if (v->index == 0)
		kvm_ioctl(kvm_of(v)->vm->fd, KVM_SET_CLOCK, &d);
	return kvm_msr(v, KVM_SET_MSRS, MSR_TSC, &tsc) || kvm_failed(err, "the TSC");
}

/* The kernel counts kvmclock by a clock that nobody slews; the guest must not see
 * time go backwards because of that. */
void kvm_time_stopped(struct machine *m)
{
	struct kvm_vm *k = m->engine_data;
	struct kvm_clock_data d = { 0 };
	if (!kvm_ioctl(k->fd, KVM_GET_CLOCK, &d) && d.clock <= INT64_MAX && d.clock > clock_now(m->clock))
		clock_set(m->clock, d.clock);
}

static bool tsc_offset(struct kvm_vcpu *c, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
				     .addr = (uintptr_t)offset };
	return !kvm_ioctl(c->fd, request, &a);
}

/* By the offset, where the kernel has it: a value written to the MSR within a
 * second is taken as an attempt to synchronize and does not stay as it is. */
static void tsc_step(struct vcpu *v, uint64_t step)
{
	uint64_t offset = 0, tsc = 0, deadline = 0;
	if (tsc_offset(kvm_of(v), KVM_GET_DEVICE_ATTR, &offset)) {
		offset += step;
		tsc_offset(kvm_of(v), KVM_SET_DEVICE_ATTR, &offset);
	} else if (kvm_msr(v, KVM_GET_MSRS, MSR_TSC, &tsc)) {
		tsc += step;
		kvm_msr(v, KVM_SET_MSRS, MSR_TSC, &tsc);
	}
	/* armed by the old count: once more */
	if (kvm_msr(v, KVM_GET_MSRS, MSR_TSC_DEADLINE, &deadline) && deadline)
		kvm_msr(v, KVM_SET_MSRS, MSR_TSC_DEADLINE, &deadline);
}

void kvm_time_goes_on(struct machine *m)
{
	struct kvm_vm *k = m->engine_data;
	struct vcpu *first = m->vcpus[0];
	uint64_t now = 0;
	if (kvm_msr(first, KVM_GET_MSRS, MSR_TSC, &now)) {
		uint64_t step = model_ticks(first) + first->cpu.tsc_offset - now;
		for (unsigned i = 0; i < m->nvcpus; i++)
			tsc_step(m->vcpus[i], step);
	}
	struct kvm_clock_data d = { .clock = clock_now(m->clock) };
	kvm_ioctl(k->fd, KVM_SET_CLOCK, &d);
}
