/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What arrives at a processor through its local APIC, for all who have that one
 * (engine/lapic.h): INIT and start-up IPI, the next vector, the 8259's included, and
 * whether any of it ends a HLT.
 */
#include "engine/lapic.h"

#include "machine/machine.h"

static void take_init(struct vcpu *v)
{
	x86_cpu_reset(&v->cpu, v->model, true);
	lapic_reset(v, true);
	if (v->index != 0)
		v->cpu.activity = CPU_WAIT_SIPI;
}

/* SDM 3A 8.4.4: CS:IP = vector << 12; only a waiting processor takes it. */
static bool take_sipi(struct x86_cpu *c, uint8_t vector)
{
	if (c->activity != CPU_WAIT_SIPI)
		return false;
	c->seg[CS].sel = vector << 8;
	c->seg[CS].base = (uint64_t)vector << 12;
	c->rip = 0;
	c->activity = CPU_RUNNING;
	return true;
}

bool lapic_startup_pending(const struct vcpu *v)
{
	return v->cpu.lapic.pending_init || v->cpu.lapic.pending_sipi;
}

bool lapic_take_startup(struct vcpu *v)
{
	struct x86_lapic *a = &v->cpu.lapic;
	bool init = atomic_exchange(&a->pending_init, 0);
	if (init)
		take_init(v);
	uint32_t sipi = atomic_exchange(&a->pending_sipi, 0);
	return (sipi & 0x100 && take_sipi(&v->cpu, (uint8_t)sipi)) || init;
}

/* The 8259 pair through LINT0 first, as a virtual wire has no priority. */
static bool extint_waits(const struct vcpu *v)
{
	return lapic_accepts_extint(v) && extint_pending(v->machine);
}

bool lapic_has_vector(const struct vcpu *v) { return extint_waits(v) || lapic_pending(v) >= 0; }

int lapic_take_vector(struct vcpu *v)
{
	return extint_waits(v) ? extint_ack(v->machine) : lapic_ack(v);
}

bool vcpu_has_work(struct vcpu *v)
{
	const struct x86_cpu *c = &v->cpu;
	if (c->lapic.pending_init)
		return true;
	if (c->activity == CPU_WAIT_SIPI)
		return c->lapic.pending_sipi;
	if (c->lapic.pending_nmi && !c->nmi_blocked)
		return true;
	if (!(c->rflags & FL_IF))
		return false;
	return lapic_has_vector(v);
}
