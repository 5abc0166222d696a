/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What arrives between instructions, in the order of SDM 3A table 6-2: INIT,
 * start-up IPI, NMI, external interrupt.  Requests are cleared before their
 * sources are looked at, so nothing that comes in meanwhile is lost; what has
 * to wait for IF or IRET leaves v->irq_waiting, see irq_window().
 */
#include "base/trace.h"
#include "engine/interp/fpu.h"
#include "engine/interp/sys.h"
#include "machine/machine.h"
#include "engine/lapic.h"

static bool deliver(struct vcpu *v, uint8_t type, uint8_t vector)
{
	v->cpu.activity = CPU_RUNNING;
	v->cpu.event = (struct x86_event) { .pending = 1, .type = type, .vector = vector };
	return interp_deliver_event(v);
}

static bool poll_nmi(struct vcpu *v)
{
	if (!v->cpu.lapic.pending_nmi)
		return true;
	if (v->cpu.nmi_blocked) {
		v->irq_waiting = true;
		return true;
	}
	atomic_store(&v->cpu.lapic.pending_nmi, 0);
	return deliver(v, 2, EXC_NMI);
}

static bool poll_interrupt(struct vcpu *v)
{
	int vector;

	if (!(v->cpu.rflags & FL_IF)) {
		v->irq_waiting = true;
		return true;
	}
	vector = lapic_take_vector(v);
	if (vector < 0)
		return true;
	trace2(interrupt, vector, v->cpu.rip);
	/* There may be more: look again when the handler opens its window. */
	v->irq_waiting = true;
	return deliver(v, 0, vector);
}

/* CR0.NE = 0: the board hears of it and sends IRQ 13; until that comes, or IGNNE#,
 * the processor waits before the instruction (SDM 1 8.7.2). */
void x87_external_error(struct vcpu *v, bool pending)
{
	if (lines_fpu_error(v->machine, pending) || !pending)
		return;
	v->cpu.rip = v->insn_rip;
	vcpu_request(v, REQ_INTERRUPT);
	if (v->debug.single_step) {       /* a debugger gets control back, however long this waits */
		v->debug.hit = true;
		v->debug.hit_kind = 0;      /* as after a step */
	}
	siglongjmp(v->unwind, UNWIND_EXCEPTION);        /* with none: to the run loop */
}

bool interp_poll(struct vcpu *v)
{
	if (v->cpu.int_shadow)
		return true;            /* the requests stay, and are seen again */
	atomic_fetch_and(&v->requests, ~(uint32_t)(REQ_INTERRUPT | REQ_NMI | REQ_INIT | REQ_SIPI));
	if (lapic_startup_pending(v) && lapic_take_startup(v)) {
		v->irq_waiting = false;
		mmu_flush_all(v);
		mmu_update_mode(v);
	}
	if (v->cpu.activity == CPU_WAIT_SIPI || v->cpu.activity == CPU_SHUTDOWN)
		return true;
	return poll_nmi(v) && poll_interrupt(v);
}
