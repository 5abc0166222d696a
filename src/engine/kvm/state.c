/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struct x86_cpu to and from KVM.  Order of setting: CPUID has been set; then
 * special registers (modes), general, XSAVE, MSRs (TSC before the deadline),
 * local APIC, events, run state -- what is computed from something comes
 * after it.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "machine/machine.h"

static bool failed(struct error *err, const char *what)
{
	return error_set(err, errno, "KVM does not give or take %s", what);
}

/* --- registers -------------------------------------------------------------- */

static void seg_get(struct x86_seg *s, const struct kvm_segment *k)
{
	s->sel = k->selector;
	s->base = k->base;
	s->limit = k->limit;
	s->attr = (uint32_t)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 12 |
			     k->l << 13 | k->db << 14 | k->g << 15 | k->unusable << 16);
}

static void seg_set(struct kvm_segment *k, const struct x86_seg *s)
{
	uint32_t a = s->attr;
	*k = (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->sel, .type = a & 15, .s = a >> 4 & 1,
		.dpl = a >> 5 & 3, .present = a >> 7 & 1, .avl = a >> 12 & 1, .l = a >> 13 & 1,
		.db = a >> 14 & 1, .g = a >> 15 & 1, .unusable = a >> 16 & 1,
	};
	if (k->unusable)
		k->present = 0;
}

static void segs_get(struct x86_cpu *c, const struct kvm_sregs *s)
{
	const struct kvm_segment *const from[] = { &s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs };
	for (unsigned i = 0; i < 6; i++)
		seg_get(&c->seg[i], from[i]);
	seg_get(&c->ldtr, &s->ldt);
	seg_get(&c->tr, &s->tr);
	c->gdtr = (struct x86_dtr){ s->gdt.base, s->gdt.limit };
	c->idtr = (struct x86_dtr){ s->idt.base, s->idt.limit };
	c->cpl = c->seg[SS].attr >> SEG_DPL_SHIFT & 3;
}

static void segs_set(struct kvm_sregs *s, const struct x86_cpu *c)
{
	struct kvm_segment *const to[] = { &s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs };
	for (unsigned i = 0; i < 6; i++)
		seg_set(to[i], &c->seg[i]);
	/* SVM and KVM take the CPL from SS. */
	to[SS]->dpl = c->cpl;
	seg_set(&s->ldt, &c->ldtr);
	seg_set(&s->tr, &c->tr);
	if (!(s->tr.type & 2) && (s->tr.type & 1))
		s->tr.type |= 2;      /* VMX wants a busy TSS */
	s->gdt.base = c->gdtr.base;
	s->gdt.limit = c->gdtr.limit;
	s->idt.base = c->idtr.base;
	s->idt.limit = c->idtr.limit;
}

static bool sregs_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_sregs s;
	if (kvm_ioctl(fd, KVM_GET_SREGS, &s))
		return failed(err, "segment and control registers");
	segs_get(c, &s);
	c->cr0 = s.cr0;
	c->cr2 = s.cr2;
	c->cr3 = s.cr3;
	c->cr4 = s.cr4;
	c->efer = s.efer;
	c->lapic.base = s.apic_base;
	return true;
}

static bool sregs_set(int fd, const struct x86_cpu *c, struct error *err)
{
	struct kvm_sregs s;
	if (kvm_ioctl(fd, KVM_GET_SREGS, &s))
		return failed(err, "segment and control registers");
	segs_set(&s, c);
	s.cr0 = c->cr0;
	s.cr2 = c->cr2;
	s.cr3 = c->cr3;
	s.cr4 = c->cr4;
	s.cr8 = c->lapic.tpr >> 4;
	s.efer = c->efer;
	s.apic_base = c->lapic.base;
	memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
	if (kvm_ioctl(fd, KVM_SET_SREGS, &s))
		return failed(err, "segment and control registers");
	return true;
}

/* KVM's order of general registers: rax rbx rcx rdx rsi rdi rsp rbp r8... */
static const uint8_t gpr_order[8] = { RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP };

