/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Engine `kvm`: VM and vCPU life, the run loop, exits by name (kvm.h). */
#include "engine/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "device/board.h"
#include "machine/machine.h"
#include "x86/lapic.h"

enum { KICK_SIGNAL = SIGUSR1, TSS_ADDR = 0xfffbd000u, IDENTITY_MAP = 0xfffbc000u };

/* A kick sets immediate_exit, then sends the signal: if that comes before KVM_RUN,
 * KVM_RUN returns at once, so no kick is lost. */
static void kicked(int sig) { }

static bool need(int dev, int cap, const char *what, struct error *err)
{
	return ioctl(dev, KVM_CHECK_EXTENSION, cap) > 0 ||
	       error_set(err, 0, "this host's KVM lacks %s: use --engine jit or a newer kernel", what);
}

static bool check_caps(struct kvm_vm *k, struct error *err)
{
	k->tsc_scaling = ioctl(k->dev, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;
	return need(k->dev, KVM_CAP_USER_MEMORY, "user memory", err) &&
	       need(k->dev, KVM_CAP_IMMEDIATE_EXIT, "immediate exit", err) &&
	       need(k->dev, KVM_CAP_SIGNAL_MSI, "message-signalled interrupts", err) &&
	       need(k->dev, KVM_CAP_SPLIT_IRQCHIP, "the split interrupt controller", err) &&
	       need(k->dev, KVM_CAP_XSAVE, "XSAVE", err) &&
	       need(k->dev, KVM_CAP_READONLY_MEM, "read-only memory", err);
}

static bool enable_irqchip(struct kvm_vm *k, struct error *err)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { KVM_IOAPIC_PINS } };
	struct kvm_enable_cap x2 = { .cap = KVM_CAP_X2APIC_API,
				     .args = { KVM_X2APIC_API_USE_32BIT_IDS |
					       KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };
	uint64_t identity = IDENTITY_MAP;
	if (kvm_ioctl(k->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
	    ioctl(k->fd, KVM_SET_TSS_ADDR, TSS_ADDR) ||
	    kvm_ioctl(k->fd, KVM_ENABLE_CAP, &split) || kvm_ioctl(k->fd, KVM_ENABLE_CAP, &x2))
		return error_set(err, errno, "KVM cannot create its interrupt controllers");
	return true;
}

static void catch_kicks(void)
{
	struct sigaction sa = { .sa_handler = kicked };
	sigaction(KICK_SIGNAL, &sa, NULL);
}

static bool kvm_vm_create(struct machine *m, struct error *err)
{
	struct kvm_vm *k = xnew(struct kvm_vm);
	m->engine_data = k;
	k->machine = m;
	k->fd = -1;
	pthread_mutex_init(&k->lock, NULL);
	/* The jailed process has it from its keeper. */
	k->dev = m->config->kvm_fd >= 0 ? fcntl(m->config->kvm_fd, F_DUPFD_CLOEXEC, 3) : kvm_open_device(err);
	if (k->dev < 0 || !check_caps(k, err) || !kvm_model_ok(k, m->model, err))
		return false;
	if ((k->fd = ioctl(k->dev, KVM_CREATE_VM, 0)) < 0)
		return error_set(err, errno, "KVM cannot create a machine");
	if (!enable_irqchip(k, err))
		return false;
	/* Only where a hypervisor is underneath: the check costs a millisecond. */
	uint32_t a, b, c, d;
	__cpuid(1, a, b, c, d);
	k->loses_xsetbv = c >> 31 && kvm_loses_xsetbv(k->dev);
	int khz = ioctl(k->fd, KVM_GET_TSC_KHZ, 0);
	k->host_tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	k->run_size = (size_t)ioctl(k->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	catch_kicks();
	memory_on_change(m->memory, kvm_slots_update, k);
	return true;
}

static void kvm_vm_destroy(struct machine *m)
{
	struct kvm_vm *k = m->engine_data;
	if (!k)
		return;
	if (k->fd >= 0)
		close(k->fd);
	if (k->dev >= 0)
		close(k->dev);
	pthread_mutex_destroy(&k->lock);
	free(k);
	m->engine_data = NULL;
}

static bool set_tsc(struct kvm_vcpu *c, const struct x86_model *model, struct error *err)
{
	if (!c->vm->tsc_scaling || !model->tsc_khz)
		return true;
	if (ioctl(c->fd, KVM_SET_TSC_KHZ, model->tsc_khz))
		return error_set(err, errno, "KVM cannot run the TSC at %u kHz", model->tsc_khz);
	return true;
}

static bool kvm_vcpu_create(struct vcpu *v, struct error *err)
{
	struct kvm_vm *k = v->machine->engine_data;
	struct kvm_vcpu *c = xnew(struct kvm_vcpu);
	v->engine_data = c;
	c->vm = k;
	c->fd = ioctl(k->fd, KVM_CREATE_VCPU, (unsigned long)v->index);
	if (c->fd < 0)
		return error_set(err, errno, "KVM cannot create vCPU %u", v->index);
	c->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED)
		return error_set(err, errno, "cannot map vCPU %u of KVM", v->index);
	return set_tsc(c, v->model, err) && kvm_set_cpuid(v, err);
}

static void kvm_vcpu_destroy(struct vcpu *v)
{
	struct kvm_vcpu *c = v->engine_data;
	if (!c)
		return;
	v->engine_data = NULL;
	munmap(c->run, c->vm->run_size);
	close(c->fd);
	free(c);
}

static void kvm_kick(struct vcpu *v)
{
	struct kvm_vcpu *c = v->engine_data;
	if (!c)
		return;
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, KICK_SIGNAL);
}

