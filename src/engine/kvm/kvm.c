/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Engine `kvm`: VM and vCPU life, and the table of its operations (kvm.h). */
#include "engine/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "machine/machine.h"

enum { KICK_SIGNAL = SIGUSR1, TSS_ADDR = 0xfffbd000u, IDENTITY_MAP = 0xfffbc000u };

static const struct engine_ops engine_kvm_user_apic;

/* A kick sets immediate_exit, then sends the signal: if that comes before KVM_RUN,
 * KVM_RUN returns at once, so no kick is lost. */
static void kicked(int sig) { }

static bool place_tables(struct kvm_vm *k, struct error *err)
{
	uint64_t identity = IDENTITY_MAP;
	if (kvm_ioctl(k->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) || ioctl(k->fd, KVM_SET_TSS_ADDR, TSS_ADDR))
		return error_set(err, errno, "KVM does not take a place for its own tables");
	return true;
}

static void catch_kicks(void)
{
	struct sigaction sa = { .sa_handler = kicked };
	sigaction(KICK_SIGNAL, &sa, NULL);
}

/* Devices and board then find engine/soft's local APICs. */
static void use_soft_apics(struct machine *m)
{
	m->engine = &engine_kvm_user_apic;
	for (unsigned i = 0; i < m->nvcpus; i++)
		m->vcpus[i]->engine = m->engine;
}

static bool kvm_vm_create(struct machine *m, struct error *err)
{
	enum kvm_apic asked;
	if (!kvm_options(m->config->engine_options, &asked, err))
		return false;
	struct kvm_vm *k = xnew(struct kvm_vm);
	m->engine_data = k;
	k->machine = m;
	k->fd = -1;
	pthread_mutex_init(&k->lock, NULL);
	/* The jailed process has it from its keeper. */
	k->dev = m->config->kvm_fd >= 0 ? fcntl(m->config->kvm_fd, F_DUPFD_CLOEXEC, 3) : kvm_open_device(err);
	if (k->dev < 0 || !kvm_model_ok(k->dev, m->model, err))
		return false;
	if ((k->fd = ioctl(k->dev, KVM_CREATE_VM, 0)) < 0)
		return error_set(err, errno, "KVM cannot create a machine");
	if (!place_tables(k, err) || !kvm_create_apics(k, asked, err))
		return false;
	if (k->apic == KVM_APIC_USER)
		use_soft_apics(m);
	if (m->config->viewer_fd >= 0)        /* nobody else logs */
		kvm_rings_enable(k);
	/* Only where a hypervisor is underneath: the check costs a millisecond. */
	uint32_t a, b, c, d;
	__cpuid(1, a, b, c, d);
	k->loses_xsetbv = c >> 31 && kvm_loses_xsetbv(k->dev);
	kvm_choose_tsc(m);
	k->run_size = (size_t)ioctl(k->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	catch_kicks();
	k->bells_any_size = ioctl(k->dev, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
	struct memory_hooks hooks = { .opaque = k, .log_dirty = kvm_log_dirty, .collect_dirty = kvm_collect_dirty,
				      .rings = ioctl(k->dev, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) > 0 };
	memory_set_hooks(m->memory, &hooks);
	memory_on_change(m->memory, kvm_slots_update, k);
	return true;
}

static void kvm_vm_destroy(struct machine *m)
{
	struct kvm_vm *k = m->engine_data;
	struct memory_hooks none = { 0 };
	if (!k)
		return;
	memory_set_hooks(m->memory, &none);
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
	if (!c->vm->tsc_exact)
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
	if (!kvm_ring_map(c, err))
		return false;
	/* as many machine-check banks as under the other engines (IA32_MCG_CAP) */
	uint64_t mcg_cap = 1 << 8 | ARRAY_SIZE(v->cpu.mc_bank);
	if (kvm_ioctl(c->fd, KVM_X86_SETUP_MCE, &mcg_cap))
		return error_set(err, errno, "KVM does not take the machine-check banks of the CPU model");
	return set_tsc(c, v->model, err) && kvm_set_cpuid(v, err);
}

static void kvm_vcpu_destroy(struct vcpu *v)
{
	struct kvm_vcpu *c = v->engine_data;
	if (!c)
		return;
	v->engine_data = NULL;
	kvm_ring_unmap(c);
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
	if (!pthread_equal(v->thread, pthread_self()))       /* its own local APIC's: not in KVM_RUN */
		pthread_kill(v->thread, KICK_SIGNAL);
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

#define OPS \
	.name = "kvm", .huge_pages = true, \
	.options_ok = kvm_options_ok, .probe = kvm_probe, .model_ok = kvm_model_fits, \
	.vm_create = kvm_vm_create, .vm_destroy = kvm_vm_destroy, \
	.vcpu_create = kvm_vcpu_create, .vcpu_destroy = kvm_vcpu_destroy, \
	.run = kvm_run_vcpu, .kick = kvm_kick, .state_get = kvm_get, .state_set = kvm_set, \
	.time_stopped = kvm_time_stopped, .time_goes_on = kvm_time_goes_on, .stats = kvm_stats

const struct engine_ops engine_kvm = { OPS, .interrupt = kvm_interrupt, .route = kvm_route };
static const struct engine_ops engine_kvm_user_apic = { OPS };
