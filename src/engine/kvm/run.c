/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Engine `kvm`: the run loop of a vCPU, and its exits by name (kvm.h). */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/log.h"
#include "engine/lapic.h"
#include "machine/machine.h"

enum { STORM = 200000, STORM_SECONDS = 10 };   /* entries cut short, without a request */

static void exit_pio(struct vcpu *v, struct kvm_run *r)
{
	uint8_t *p = (uint8_t *)r + r->io.data_offset;
	for (uint32_t i = 0; i < r->io.count; i++, p += r->io.size) {
		uint64_t value = 0;
		if (r->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, p, r->io.size);
			memory_store(v->ports, r->io.port, value, r->io.size);
		} else {
			value = memory_load(v->ports, r->io.port, r->io.size);
			memcpy(p, &value, r->io.size);
		}
	}
}

static void exit_mmio(struct vcpu *v, struct kvm_run *r)
{
	if (kvm_user_apic(v) && kvm_apic_mmio(v))
		return;
	if (r->mmio.is_write)
		memory_write(v->memory, r->mmio.phys_addr, r->mmio.data, MIN(r->mmio.len, 8u));
	else
		memory_read(v->memory, r->mmio.phys_addr, r->mmio.data, MIN(r->mmio.len, 8u));
}

#define NAMES(X) \
	X(UNKNOWN) X(EXCEPTION) X(IO) X(HYPERCALL) X(DEBUG) X(HLT) X(MMIO) X(IRQ_WINDOW_OPEN) \
	X(SHUTDOWN) X(FAIL_ENTRY) X(INTR) X(SET_TPR) X(TPR_ACCESS) X(NMI) X(INTERNAL_ERROR) \
	X(SYSTEM_EVENT) X(IOAPIC_EOI) X(HYPERV) X(X86_RDMSR) X(X86_WRMSR) X(DIRTY_RING_FULL) \
	X(X86_BUS_LOCK) X(XEN) X(NOTIFY)

static const char *exit_name(uint32_t reason)
{
	static const char *const names[] = {
#define X(x) [KVM_EXIT_##x] = #x,
		NAMES(X)
#undef X
	};
	return reason < ARRAY_SIZE(names) && names[reason] ? names[reason] : "an exit this program does not know";
}

static bool log_registers(struct vcpu *v)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_REGS, &r) || kvm_ioctl(kvm_of(v)->fd, KVM_GET_SREGS, &s)) {
		log_error("vCPU %u: KVM does not give its registers: %s", v->index, strerror(errno));
		return false;
	}
	log_error("vCPU %u: rip %llx rsp %llx rflags %llx rax %llx rbx %llx rcx %llx rdx %llx", v->index,
		  r.rip, r.rsp, r.rflags, r.rax, r.rbx, r.rcx, r.rdx);
	log_error("vCPU %u: cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx cs %x base %llx", v->index,
		  s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.cs.selector, s.cs.base);
	return true;
}

static enum vcpu_exit give_up(struct vcpu *v, const char *what, uint64_t detail)
{
	bool told = log_registers(v);
	error_set(&v->error, 0, "KVM stopped vCPU %u: %s (%llu); its registers are %s; "
		  "the engine jit does not depend on KVM", v->index, what, (unsigned long long)detail,
		  told ? "in the log" : "lost with it");
	return EXIT_ERROR;
}

static void log_internal(struct vcpu *v, const struct kvm_run *r)
{
	char data[16 * 18 + 1] = "";
	for (unsigned i = 0, n = 0; i < MIN(r->internal.ndata, 16u); i++)
		n += (unsigned)snprintf(data + n, sizeof(data) - n, " %llx", r->internal.data[i]);
	log_error("vCPU %u: internal error %u of KVM, its data:%s", v->index, r->internal.suberror, data);
}

static enum vcpu_exit exit_debug(struct vcpu *v, const struct kvm_run *r)
{
	v->debug.hit = true;
	v->debug.hit_kind = v->debug.single_step ? 0 : 1;
	v->debug.hit_addr = r->debug.arch.pc;
	return EXIT_DEBUG;
}

/* True: the run goes on. */
static bool handle(struct vcpu *v, enum vcpu_exit *why)
{
	struct kvm_vcpu *c = kvm_of(v);
	struct kvm_run *r = c->run;
	switch (r->exit_reason) {
	case KVM_EXIT_IO:
		c->exits_pio++;
		exit_pio(v, r);
		return true;
	case KVM_EXIT_MMIO:
		c->exits_mmio++;
		exit_mmio(v, r);
		return true;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		c->exits_msr++;
		kvm_apic_msr(v);
		return true;
	case KVM_EXIT_SET_TPR:        /* lowered: a vector may pass now */
		c->exits_other++;
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		c->exits_interrupt_window++;
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		c->exits_eoi++;
		lines_eoi(v->machine, r->eoi.vector);
		return true;
	case KVM_EXIT_DIRTY_RING_FULL:
		c->exits_other++;
		kvm_ring_full(c->vm);
		return true;
	case KVM_EXIT_INTR:
		c->exits_signal++;
		return true;
	case KVM_EXIT_HLT:
		c->exits_halt++;
		if (kvm_user_apic(v))
			kvm_apic_halt(v);
		return true;
	case KVM_EXIT_SHUTDOWN:
		*why = EXIT_SHUTDOWN;
		return false;
	case KVM_EXIT_DEBUG:
		*why = exit_debug(v, r);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		*why = give_up(v, "the hardware refused the entry", r->fail_entry.hardware_entry_failure_reason);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		log_internal(v, r);
		*why = give_up(v, "an internal error of KVM", r->internal.suberror);
		return false;
	}
	c->exits_other++;
	*why = give_up(v, exit_name(r->exit_reason), r->exit_reason);
	return false;
}

