/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's registers, priorities and timer (SDM 3A ch. 11; contract and
 * threading in x86/lapic.h).  The APIC bus clock is 1 GHz, so that a timer tick
 * at divide 1 is a nanosecond of machine time; CPUID 0x40000010 says so.
 */
#include "engine/lapic.h"

#include "base/trace.h"
#include "machine/machine.h"
#include "memory/tap.h"

enum {
	BASE_BSP = 0x100, BASE_EXTD = 0x400, BASE_EN = 0x800,
	SVR_ENABLE = 0x100, LVT_MASKED = 0x10000,
	TIMER_PERIODIC = 0x20000, TIMER_DEADLINE = 0x40000, TIMER_MODE = 0x60000,
	MODE_FIXED = 0, MODE_LOWEST = 1, MODE_NMI = 4, MODE_INIT = 5, MODE_SIPI = 6, MODE_EXTINT = 7,
	ICR_LOGICAL = 0x800, ICR_BUSY = 0x1000, ICR_ASSERT = 0x4000, ICR_LEVEL = 0x8000,
	ESR_SEND_ILLEGAL = 0x20, ESR_RECV_ILLEGAL = 0x40,
};
enum { TAPE_CR8 = 0x1000 };            /* its place on a tape, beside the registers */
#define APIC_VERSION 0x00050014u       /* integrated, LVT entries 0..5 */

static bool is_x2(const struct x86_lapic *a) { return a->base & BASE_EXTD; }

static void set_bit(uint32_t *bitmap, unsigned n)
{
	__atomic_fetch_or(&bitmap[n / 32], 1u << (n % 32), __ATOMIC_SEQ_CST);
}

static void clear_bit(uint32_t *bitmap, unsigned n)
{
	__atomic_fetch_and(&bitmap[n / 32], ~(1u << (n % 32)), __ATOMIC_SEQ_CST);
}

static int highest(const uint32_t *bitmap)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t w = __atomic_load_n(&bitmap[i], __ATOMIC_RELAXED);
		if (w)
			return i * 32 + 31 - __builtin_clz(w);
	}
	return -1;
}

static uint32_t *irr_of(const struct x86_lapic *a) { return (uint32_t *)a->irr; }

/* SDM 3A 11.8.3.1 */
static unsigned ppr(const struct x86_lapic *a)
{
	int isr = highest(a->isr);
	unsigned in_service = isr < 0 ? 0 : (unsigned)isr & 0xf0;
	return (a->tpr & 0xf0) >= in_service ? a->tpr : in_service;
}

/* --- timer -------------------------------------------------------------- */

static unsigned divisor(const struct x86_lapic *a)
{
	unsigned code = (a->timer_divide & 3) | (a->timer_divide >> 1 & 4);
	return code == 7 ? 1 : 2u << code;
}

static uint64_t period_ns(const struct x86_lapic *a)
{
	return (uint64_t)a->timer_initial * divisor(a);
}

static uint64_t now_ns(const struct vcpu *v) { return clock_now(v->machine->clock); }

/* Machine time at which the guest's TSC reaches `tsc` (0 if long ago). */
static uint64_t tsc_to_ns(const struct vcpu *v, uint64_t tsc)
{
	uint64_t ticks = tsc - v->cpu.tsc_offset;
	if ((int64_t)ticks < 0)
		return tsc >> 63 ? UINT64_MAX - 1 : 0;
	return muldiv64(ticks, 1000000, v->model->tsc_khz) + 1;
}

/* When the timer is due next; UINT64_MAX if never. */
static uint64_t timer_due(const struct vcpu *v)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	uint32_t lvt = a->lvt[LVT_TIMER];
	if ((lvt & TIMER_MODE) == TIMER_DEADLINE) {
		uint64_t d = __atomic_load_n(&a->tsc_deadline, __ATOMIC_RELAXED);
		return d ? tsc_to_ns(v, d) : UINT64_MAX;
	}
	if (!a->timer_initial)
		return UINT64_MAX;
	uint64_t period = period_ns(a), now = now_ns(v);
	if (now < a->timer_start + period)
		return a->timer_start + period;
	if (!(lvt & TIMER_PERIODIC))
		return UINT64_MAX;
	return a->timer_start + ((now - a->timer_start) / period + 1) * period;
}

