/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct x86_lapic to and from KVM's page of registers (SDM 3A table 11-1). */
#include "engine/kvm/kvm.h"

#include "engine/lapic.h"
#include "machine/machine.h"

enum { LVT_MASKED = 0x10000, LVT_MODE = 0x60000 };

static uint32_t reg_get(const struct kvm_lapic_state *l, unsigned at) { return le32_get(l->regs + at); }
static void reg_put(struct kvm_lapic_state *l, unsigned at, uint32_t v) { le32_put(l->regs + at, v); }

static unsigned divisor(uint32_t divide)
{
	unsigned code = (divide & 3) | (divide >> 1 & 4);
	return code == 7 ? 1 : 2u << code;
}

/* A one-shot timer that has run out: its interrupt may still be pending inside KVM,
 * where nobody can see it, so it is posted (again). Kernels bear a spurious one --
 * KVM itself makes one when it is given such a timer -- none bears a lost one. */
static void one_shot_over(struct x86_lapic *a)
{
	uint32_t lvt = a->lvt[LVT_TIMER];
	unsigned vector = lvt & 0xff;
	if (a->timer_initial && !(lvt & (LVT_MODE | LVT_MASKED)) && vector >= 16)
		a->irr[vector / 32] |= 1u << (vector % 32);
}

bool kvm_lapic_get(struct vcpu *v, struct error *err)
{
	struct kvm_lapic_state l;
	struct x86_lapic *a = &v->cpu.lapic;
	if (kvm_user_apic(v))
		return true;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_LAPIC, &l))
		return kvm_failed(err, "the local APIC");
	a->tpr = reg_get(&l, 0x80);
	a->ldr = a->base & 0x400 ? 0 : reg_get(&l, 0xd0);
	a->dfr = reg_get(&l, 0xe0);
	a->svr = reg_get(&l, 0xf0);
	a->esr = reg_get(&l, 0x280);
	for (unsigned i = 0; i < 8; i++) {
		a->isr[i] = reg_get(&l, 0x100 + i * 16);
		a->tmr[i] = reg_get(&l, 0x180 + i * 16);
		a->irr[i] = reg_get(&l, 0x200 + i * 16);
	}
	a->icr_low = reg_get(&l, 0x300);
	a->icr_high = reg_get(&l, 0x310);
	a->lvt[LVT_CMCI] = reg_get(&l, 0x2f0);
	for (unsigned i = 0; i < 6; i++)
		a->lvt[LVT_TIMER + i] = reg_get(&l, 0x320 + i * 16);
	a->timer_initial = reg_get(&l, 0x380);
	a->timer_divide = reg_get(&l, 0x3e0);
	uint32_t left = reg_get(&l, 0x390);
	if (!left)
		one_shot_over(a);
	uint64_t gone = (uint64_t)(a->timer_initial - left) * divisor(a->timer_divide);
	a->timer_start = clock_now(v->machine->clock) - gone;
	kvm_msr(v, KVM_GET_MSRS, MSR_TSC_DEADLINE, &a->tsc_deadline);
	return true;
}

static uint32_t count_left(const struct vcpu *v)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	uint64_t gone = (clock_now(v->machine->clock) - a->timer_start) / divisor(a->timer_divide);
	if (!a->timer_initial)
		return 0;
	if (a->lvt[LVT_TIMER] & 0x20000)
		gone %= a->timer_initial;
	return gone >= a->timer_initial ? 0 : a->timer_initial - (uint32_t)gone;
}

bool kvm_lapic_set(struct vcpu *v, struct error *err)
{
	struct kvm_lapic_state l = { 0 };
	const struct x86_lapic *a = &v->cpu.lapic;
	bool x2 = a->base & 0x400;
	if (kvm_user_apic(v))
		return true;
	reg_put(&l, 0x20, x2 ? a->id : a->id << 24);
	reg_put(&l, 0x30, 0x00050014);
	reg_put(&l, 0x80, a->tpr);
	reg_put(&l, 0xd0, x2 ? (a->id >> 4) << 16 | 1u << (a->id & 15) : a->ldr);
	reg_put(&l, 0xe0, a->dfr);
	reg_put(&l, 0xf0, a->svr);
	reg_put(&l, 0x280, a->esr);
	for (unsigned i = 0; i < 8; i++) {
		reg_put(&l, 0x100 + i * 16, a->isr[i]);
		reg_put(&l, 0x180 + i * 16, a->tmr[i]);
		reg_put(&l, 0x200 + i * 16, a->irr[i]);
	}
	reg_put(&l, 0x300, a->icr_low);
	reg_put(&l, 0x310, a->icr_high);
	reg_put(&l, 0x2f0, a->lvt[LVT_CMCI]);
	for (unsigned i = 0; i < 6; i++)
		reg_put(&l, 0x320 + i * 16, a->lvt[LVT_TIMER + i]);
	reg_put(&l, 0x380, a->timer_initial);
	reg_put(&l, 0x390, count_left(v));
	reg_put(&l, 0x3e0, a->timer_divide);
	if (kvm_ioctl(kvm_of(v)->fd, KVM_SET_LAPIC, &l))
		return kvm_failed(err, "the local APIC");
	uint64_t deadline = a->tsc_deadline;      /* never without the TSC's rate: kvm_choose_tsc() */
	if (deadline)
		kvm_msr(v, KVM_SET_MSRS, MSR_TSC_DEADLINE, &deadline);
	return true;
}