/* What KVM's own local APICs, if it has them, do not know of: the 8259's interrupt, for the
 * first vCPU. */
static bool has_vector(const struct vcpu *v)
{
	return kvm_user_apic(v) ? lapic_has_vector(v) : !v->index && extint_pending(v->machine);
}

static int take_vector(struct vcpu *v)
{
	return kvm_user_apic(v) ? lapic_take_vector(v) : extint_ack(v->machine);
}

static void offer_vector(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_of(v);
	struct kvm_run *r = c->run;
	r->request_interrupt_window = 0;
	if (!has_vector(v))
		return;
	if (!r->ready_for_interrupt_injection) {
		r->request_interrupt_window = 1;
		return;
	}
	int vector = take_vector(v);
	struct kvm_interrupt i = { .irq = (uint32_t)vector };
	if (vector >= 0)
		kvm_ioctl(c->fd, KVM_INTERRUPT, &i);
	r->request_interrupt_window = has_vector(v);
}

static void set_debug(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_of(v);
	struct kvm_guest_debug g = { 0 };
	bool on = v->debug.single_step || v->debug.count;
	if (!on && !c->debugging)
		return;
	if (on)
		g.control = KVM_GUESTDBG_ENABLE | (v->debug.single_step ? KVM_GUESTDBG_SINGLESTEP : 0);
	for (unsigned i = 0; i < MIN(v->debug.count, 4u); i++) {
		static const uint64_t rw[] = { 0, 0, 1, 3, 3 };
		uint64_t len = v->debug.point[i].len;
		uint64_t code = v->debug.point[i].kind == 1 || len <= 1 ? 0 : len <= 2 ? 1 : len <= 4 ? 3 : 2;
		g.control |= KVM_GUESTDBG_USE_HW_BP;
		g.arch.debugreg[i] = v->debug.point[i].addr;
		g.arch.debugreg[7] |= 2ull << (i * 2) | (rw[v->debug.point[i].kind] | code << 2) << (16 + i * 4);
	}
	c->debugging = on;
	kvm_ioctl(c->fd, KVM_SET_GUEST_DEBUG, &g);
}

/* Kicks come with a request. What interrupts a vCPU over and over without one
 * would keep its thread busy for ever: said, not suffered. */
static bool storm(struct vcpu *v, uint32_t requests)
{
	struct kvm_vcpu *c = kvm_of(v);
	struct timespec now;
	c->exits_signal++;
	if (requests)
		c->interrupted = 0;
	if (c->interrupted++ % STORM)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	bool fast = c->interrupted > 1 && now.tv_sec - c->interrupted_since < STORM_SECONDS;
	c->interrupted_since = now.tv_sec;
	return fast;
}

/* Entered once more, such an exit is whole (api.rst, "The kvm_run structure"). */
static bool is_halfway(const struct kvm_run *r)
{
	return r->exit_reason == KVM_EXIT_IO || r->exit_reason == KVM_EXIT_MMIO ||
	       r->exit_reason == KVM_EXIT_X86_RDMSR || r->exit_reason == KVM_EXIT_X86_WRMSR;
}

/* One KVM_RUN; its result. */
static int enter(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_of(v);
	if (!kvm_user_apic(v))
		return ioctl(c->fd, KVM_RUN, 0);
	c->run->cr8 = v->cpu.lapic.tpr >> 4;
	int result = ioctl(c->fd, KVM_RUN, 0), saved = errno;
	kvm_apic_left(v);
	errno = saved;
	return result;
}

/*
 * Once around: enter the guest until it comes out. What an exit has left half done is
 * completed with immediate_exit set before the vCPU may stop, or take an INIT.
 */
enum vcpu_exit kvm_run_vcpu(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_of(v);
	enum vcpu_exit why = EXIT_STOP;
	bool halfway = false;
	set_debug(v);
	for (;;) {
		__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		uint32_t req = atomic_load(&v->requests);
		if ((req & REQ_STOP) && !halfway)
			return EXIT_STOP;
		atomic_fetch_and(&v->requests, ~(uint32_t)(REQ_INTERRUPT | REQ_TLB | REQ_WORK | REQ_NMI | REQ_INIT | REQ_SIPI));
		if (halfway && ((req & REQ_STOP) || (kvm_user_apic(v) && lapic_startup_pending(v))))
			c->run->immediate_exit = 1;
		else if (kvm_user_apic(v) && !kvm_apic_enter(v, &why))
			return why;
		else
			offer_vector(v);
		if (enter(v) == 0) {
			c->interrupted = 0;
			halfway = is_halfway(c->run);
			if (!handle(v, &why))
				return why;
			continue;
		}
		if (errno != EINTR && errno != EAGAIN)
			return give_up(v, strerror(errno), (uint64_t)errno);
		halfway = false;
		if (storm(v, req | atomic_load(&v->requests)))
			return give_up(v, "signals interrupt it without end", c->interrupted);
	}
}