/* Has it run out, by the registers as they are now? */
static bool timer_reached(const struct vcpu *v)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	if ((a->lvt[LVT_TIMER] & TIMER_MODE) != TIMER_DEADLINE)
		return a->timer_initial && now_ns(v) >= a->timer_start + period_ns(a);
	uint64_t d = __atomic_load_n(&a->tsc_deadline, __ATOMIC_RELAXED);
	return d && tsc_to_ns(v, d) <= now_ns(v);
}

static void timer_post(struct vcpu *v)
{
	uint32_t lvt = v->cpu.lapic.lvt[LVT_TIMER];
	if (!(lvt & LVT_MASKED))
		lapic_post(v, (uint8_t)lvt, false);
}

void lapic_timer_rearm(struct vcpu *v)
{
	uint64_t due = timer_due(v);
	clock_timer_set(&v->apic_timer, due);
}

/* I/O thread. The vCPU may be reprogramming the timer at this moment: what is not
 * due by the registers as they are now is not delivered, and a timer that the
 * vCPU has armed meanwhile is left alone (clock_timer_again). */
void lapic_timer_fired(struct vcpu *v)
{
	struct x86_lapic *a = &v->cpu.lapic;
	bool due_now = timer_reached(v);
	if ((a->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE && due_now) {
		uint64_t d = __atomic_load_n(&a->tsc_deadline, __ATOMIC_RELAXED);
		due_now = d && __atomic_compare_exchange_n(&a->tsc_deadline, &d, 0, false,
							   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	uint64_t next = timer_due(v);
	if (next != UINT64_MAX)
		clock_timer_again(&v->apic_timer, next);
	if (due_now)
		timer_post(v);
}

static void deadline_write(struct vcpu *v, uint64_t tsc)
{
	struct x86_lapic *a = &v->cpu.lapic;
	if ((a->lvt[LVT_TIMER] & TIMER_MODE) != TIMER_DEADLINE)
		return;               /* SDM 3A 11.5.4.1: ignored */
	if (tsc && tsc_to_ns(v, tsc) <= now_ns(v)) {
		__atomic_store_n(&a->tsc_deadline, 0, __ATOMIC_SEQ_CST);
		timer_post(v);
		return;
	}
	__atomic_store_n(&a->tsc_deadline, tsc, __ATOMIC_SEQ_CST);
	lapic_timer_rearm(v);
}

static uint32_t current_count(const struct vcpu *v)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	if (!a->timer_initial || (a->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE)
		return 0;
	uint64_t gone = (now_ns(v) - a->timer_start) / divisor(a);
	if (a->lvt[LVT_TIMER] & TIMER_PERIODIC)
		gone %= a->timer_initial;
	return gone >= a->timer_initial ? 0 : a->timer_initial - (uint32_t)gone;
}

static void lvt_timer_write(struct vcpu *v, uint32_t value)
{
	struct x86_lapic *a = &v->cpu.lapic;
	uint32_t changed = (a->lvt[LVT_TIMER] ^ value) & TIMER_MODE;
	a->lvt[LVT_TIMER] = value;
	if (changed & TIMER_DEADLINE) {       /* disarms, SDM 3A 11.5.4.1 */
		a->tsc_deadline = 0;
		a->timer_initial = 0;
	}
	lapic_timer_rearm(v);
}

/* --- posting and delivery ----------------------------------------------- */

void lapic_post(struct vcpu *v, uint8_t vector, bool level)
{
	struct x86_lapic *a = &v->cpu.lapic;
	trace2(lapic_post, a->id, vector);
	if (vector < 16) {
		__atomic_fetch_or(&a->esr_pending, ESR_RECV_ILLEGAL, __ATOMIC_RELAXED);
		return;
	}
	if (level)
		set_bit(a->tmr, vector);
	else
		clear_bit(a->tmr, vector);
	set_bit(irr_of(a), vector);
	vcpu_request(v, REQ_INTERRUPT);
}

void lapic_post_nmi(struct vcpu *v)
{
	atomic_store(&v->cpu.lapic.pending_nmi, 1);
	vcpu_request(v, REQ_NMI);
}

void lapic_post_init(struct vcpu *v)
{
	atomic_store(&v->cpu.lapic.pending_sipi, 0);
	atomic_store(&v->cpu.lapic.pending_init, 1);
	vcpu_request(v, REQ_INIT);
}

void lapic_post_sipi(struct vcpu *v, uint8_t vector)
{
	atomic_store(&v->cpu.lapic.pending_sipi, 0x100u | vector);
	vcpu_request(v, REQ_SIPI);
}

static bool matches_logical(const struct x86_lapic *a, uint32_t dest, bool x2)
{
	if (is_x2(a)) {
		uint32_t ldr = (a->id >> 4) << 16 | 1u << (a->id & 15);
		if (!x2)
			return dest == 0xff || (ldr >> 16 == 0 && (ldr & dest & 0xff));
		return dest == ~0u || (dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff));
	}
	uint8_t mda = (uint8_t)dest, ldr = (uint8_t)(a->ldr >> 24);
	if (a->dfr >> 28 == 0xf)
		return mda & ldr;
	return mda == 0xff || (mda >> 4 == ldr >> 4 && (mda & ldr & 0xf));
}

static bool matches(const struct x86_lapic *a, uint32_t dest, bool logical, bool x2)
{
	if (!(a->base & BASE_EN))
		return false;
	if (logical)
		return matches_logical(a, dest, x2);
	if (x2)
		return dest == ~0u || dest == a->id;
	return (dest & 0xff) == 0xff || (dest & 0xff) == (a->id & (is_x2(a) ? ~0u : 0xff));
}

static void deliver_one(struct vcpu *v, unsigned mode, uint8_t vector, bool level)
{
	switch (mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		lapic_post(v, vector, level);
		break;
	case MODE_NMI:
		lapic_post_nmi(v);
		break;
	case MODE_INIT:
		lapic_post_init(v);
		break;
	case MODE_SIPI:
		lapic_post_sipi(v, vector);
		break;
	}
}

void lapic_deliver(struct machine *m, uint32_t dest, bool logical, unsigned mode,
		   uint8_t vector, bool level, bool x2)
{
	if (m->engine->interrupt) {
		m->engine->interrupt(m, 0xfee00000u | (dest & 0xff) << 12 | (uint32_t)logical << 2,
				     vector | mode << 8 | 1u << 14 | (uint32_t)level << 15);
		return;
	}
	struct vcpu *best = NULL;
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct vcpu *v = m->vcpus[i];
		if (!matches(&v->cpu.lapic, dest, logical, x2))
			continue;
		if (mode != MODE_LOWEST)
			deliver_one(v, mode, vector, level);
		else if (!best || ppr(&v->cpu.lapic) < ppr(&best->cpu.lapic))
			best = v;
	}
	if (best)
		deliver_one(best, mode, vector, level);
}

/* SDM 3A 11.11: address bits 19:12 destination, 2 logical; data 7:0 vector,
 * 10:8 mode, 15 level. */
void lapic_msi(struct machine *m, uint64_t addr, uint32_t data)
{
	if (addr >> 20 != 0xfee)
		return;
	if (m->engine->interrupt) {
		m->engine->interrupt(m, addr, data);
		return;
	}
	lapic_deliver(m, addr >> 12 & 0xff, addr >> 2 & 1, data >> 8 & 7, (uint8_t)data,
		      false, false);
}

static void icr_write(struct vcpu *v, uint32_t low, uint32_t dest)
{
	struct machine *m = v->machine;
	unsigned mode = low >> 8 & 7;
	if (mode == MODE_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT))
		return;               /* INIT level de-assert: nothing on these CPUs */
	if (mode <= MODE_LOWEST && (low & 0xff) < 16) {
		v->cpu.lapic.esr_pending |= ESR_SEND_ILLEGAL;
		return;
	}
	switch (low >> 18 & 3) {
	case 0:
		lapic_deliver(m, dest, low & ICR_LOGICAL, mode, (uint8_t)low, false,
			      is_x2(&v->cpu.lapic));
		return;
	case 1:
		deliver_one(v, mode, (uint8_t)low, false);
		return;
	}
	for (unsigned i = 0; i < m->nvcpus; i++)      /* 2 all, 3 all but self */
		if (m->vcpus[i] != v || (low >> 18 & 3) == 2)
			deliver_one(m->vcpus[i], mode, (uint8_t)low, false);
}

