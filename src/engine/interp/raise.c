/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raising and delivering events.  A fault is noted in cpu.event and unwinds;
 * a fault met during delivery is combined with the event that was being
 * delivered (SDM 3A 6.15, table 6-5): replaced, double fault, or shutdown.
 */
#include "base/log.h"
#include "base/trace.h"
#include "engine/interp/sys.h"
#include "engine/lapic.h"

enum { EV_EXTERNAL = 0, EV_NMI = 2, EV_EXCEPTION = 3, EV_SOFT_INT = 4, EV_PRIV = 5, EV_SOFT_EXC = 6 };

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class fault_class(const struct x86_event *e)
{
	if (e->type != EV_EXCEPTION)
		return BENIGN;
	switch (e->vector) {
	case EXC_DE: case EXC_TS: case EXC_NP: case EXC_SS: case EXC_GP:
		return CONTRIBUTORY;
	case EXC_PF:
		return PAGE_FAULT;
	case EXC_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

/* SDM 3A table 6-5: rows are the first event. */
static bool is_double(enum fault_class first, enum fault_class second)
{
	return (first == CONTRIBUTORY && second == CONTRIBUTORY) ||
	       (first == PAGE_FAULT && (second == CONTRIBUTORY || second == PAGE_FAULT));
}

static NORETURN void shutdown(struct vcpu *v, const struct x86_event *last)
{
	log_guest("vCPU %u: triple fault at rip 0x%lx (vector %u during a double fault)",
		  v->index, v->insn_rip, last->vector);
	v->cpu.event.pending = 0;
	v->cpu.activity = CPU_SHUTDOWN;
	cpu_exit(v, EXIT_SHUTDOWN);
}

static NORETURN void raise_event(struct vcpu *v, const struct x86_event *e)
{
	struct x86_event *pending = &v->cpu.event;
	enum fault_class first = pending->pending ? fault_class(pending) : BENIGN;
	enum fault_class second = fault_class(e);

	v->cpu.rip = v->insn_rip;
	v->ext = 0;
	trace4(exception, e->vector, e->error, v->insn_rip, e->cr2);
	if (first == DOUBLE_FAULT && second != BENIGN)
		shutdown(v, e);
	if (e->vector == EXC_PF)
		v->cpu.cr2 = e->cr2;
	if (is_double(first, second))
		*pending = (struct x86_event) { .pending = 1, .type = EV_EXCEPTION,
						.vector = EXC_DF, .has_error = 1 };
	else
		*pending = *e;
	siglongjmp(v->unwind, UNWIND_EXCEPTION);
}

void cpu_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	struct x86_event e = { .pending = 1, .type = EV_EXCEPTION, .vector = vector,
			       .has_error = has_error, .error = error };

	raise_event(v, &e);
}

void cpu_raise_pf(struct vcpu *v, uint64_t lin, uint32_t error)
{
	struct x86_event e = { .pending = 1, .type = EV_EXCEPTION, .vector = EXC_PF,
			       .has_error = 1, .error = error, .cr2 = lin };

	raise_event(v, &e);
}

void cpu_exit(struct vcpu *v, enum vcpu_exit why)
{
	siglongjmp(v->unwind, UNWIND_EXIT + why);
}

/* RF in the pushed image is 1 for faults (SDM 3B 17.3.1.1); a #DB says itself
 * by RF in rflags, #DF and #MC are aborts. */
static bool pushes_rf(const struct x86_event *e)
{
	return e->type == EV_EXCEPTION && e->vector != EXC_DB && e->vector != EXC_DF &&
	       e->vector != EXC_MC && e->vector != EXC_BP && e->vector != EXC_OF;
}

static void deliver(struct vcpu *v)
{
	const struct x86_event *e = &v->cpu.event;
	struct intr in = {
		.vector = e->vector,
		.soft = e->type == EV_SOFT_INT || e->type == EV_SOFT_EXC,
		.has_error = e->has_error && !cpu_real_mode(&v->cpu),
		.error = e->error,
		.eflags = v->cpu.rflags | (pushes_rf(e) ? FL_RF : 0),
		.rip = v->cpu.rip,
	};

	v->insn_rip = v->cpu.rip;
	v->ext = !in.soft;
	if (e->type == EV_EXCEPTION && e->vector == EXC_DB)
		v->cpu.dr[7] &= ~0x2000ull;     /* GD: the handler may use DRs */
	if (e->type == EV_NMI)
		v->cpu.nmi_blocked = 1;
	v->cpu.int_shadow = 0;
	intr_through_table(v, &in);
	v->ext = 0;
	v->cpu.event.pending = 0;
}

bool interp_deliver_event(struct vcpu *v)
{
	sigjmp_buf outer;

	memcpy(&outer, &v->unwind, sizeof(outer));
	/* Each fault inside deliver() comes back here with the next cpu.event. */
	sigsetjmp(v->unwind, 0);
	if (v->cpu.activity != CPU_SHUTDOWN)
		deliver(v);
	memcpy(&v->unwind, &outer, sizeof(outer));
	return v->cpu.activity != CPU_SHUTDOWN;
}
