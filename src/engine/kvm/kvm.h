/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Engine `kvm`: the CPU's own virtualization through /dev/kvm (Linux:
 * Documentation/virt/kvm/api.rst).  Local APICs are the kernel's (split
 * irqchip), or where it has none, or `--engine kvm,apic=user` says so, those of
 * engine/soft; I/O APIC, 8259 and 8254 stay the board's own devices, so that no
 * second copy of their state exists.
 */
#ifndef ENGINE_KVM_KVM_H
#define ENGINE_KVM_KVM_H

#include <linux/kvm.h>
#include <time.h>
#include "engine/engine.h"

enum { KVM_MAX_SLOTS = 64, KVM_MAX_BELLS = 128, KVM_IOAPIC_PINS = 24 };

struct kvm_slot { uint64_t gpa, size, host; struct ram_slot *ram; bool readonly, used; };
struct kvm_bell { uint64_t gpa; uint32_t size, value; int fd; };

/* Whose the local APICs are. */
enum kvm_apic { KVM_APIC_ANY, KVM_APIC_KERNEL, KVM_APIC_USER };

#define KVM_EXITS(X) X(pio) X(mmio) X(msr) X(interrupt_window) X(signal) X(eoi) X(halt) X(other)

struct kvm_vm {
	int dev, fd;
	enum kvm_apic apic;               /* once there is a machine: not ANY */
	size_t run_size;
	bool tsc_exact;                   /* it runs at the rate of the CPU model */
	bool loses_xsetbv;
	pthread_mutex_t lock;             /* slots, bells, routes */
	struct kvm_slot slot[KVM_MAX_SLOTS];
	struct kvm_bell bell[KVM_MAX_BELLS];
	unsigned nbells;
	bool bells_any_size;              /* KVM_CAP_IOEVENTFD_ANY_LENGTH */
	struct kvm_irq_routing_entry route[KVM_IOAPIC_PINS];
	size_t ring_size;                 /* of a vCPU's dirty ring in bytes; 0: bitmaps */
	struct machine *machine;
};

struct kvm_vcpu {
	int fd;
	struct kvm_dirty_gfn *ring;
	uint32_t ring_next;               /* the first entry that is not harvested; k->lock */
	struct kvm_run *run;
	struct kvm_vm *vm;
	bool debugging;
	uint64_t interrupted;             /* entries cut short in a row, without a request */
	time_t interrupted_since;
#define X(name) uint64_t exits_##name;
	KVM_EXITS(X)
#undef X
};

static inline struct kvm_vcpu *kvm_of(const struct vcpu *v) { return v->engine_data; }
static inline bool kvm_user_apic(const struct vcpu *v) { return kvm_of(v)->vm->apic == KVM_APIC_USER; }

/* ioctl that goes on after EINTR; -1 with errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* kvm/probe.c: the steps until a vCPU has run real, protected and long mode. */
bool kvm_probe(struct error *err);
int kvm_open_device(struct error *err);
/* QEMU's emulated AMD-V does not intercept XSETBV: its KVM never learns the guest's
 * XCR0 and puts the old one back at the next entry. */
bool kvm_loses_xsetbv(int dev);
/* kvm/slots.c: make KVM's memory slots equal to the machine's view. */
void kvm_slots_update(void *vm);
/* kvm/bells.c: the same for the bells of its I/O regions; k->lock is held. */
void kvm_bells_update(struct kvm_vm *k);
/* Hooks of the dirty log (memory/memory.h). */
void kvm_log_dirty(void *vm, const struct ram_slot *ram);
void kvm_collect_dirty(void *vm, struct ram_slot *ram);
/* Page number `page` of memory slot n was written; k->lock is held. */
void kvm_slot_written(struct kvm_vm *k, uint32_t n, uint64_t page);
/* kvm/ring.c: the log as rings, one a vCPU.  Before the first vCPU; where KVM has none, bitmaps. */
void kvm_rings_enable(struct kvm_vm *k);
bool kvm_ring_map(struct kvm_vcpu *c, struct error *err);
void kvm_ring_unmap(struct kvm_vcpu *c);
/* Empty them all; k->lock is held. */
void kvm_rings_harvest(struct kvm_vm *k);
void kvm_ring_full(struct kvm_vm *k);
/* kvm/choose.c: what follows the engine's name, and who has the local APICs. */
bool kvm_options(const char *words, enum kvm_apic *asked, struct error *err);
bool kvm_options_ok(const char *words, struct error *err);
/* Has this KVM all that is needed? *apic: what was asked for, then what it will be. */
bool kvm_check_caps(int dev, enum kvm_apic *apic, struct error *err);
/* Sets k->apic; before the first vCPU. */
bool kvm_create_apics(struct kvm_vm *k, enum kvm_apic asked, struct error *err);
/* kvm/apic.c: under KVM_APIC_USER.  Before KVM_RUN; false: not now, *why is run()'s answer. */
bool kvm_apic_enter(struct vcpu *v, enum vcpu_exit *why);
void kvm_apic_left(struct vcpu *v);         /* after KVM_RUN */
void kvm_apic_halt(struct vcpu *v);
bool kvm_apic_mmio(struct vcpu *v);         /* false: it was not for the APIC */
void kvm_apic_msr(struct vcpu *v);
/* kvm/irq.c */
void kvm_interrupt(struct machine *m, uint64_t addr, uint32_t data);
void kvm_route(struct machine *m, unsigned pin, uint64_t addr, uint32_t data, bool masked);
/* kvm/cpuid.c */
bool kvm_set_cpuid(struct vcpu *v, struct error *err);
bool kvm_model_ok(int dev, const struct x86_model *m, struct error *err);
bool kvm_model_fits(const struct x86_model *m, struct error *err);
/* kvm/run.c */
enum vcpu_exit kvm_run_vcpu(struct vcpu *v);
/* kvm/time.c */
void kvm_choose_tsc(struct machine *m);
bool kvm_time_get(struct vcpu *v, struct error *err);
bool kvm_time_set(struct vcpu *v, struct error *err);
void kvm_time_stopped(struct machine *m);
void kvm_time_goes_on(struct machine *m);
/* kvm/msr.c, kvm/lapic.c: parts of the state; one MSR by KVM_GET_MSRS or KVM_SET_MSRS. */
bool kvm_msr(struct vcpu *v, unsigned long request, uint32_t msr, uint64_t *value);
bool kvm_msrs_get(struct vcpu *v, struct error *err);
bool kvm_msrs_set(struct vcpu *v, struct error *err);
bool kvm_lapic_get(struct vcpu *v, struct error *err);
bool kvm_lapic_set(struct vcpu *v, struct error *err);
bool kvm_failed(struct error *err, const char *what);
/* kvm/state.c: the vCPU's own thread, or with the vCPU out of run().  The core: what INIT
 * and a start-up IPI change. */
bool kvm_core_get(struct vcpu *v, struct error *err);
bool kvm_core_set(struct vcpu *v, struct error *err);
bool kvm_state_get(struct vcpu *v, struct error *err);
bool kvm_state_set(struct vcpu *v, struct error *err);

#endif