int lapic_pending(const struct vcpu *v)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	if (!(a->svr & SVR_ENABLE))
		return -1;
	int vec = highest(irr_of(a));
	return vec >= 0 && (unsigned)vec >> 4 > ppr(a) >> 4 ? vec : -1;
}

int lapic_ack(struct vcpu *v)
{
	struct x86_lapic *a = &v->cpu.lapic;
	int vec = lapic_pending(v);
	if (vec >= 0) {
		set_bit(a->isr, (unsigned)vec);
		clear_bit(irr_of(a), (unsigned)vec);
	}
	return vec;
}

bool lapic_accepts_extint(const struct vcpu *v)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	if (!(a->base & BASE_EN))
		return v->index == 0;
	uint32_t lvt = a->lvt[LVT_LINT0];
	return !(lvt & LVT_MASKED) && (lvt >> 8 & 7) == MODE_EXTINT;
}

static void eoi(struct vcpu *v)
{
	struct x86_lapic *a = &v->cpu.lapic;
	int vec = highest(a->isr);
	if (vec < 0)
		return;
	clear_bit(a->isr, (unsigned)vec);
	if (a->tmr[vec / 32] >> (vec % 32) & 1)
		lines_eoi(v->machine, (uint8_t)vec);
	vcpu_request(v, REQ_INTERRUPT);       /* what it kept back may be deliverable now */
}