static bool regs_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_regs r;
	if (kvm_ioctl(fd, KVM_GET_REGS, &r))
		return failed(err, "general registers");
	const __u64 *p = &r.rax;
	for (unsigned i = 0; i < 16; i++)
		c->gpr[i < 8 ? gpr_order[i] : i] = p[i];
	c->rip = r.rip;
	c->rflags = r.rflags;
	return true;
}

static bool regs_set(int fd, const struct x86_cpu *c, struct error *err)
{
	struct kvm_regs r;
	__u64 *p = &r.rax;
	for (unsigned i = 0; i < 16; i++)
		p[i] = c->gpr[i < 8 ? gpr_order[i] : i];
	r.rip = c->rip;
	r.rflags = c->rflags;
	return !kvm_ioctl(fd, KVM_SET_REGS, &r) || failed(err, "general registers");
}

/* --- FPU and vectors --------------------------------------------------------- */

static bool xsave_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_xsave x;
	struct kvm_xcrs xc;
	if (kvm_ioctl(fd, KVM_GET_XSAVE, &x))
		return failed(err, "the XSAVE area");
	memcpy(&c->xsave, x.region, sizeof(c->xsave));
	c->xsave.xstate_bv &= 7;
	c->xsave.xcomp_bv = 0;
	c->xsave.mxcsr_mask = 0xffff;
	/* Components in their initial state may hold anything: make it explicit. */
	if (!(c->xsave.xstate_bv & XFEATURE_X87)) {
		memset(c->xsave.legacy, 0, 24);
		memset(c->xsave.st, 0, sizeof(c->xsave.st));
		c->xsave.fcw = 0x37f;
	}
	if (!(c->xsave.xstate_bv & XFEATURE_SSE))
		memset(c->xsave.xmm, 0, sizeof(c->xsave.xmm));
	if (!(c->xsave.xstate_bv & XFEATURE_AVX))
		memset(c->xsave.ymmh, 0, sizeof(c->xsave.ymmh));
	if (!kvm_ioctl(fd, KVM_GET_XCRS, &xc) && xc.nr_xcrs)
		c->xcr0 = xc.xcrs[0].value;
	return true;
}

static bool xsave_set(struct vcpu *v, struct error *err)
{
	const struct x86_cpu *c = &v->cpu;
	int fd = kvm_of(v)->fd;
	struct kvm_xsave x = { 0 };
	struct kvm_xcrs xc = { .nr_xcrs = 1 };
	memcpy(x.region, &c->xsave, sizeof(c->xsave));
	/* Where a later XSETBV would be lost, XCR0 has its final value at once. */
	xc.xcrs[0].value = kvm_of(v)->vm->loses_xsetbv ? v->model->xcr0 : c->xcr0;
	if (kvm_ioctl(fd, KVM_SET_XSAVE, &x))
		return failed(err, "the XSAVE area");
	if (xc.xcrs[0].value != XFEATURE_X87 && kvm_ioctl(fd, KVM_SET_XCRS, &xc))
		return failed(err, "XCR0");
	return true;
}

/* --- MSRs -------------------------------------------------------------------- */

enum { MSR_TSC = 0x10, MSR_DEADLINE = 0x6e0, MSRS_MAX = 128 };

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
	M(0x4b564d00, kvmclock_wall), M(0x4b564d01, kvmclock_system),
#undef M
};

static uint64_t *field(struct x86_cpu *c, unsigned i)
{
	return (uint64_t *)((char *)c + msr_fields[i].offset);
}

/* One at a time: an MSR that this KVM does not know must not stop the others. */
static bool msr_rw(int fd, unsigned long request, uint32_t msr, uint64_t *value)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry e; } m = { .head.nmsrs = 1 };
	m.e.index = msr;
	m.e.data = *value;
	if (kvm_ioctl(fd, request, &m) != 1)
		return false;
	*value = m.e.data;
	return true;
}

static uint64_t model_ticks(const struct vcpu *v)
{
	return muldiv64(clock_now(v->machine->clock), v->model->tsc_khz, 1000000);
}

