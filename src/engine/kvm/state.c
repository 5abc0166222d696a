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

bool kvm_failed(struct error *err, const char *what)
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
		return kvm_failed(err, "segment and control registers");
	segs_get(c, &s);
	c->cr0 = s.cr0;
	c->cr2 = s.cr2;
	c->cr3 = s.cr3;
	c->cr4 = s.cr4;
	c->efer = s.efer;
	c->lapic.base = s.apic_base;
	return true;
}

/* A PAE guest's four top entries, as MOV CR3 loaded them (SDM 3A 4.4.1): older
 * kernels do not tell, then they are read where CR3 points. */
static void pdptes_get(struct vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	struct kvm_sregs2 s;
	if (!(c->cr0 & CR0_PG) || !(c->cr4 & CR4_PAE) || (c->efer & EFER_LMA))
		return;
	if (!kvm_ioctl(kvm_of(v)->fd, KVM_GET_SREGS2, &s) && (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)) {
		memcpy(c->pdpte, s.pdptrs, sizeof(c->pdpte));
		return;
	}
	uint8_t b[32];
	memory_read(v->memory, c->cr3 & 0xffffffe0u, b, sizeof(b));
	for (unsigned i = 0; i < 4; i++)
		c->pdpte[i] = le64_get(b + i * 8);
}

static bool sregs_set(int fd, const struct x86_cpu *c, struct error *err)
{
	struct kvm_sregs s;
	if (kvm_ioctl(fd, KVM_GET_SREGS, &s))
		return kvm_failed(err, "segment and control registers");
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
		return kvm_failed(err, "segment and control registers");
	return true;
}

/* KVM's order of general registers: rax rbx rcx rdx rsi rdi rsp rbp r8... */
static const uint8_t gpr_order[8] = { RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP };

static bool regs_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_regs r;
	if (kvm_ioctl(fd, KVM_GET_REGS, &r))
		return kvm_failed(err, "general registers");
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
	return !kvm_ioctl(fd, KVM_SET_REGS, &r) || kvm_failed(err, "general registers");
}

/* --- FPU and vectors --------------------------------------------------------- */

static bool xsave_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_xsave x;
	struct kvm_xcrs xc;
	if (kvm_ioctl(fd, KVM_GET_XSAVE, &x))
		return kvm_failed(err, "the XSAVE area");
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
		return kvm_failed(err, "the XSAVE area");
	if (xc.xcrs[0].value != XFEATURE_X87 && kvm_ioctl(fd, KVM_SET_XCRS, &xc))
		return kvm_failed(err, "XCR0");
	return true;
}

/* --- events, debug registers, run state ------------------------------------------ */

/* An NMI that KVM was handed and could not deliver yet goes back to the local APIC, so
 * that there is one of it, whatever comes next. */
static bool nmi_back(struct vcpu *v, struct kvm_vcpu_events *e, struct error *err)
{
	e->flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	e->nmi.pending = 0;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_SET_VCPU_EVENTS, e))
		return kvm_failed(err, "pending events");
	atomic_store(&v->cpu.lapic.pending_nmi, 1);
	return true;
}

static bool events_get(struct vcpu *v, struct error *err)
{
	struct kvm_vcpu_events e;
	struct x86_cpu *c = &v->cpu;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_VCPU_EVENTS, &e))
		return kvm_failed(err, "pending events");
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
	if (kvm_user_apic(v))
		return !e.nmi.pending || nmi_back(v, &e, err);
	c->lapic.pending_nmi = e.nmi.pending;
	return true;
}

static bool events_set(struct vcpu *v, struct error *err)
{
	const struct x86_cpu *c = &v->cpu;
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW };
	const struct x86_event *x = &c->event;
	if (x->pending && (x->type == 3 || x->type == 6)) {
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
	e.nmi.pending = c->lapic.pending_nmi && !kvm_user_apic(v);
	return !kvm_ioctl(kvm_of(v)->fd, KVM_SET_VCPU_EVENTS, &e) || kvm_failed(err, "pending events");
}

static bool debug_get(int fd, struct x86_cpu *c, struct error *err)
{
	struct kvm_debugregs d;
	if (kvm_ioctl(fd, KVM_GET_DEBUGREGS, &d))
		return kvm_failed(err, "debug registers");
	memcpy(c->dr, d.db, sizeof(d.db));
	c->dr[6] = d.dr6;
	c->dr[7] = d.dr7;
	return true;
}

static bool debug_set(int fd, const struct x86_cpu *c, struct error *err)
{
	struct kvm_debugregs d = { .dr6 = c->dr[6], .dr7 = c->dr[7] };
	memcpy(d.db, c->dr, sizeof(d.db));
	return !kvm_ioctl(fd, KVM_SET_DEBUGREGS, &d) || kvm_failed(err, "debug registers");
}

static bool run_state_get(struct vcpu *v, struct error *err)
{
	struct kvm_mp_state s;
	struct x86_cpu *c = &v->cpu;
	if (kvm_user_apic(v))         /* KVM knows running ones only */
		return true;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_MP_STATE, &s))
		return kvm_failed(err, "the run state");
	c->activity = s.mp_state == KVM_MP_STATE_HALTED ? CPU_HALTED :
		      s.mp_state == KVM_MP_STATE_RUNNABLE ? CPU_RUNNING : CPU_WAIT_SIPI;
	return true;
}

static bool run_state_set(struct vcpu *v, struct error *err)
{
	const struct x86_cpu *c = &v->cpu;
	struct kvm_mp_state s = { .mp_state = c->activity == CPU_HALTED ? KVM_MP_STATE_HALTED :
				  c->activity == CPU_RUNNING ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED };
	return kvm_user_apic(v) || !kvm_ioctl(kvm_of(v)->fd, KVM_SET_MP_STATE, &s) || kvm_failed(err, "the run state");
}

bool kvm_core_get(struct vcpu *v, struct error *err)
{
	return sregs_get(kvm_of(v)->fd, &v->cpu, err) && regs_get(kvm_of(v)->fd, &v->cpu, err);
}

/* What the last exit said of interrupts is no longer so. */
static bool regs_all_set(struct vcpu *v, struct error *err)
{
	struct kvm_vcpu *c = kvm_of(v);
	c->run->ready_for_interrupt_injection = 0;
	return sregs_set(c->fd, &v->cpu, err) && regs_set(c->fd, &v->cpu, err);
}

bool kvm_core_set(struct vcpu *v, struct error *err)
{
	return regs_all_set(v, err) && events_set(v, err) && debug_set(kvm_of(v)->fd, &v->cpu, err);
}

bool kvm_state_get(struct vcpu *v, struct error *err)
{
	int fd = kvm_of(v)->fd;
	struct x86_cpu *c = &v->cpu;
	if (!kvm_core_get(v, err))
		return false;
	pdptes_get(v);
	return xsave_get(fd, c, err) && kvm_msrs_get(v, err) && kvm_time_get(v, err) && kvm_lapic_get(v, err) &&
	       events_get(v, err) && debug_get(fd, c, err) && run_state_get(v, err);
}

bool kvm_state_set(struct vcpu *v, struct error *err)
{
	return regs_all_set(v, err) && xsave_set(v, err) && kvm_time_set(v, err) && kvm_msrs_set(v, err) &&
	       kvm_lapic_set(v, err) && events_set(v, err) && debug_set(kvm_of(v)->fd, &v->cpu, err) &&
	       run_state_set(v, err);
}