uint8_t lapic_get_tpr(const struct vcpu *v)
{
	struct tape *t = tape_take();
	uint64_t value;
	if (t && tape_replay(t, TAPE_APIC_READ, TAPE_CR8, 1, &value))
		return (uint8_t)value;
	value = v->cpu.lapic.tpr >> 4;
	tape_record(t, TAPE_APIC_READ, TAPE_CR8, 1, value);
	return (uint8_t)value;
}

static void tpr_write(struct vcpu *v, uint32_t tpr)
{
	v->cpu.lapic.tpr = tpr & 0xff;
	vcpu_request(v, REQ_INTERRUPT);
}

void lapic_set_tpr(struct vcpu *v, uint8_t cr8)
{
	struct tape *t = tape_take();
	uint64_t value = cr8;
	if (t && tape_replay(t, TAPE_APIC_WRITE, TAPE_CR8, 1, &value))
		return;
	tpr_write(v, (uint32_t)(cr8 & 15) << 4);
	tape_record(t, TAPE_APIC_WRITE, TAPE_CR8, 1, value);
}

/* --- registers ---------------------------------------------------------- */

uint32_t lapic_read(struct vcpu *v, unsigned offset)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	unsigned reg = offset >> 4;
	switch (reg) {
	case 0x02: return is_x2(a) ? a->id : a->id << 24;
	case 0x03: return APIC_VERSION;
	case 0x08: return a->tpr;
	case 0x0a: return ppr(a);
	case 0x0d: return is_x2(a) ? (a->id >> 4) << 16 | 1u << (a->id & 15) : a->ldr;
	case 0x0e: return a->dfr;
	case 0x0f: return a->svr;
	case 0x10 ... 0x17: return a->isr[reg & 7];
	case 0x18 ... 0x1f: return a->tmr[reg & 7];
	case 0x20 ... 0x27: return a->irr[reg & 7];
	case 0x28: return a->esr;
	case 0x2f: return a->lvt[LVT_CMCI];
	case 0x30: return a->icr_low;
	case 0x31: return a->icr_high;
	case 0x32 ... 0x37: return a->lvt[LVT_TIMER + reg - 0x32];
	case 0x38: return a->timer_initial;
	case 0x39: return current_count(v);
	case 0x3e: return a->timer_divide;
	}
	return 0;
}