/* --- exits ---------------------------------------------------------------- */

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
	if (r->mmio.is_write)
		memory_write(v->memory, r->mmio.phys_addr, r->mmio.data, MIN(r->mmio.len, 8u));
	else
		memory_read(v->memory, r->mmio.phys_addr, r->mmio.data, MIN(r->mmio.len, 8u));
}

static const char *exit_name(uint32_t reason)
{
	static const char *const names[] = {
#define N(x) [KVM_EXIT_##x] = #x
		N(UNKNOWN), N(EXCEPTION), N(IO), N(HYPERCALL), N(DEBUG), N(HLT), N(MMIO),
		N(IRQ_WINDOW_OPEN), N(SHUTDOWN), N(FAIL_ENTRY), N(INTR), N(SET_TPR), N(TPR_ACCESS),
		N(NMI), N(INTERNAL_ERROR), N(SYSTEM_EVENT), N(IOAPIC_EOI), N(X86_RDMSR), N(X86_WRMSR),
#undef N
	};
	return reason < ARRAY_SIZE(names) && names[reason] ? names[reason] : "unknown";
}

static void log_registers(struct vcpu *v)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	if (kvm_ioctl(kvm_of(v)->fd, KVM_GET_REGS, &r) || kvm_ioctl(kvm_of(v)->fd, KVM_GET_SREGS, &s))
		return;
	log_error("vCPU %u: rip %llx rsp %llx rflags %llx rax %llx rbx %llx rcx %llx rdx %llx", v->index,
		  r.rip, r.rsp, r.rflags, r.rax, r.rbx, r.rcx, r.rdx);
	log_error("vCPU %u: cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx cs %x base %llx", v->index,
		  s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.cs.selector, s.cs.base);
}

static enum vcpu_exit give_up(struct vcpu *v, const char *what, uint64_t detail)
{
	log_registers(v);
	error_set(&v->error, 0, "KVM stopped vCPU %u: %s (%llu); its registers are in the log; "
		  "the engine jit does not depend on KVM", v->index, what, (unsigned long long)detail);
	return EXIT_ERROR;
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
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		c->exits_interrupt_window++;
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		c->exits_eoi++;
		board_eoi(v->machine, r->eoi.vector);
		return true;
	case KVM_EXIT_INTR:
		c->exits_signal++;
		return true;
	case KVM_EXIT_HLT:
		c->exits_halt++;
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
		*why = give_up(v, "an internal error of KVM", r->internal.suberror);
		return false;
	}
	c->exits_other++;
	*why = give_up(v, exit_name(r->exit_reason), r->exit_reason);
	return false;
}

/* The 8259's interrupt enters here: the kernel has no PIC of its own. */
static void offer_extint(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_of(v);
	struct kvm_run *r = c->run;
	r->request_interrupt_window = 0;
	if (v->index || !board_extint_pending(v->machine))
		return;
	if (!r->ready_for_interrupt_injection) {
		r->request_interrupt_window = 1;
		return;
	}
	int vector = board_extint_ack(v->machine);
	struct kvm_interrupt i = { .irq = (uint32_t)vector };
	if (vector >= 0)
		kvm_ioctl(c->fd, KVM_INTERRUPT, &i);
	r->request_interrupt_window = board_extint_pending(v->machine);
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

static enum vcpu_exit kvm_run_vcpu(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_of(v);
	enum vcpu_exit why = EXIT_STOP;
	set_debug(v);
	do {
		__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		uint32_t req = atomic_load(&v->requests);
		if (req & REQ_STOP)
			return EXIT_STOP;
		atomic_fetch_and(&v->requests, ~(uint32_t)(REQ_INTERRUPT | REQ_TLB | REQ_WORK | REQ_NMI | REQ_INIT | REQ_SIPI));
		offer_extint(v);
		if (ioctl(c->fd, KVM_RUN, 0) < 0) {
			if (errno != EINTR && errno != EAGAIN)
				return give_up(v, strerror(errno), (uint64_t)errno);
			c->exits_signal++;
			continue;
		}
	} while (handle(v, &why));
	return why;
}

static void kvm_get(struct vcpu *v)
{
	struct error err;
	if (v->engine_data && !kvm_state_get(v, &err))
		log_error("%s", err.text);
}

static void kvm_set(struct vcpu *v)
{
	struct error err;
	if (v->engine_data && !kvm_state_set(v, &err)) {
		v->error = err;
		v->machine->error = err;
		machine_end_request(v->machine, END_ERROR, 1);
	}
}

static void kvm_stats(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque)
{
	struct kvm_vcpu sum = { 0 };
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct kvm_vcpu *c = kvm_of(m->vcpus[i]);
#define X(name) if (c) sum.exits_##name += c->exits_##name;
		KVM_EXITS(X)
#undef X
	}
#define X(name) put(opaque, "exits-" #name, sum.exits_##name);
	KVM_EXITS(X)
#undef X
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.probe = kvm_probe,
	.vm_create = kvm_vm_create,
	.vm_destroy = kvm_vm_destroy,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_destroy = kvm_vcpu_destroy,
	.run = kvm_run_vcpu,
	.kick = kvm_kick,
	.state_get = kvm_get,
	.state_set = kvm_set,
	.interrupt = kvm_interrupt,
	.route = kvm_route,
	.stats = kvm_stats,
};