static bool msrs_get(struct vcpu *v, struct error *err)
{
	int fd = kvm_of(v)->fd;
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++)
		msr_rw(fd, KVM_GET_MSRS, msr_fields[i].msr, field(&v->cpu, i));
	uint64_t tsc = 0;
	if (!msr_rw(fd, KVM_GET_MSRS, MSR_TSC, &tsc))
		return failed(err, "the TSC");
	v->cpu.tsc_offset = tsc - model_ticks(v);
	/* At another rate than the model's, offsets read one after the other drift
	 * apart; the guest's TSCs do not. */
	if (v->index && !kvm_of(v)->vm->tsc_scaling)
		v->cpu.tsc_offset = v->machine->vcpus[0]->cpu.tsc_offset;
	msr_rw(fd, KVM_GET_MSRS, MSR_DEADLINE, &v->cpu.lapic.tsc_deadline);
	return true;
}

static bool msrs_set(struct vcpu *v, struct error *err)
{
	int fd = kvm_of(v)->fd;
	uint64_t tsc = model_ticks(v) + v->cpu.tsc_offset;
	if (!msr_rw(fd, KVM_SET_MSRS, MSR_TSC, &tsc))
		return failed(err, "the TSC");
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++) {
		uint64_t value = *field(&v->cpu, i);
		if (!msr_rw(fd, KVM_SET_MSRS, msr_fields[i].msr, &value) && value)
			return error_set(err, 0, "KVM does not take MSR 0x%x with the value 0x%llx",
					 msr_fields[i].msr, (unsigned long long)value);
	}
	return true;
}

/* --- local APIC --------------------------------------------------------------- */

static uint32_t reg_get(const struct kvm_lapic_state *l, unsigned at) { return le32_get(l->regs + at); }
static void reg_put(struct kvm_lapic_state *l, unsigned at, uint32_t v) { le32_put(l->regs + at, v); }

static unsigned divisor(uint32_t divide)
{
	unsigned code = (divide & 3) | (divide >> 1 & 4);
	return code == 7 ? 1 : 2u << code;
}

static bool lapic_get(struct vcpu *v, struct error *err)
{
	struct kvm_lapic_state l;
	struct x86_lapic *a = &v->cpu.lapic;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_LAPIC, &l))
		return failed(err, "the local APIC");
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
	/* A timer that has run out may be pending inside KVM, where nobody can see it:
	 * one tick is left, so that it fires (again). Kernels bear a spurious one,
	 * none bears a lost one. */
	uint32_t left = reg_get(&l, 0x390);
	if (!left && a->timer_initial)
		left = 1;
	uint64_t gone = (uint64_t)(a->timer_initial - left) * divisor(a->timer_divide);
	a->timer_start = clock_now(v->machine->clock) - gone;
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

static bool lapic_set(struct vcpu *v, struct error *err)
{
	struct kvm_lapic_state l = { 0 };
	const struct x86_lapic *a = &v->cpu.lapic;
	bool x2 = a->base & 0x400;
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
		return failed(err, "the local APIC");
	uint64_t deadline = a->tsc_deadline;
	if (deadline)
		msr_rw(kvm_of(v)->fd, KVM_SET_MSRS, MSR_DEADLINE, &deadline);
	return true;
}

/* --- events, debug registers, run state ------------------------------------------ */

static bool events_get(struct vcpu *v, struct error *err)
{
	struct kvm_vcpu_events e;
	struct x86_cpu *c = &v->cpu;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_VCPU_EVENTS, &e))
		return failed(err, "pending events");
	c->event = (struct x86_event){ 0 };
	if (e.exception.injected || e.exception.pending)
		c->event = (struct x86_event){ .pending = 1, .type = 3, .vector = e.exception.nr,
					       .has_error = e.exception.has_error_code,
					       .error = e.exception.error_code, .cr2 = c->cr2 };
	else if (e.interrupt.injected)
		c->event = (struct x86_event){ .pending = 1, .type = e.interrupt.soft ? 4 : 0,
					       .vector = e.interrupt.nr };
	else if (e.nmi.injected)
		c->event = (struct x86_event){ .pending = 1, .type = 2, .vector = 2 };
	c->int_shadow = e.interrupt.shadow & 3 ? (e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? 2 : 1) : 0;
	c->nmi_blocked = e.nmi.masked;
	c->lapic.pending_nmi = e.nmi.pending;
	return true;
}