static void svr_write(struct x86_lapic *a, uint32_t value)
{
	a->svr = value & 0x1ff;
	if (!(a->svr & SVR_ENABLE))           /* SDM 3A 11.4.7.2 */
		for (unsigned i = 0; i < 7; i++)
			a->lvt[i] |= LVT_MASKED;
}

static void lvt_write(struct vcpu *v, unsigned n, uint32_t value)
{
	static const uint32_t writable[7] = { 0x107ff, 0x710ff, 0x107ff, 0x107ff,
					      0x1a7ff, 0x1a7ff, 0x100ff };
	value &= writable[n];
	if (!(v->cpu.lapic.svr & SVR_ENABLE))
		value |= LVT_MASKED;
	if (n == LVT_TIMER) {
		lvt_timer_write(v, value);
		return;
	}
	v->cpu.lapic.lvt[n] = value;
	if (n == LVT_LINT0)
		vcpu_request(v, REQ_INTERRUPT);
}

static void timer_count_write(struct vcpu *v, uint32_t value)
{
	struct x86_lapic *a = &v->cpu.lapic;
	if ((a->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE)
		return;
	a->timer_start = now_ns(v);
	a->timer_initial = value;
	lapic_timer_rearm(v);
}

static void divide_write(struct vcpu *v, uint32_t value)
{
	struct x86_lapic *a = &v->cpu.lapic;
	uint32_t left = current_count(v);
	a->timer_divide = value & 0xb;
	/* Keep the count that is left, at the new rate. */
	a->timer_start = now_ns(v) - (uint64_t)(a->timer_initial - left) * divisor(a);
	lapic_timer_rearm(v);
}

void lapic_write(struct vcpu *v, unsigned offset, uint32_t value)
{
	struct x86_lapic *a = &v->cpu.lapic;
	unsigned reg = offset >> 4;
	switch (reg) {
	case 0x02:
		break;                        /* the id is fixed, as on newer CPUs */
	case 0x08: tpr_write(v, value); break;
	case 0x0b: eoi(v); break;
	case 0x0d: a->ldr = value & 0xff000000u; break;
	case 0x0e: a->dfr = value | 0x0fffffffu; break;
	case 0x0f: svr_write(a, value); break;
	case 0x28:
		a->esr = __atomic_exchange_n(&a->esr_pending, 0, __ATOMIC_RELAXED);
		break;
	case 0x2f: lvt_write(v, LVT_CMCI, value); break;
	case 0x30:
		a->icr_low = value & 0xccfff & ~ICR_BUSY;
		icr_write(v, a->icr_low, a->icr_high >> 24);
		break;
	case 0x31: a->icr_high = value & 0xff000000u; break;
	case 0x32 ... 0x37: lvt_write(v, LVT_TIMER + reg - 0x32, value); break;
	case 0x38: timer_count_write(v, value); break;
	case 0x3e: divide_write(v, value); break;
	}
}

/* --- MSRs ---------------------------------------------------------------- */

static bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	const struct x86_lapic *a = &v->cpu.lapic;
	unsigned reg = msr - MSR_X2APIC;
	switch (msr) {
	case 0x1b:
		*value = a->base;
		return true;
	case MSR_TSC_DEADLINE:
		*value = a->tsc_deadline;
		return true;
	case 0x830:
		*value = (uint64_t)a->icr_high << 32 | a->icr_low;
		return is_x2(a);
	}
	if (!is_x2(a) || reg > 0x3e || reg == 0x0b || reg == 0x0e || reg == 0x31)
		return false;
	*value = lapic_read(v, reg << 4);
	return true;
}

static bool base_write(struct vcpu *v, uint64_t value)
{
	struct x86_lapic *a = &v->cpu.lapic;
	uint64_t state = value & (BASE_EN | BASE_EXTD), old = a->base & (BASE_EN | BASE_EXTD);
	if (value & ~((BIT(v->model->phys_bits) - 1) & ~0xfffull) & ~(uint64_t)(BASE_BSP | BASE_EN | BASE_EXTD))
		return false;
	/* SDM 3A figure 11-27: no x2APIC without EN, none from disabled, no way
	 * back to xAPIC but through disabled. */
	if (state == BASE_EXTD || (state == (BASE_EN | BASE_EXTD) && !old) ||
	    (old == (BASE_EN | BASE_EXTD) && state == BASE_EN))
		return false;
	if ((state & BASE_EXTD) && !x86_has(v->model, FEAT_X2APIC))
		return false;
	a->base = (value & ~(uint64_t)BASE_BSP) | (v->index == 0 ? BASE_BSP : 0);
	vcpu_request(v, REQ_TLB | REQ_INTERRUPT);     /* the MMIO page moved or went */
	return true;
}

static bool x2_write(struct vcpu *v, unsigned reg, uint64_t value)
{
	struct x86_lapic *a = &v->cpu.lapic;
	if (reg == 0x30) {
		a->icr_low = (uint32_t)value & 0xccfff;
		a->icr_high = (uint32_t)(value >> 32);
		icr_write(v, a->icr_low, a->icr_high);
		return true;
	}
	if (value >> 32)
		return false;
	switch (reg) {
	case 0x0b:
	case 0x28:
		if (value)
			return false;
		break;
	case 0x3f:
		lapic_post(v, (uint8_t)value, false);
		return true;
	case 0x08: case 0x0f: case 0x2f: case 0x32 ... 0x38: case 0x3e:
		break;
	default:
		return false;
	}
	lapic_write(v, reg << 4, (uint32_t)value);
	return true;
}

static bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	if (msr == 0x1b)
		return base_write(v, value);
	if (msr == MSR_TSC_DEADLINE) {
		deadline_write(v, value);
		return true;
	}
	return is_x2(&v->cpu.lapic) && x2_write(v, msr - MSR_X2APIC, value);
}

/* With a tape: whether there is such a register goes before the value. */
bool lapic_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	struct tape *t = tape_take();
	uint64_t ok;
	if (t && tape_replay(t, TAPE_MSR_READ, msr, 1, &ok)) {
		t = tape_take();
		return tape_replay(t, TAPE_MSR_READ, msr, 8, value) && ok;
	}
	*value = 0;
	ok = msr_read(v, msr, value);
	tape_record(t, TAPE_MSR_READ, msr, 1, ok);
	tape_record(t, TAPE_MSR_READ, msr, 8, *value);
	return ok;
}

bool lapic_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct tape *t = tape_take();
	uint64_t ok;
	if (t && tape_replay(t, TAPE_MSR_WRITE, msr, 8, &value)) {
		t = tape_take();
		return tape_replay(t, TAPE_MSR_READ, msr, 1, &ok) && ok;
	}
	ok = msr_write(v, msr, value);
	tape_record(t, TAPE_MSR_WRITE, msr, 8, value);
	tape_record(t, TAPE_MSR_READ, msr, 1, ok);
	return ok;
}

void lapic_reset(struct vcpu *v, bool init_only)
{
	struct x86_lapic *a = &v->cpu.lapic;
	uint64_t base = a->base;
	uint32_t id = a->id;
	/* a start-up IPI may have come right behind the INIT */
	memset(a, 0, init_only ? offsetof(struct x86_lapic, pending_nmi) : sizeof(*a));
	a->id = id;
	/* INIT keeps the base and its mode (SDM 3A 11.4.7.3). */
	a->base = init_only ? base : LAPIC_BASE | BASE_EN | (v->index == 0 ? BASE_BSP : 0);
	a->dfr = ~0u;
	a->svr = 0xff;
	for (unsigned i = 0; i < 7; i++)
		a->lvt[i] = LVT_MASKED;
	clock_timer_set(&v->apic_timer, UINT64_MAX);
}