static bool events_set(struct vcpu *v, struct error *err)
{
	const struct x86_cpu *c = &v->cpu;
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW };
	const struct x86_event *x = &c->event;
	if (x->pending && x->type == 3) {
		e.exception.injected = 1;
		e.exception.nr = x->vector;
		e.exception.has_error_code = x->has_error;
		e.exception.error_code = x->error;
	} else if (x->pending && (x->type == 0 || x->type == 4)) {
		e.interrupt.injected = 1;
		e.interrupt.nr = x->vector;
		e.interrupt.soft = x->type == 4;
	} else if (x->pending && x->type == 2) {
		e.nmi.injected = 1;
	}
	e.interrupt.shadow = c->int_shadow == 2 ? KVM_X86_SHADOW_INT_MOV_SS : c->int_shadow ? KVM_X86_SHADOW_INT_STI : 0;
	e.nmi.masked = c->nmi_blocked;
	e.nmi.pending = c->lapic.pending_nmi != 0;
	return !kvm_ioctl(kvm_of(v)->fd, KVM_SET_VCPU_EVENTS, &e) || failed(err, "pending events");
}

static bool debug_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_debugregs d;
	if (kvm_ioctl(fd, KVM_GET_DEBUGREGS, &d))
		return failed(err, "debug registers");
	memcpy(c->dr, d.db, sizeof(d.db));
	c->dr[6] = d.dr6;
	c->dr[7] = d.dr7;
	return true;
}

static bool debug_set(int fd, const struct x86_cpu *c, struct error *err)
{
	struct kvm_debugregs d = { .dr6 = c->dr[6], .dr7 = c->dr[7] };
	memcpy(d.db, c->dr, sizeof(d.db));
	return !kvm_ioctl(fd, KVM_SET_DEBUGREGS, &d) || failed(err, "debug registers");
}

static bool run_state_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_mp_state s;
	if (kvm_ioctl(fd, KVM_GET_MP_STATE, &s))
		return failed(err, "the run state");
	c->activity = s.mp_state == KVM_MP_STATE_HALTED ? CPU_HALTED :
		      s.mp_state == KVM_MP_STATE_RUNNABLE ? CPU_RUNNING : CPU_WAIT_SIPI;
	return true;
}

static bool run_state_set(int fd, const struct x86_cpu *c, struct error *err)
{
	struct kvm_mp_state s = { .mp_state = c->activity == CPU_HALTED ? KVM_MP_STATE_HALTED :
				  c->activity == CPU_RUNNING ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED };
	return !kvm_ioctl(fd, KVM_SET_MP_STATE, &s) || failed(err, "the run state");
}

/* kvmclock goes on from machine time, whoever counted it before. */
static void clock_set_kvm(struct vcpu *v)
{
	struct kvm_clock_data d = { .clock = clock_now(v->machine->clock) };
	if (v->index == 0)
		kvm_ioctl(kvm_of(v)->vm->fd, KVM_SET_CLOCK, &d);
}

bool kvm_state_get(struct vcpu *v, struct error *err)
{
	int fd = kvm_of(v)->fd;
	struct x86_cpu *c = &v->cpu;
	return sregs_get(fd, c, err) && regs_get(fd, c, err) && xsave_get(fd, c, err) &&
	       msrs_get(v, err) && lapic_get(v, err) && events_get(v, err) && debug_get(fd, c, err) &&
	       run_state_get(fd, c, err);
}

bool kvm_state_set(struct vcpu *v, struct error *err)
{
	int fd = kvm_of(v)->fd;
	const struct x86_cpu *c = &v->cpu;
	clock_set_kvm(v);
	return sregs_set(fd, c, err) && regs_set(fd, c, err) && xsave_set(v, err) &&
	       msrs_set(v, err) && lapic_set(v, err) && events_set(v, err) && debug_set(fd, c, err) &&
	       run_state_set(fd, c, err);
}
