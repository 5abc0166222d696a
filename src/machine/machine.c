/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine: built, started, reset, ended (contract in machine.h). */
#include "machine/machine.h"

#include <stdio.h>

#include "device/board.h"
#include "machine/debug.h"
#include "machine/trouble.h"
#include "engine/lapic.h"

static const struct engine_ops *const engines[] = { &engine_interp, &engine_jit, &engine_kvm };

static const struct engine_ops *engine_find(const char *name, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return error_null(err, 0, "unknown engine '%s'; known are: kvm, jit, interp", name);
}

static void lock_board(void *m) { board_lock(m); }
static void unlock_board(void *m) { board_unlock(m); }

static void memory_changed(void *opaque)
{
	struct machine *m = opaque;
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_request(m->vcpus[i], REQ_TLB);
}

static bool add_ram(struct machine *m, struct error *err)
{
	uint64_t size = m->config->memory, low = MIN(size, BOARD_LOW_RAM_MAX);
	uint64_t offset = 0, saved = size;
	int fd = m->config->state_fd;
	if (fd >= 0 && !machine_state_ram(fd, &offset, &saved, err))
		return false;
	if (saved != size)
		return error_set(err, 0, "the state file holds %llu MiB of memory and the machine has %llu",
				 (unsigned long long)(saved / MiB), (unsigned long long)(size / MiB));
	m->ram_low = memory_add_ram(m->memory, "ram-low", 0, low, 0, false, fd, offset, err);
	if (!m->ram_low)
		return false;
	if (size > low)
		m->ram_high = memory_add_ram(m->memory, "ram-high", BOARD_HIGH_RAM, size - low, 0,
					     false, fd, offset + low, err);
	return size == low || m->ram_high;
}

static bool add_memory(struct machine *m, struct error *err)
{
	m->memory = memory_new(BIT(m->model->phys_bits) - 1);
	m->ports = memory_new(0xffff);
	memory_set_lock(m->memory, lock_board, unlock_board, m);
	memory_set_lock(m->ports, lock_board, unlock_board, m);
	if (m->engine->huge_pages)
		memory_use_huge_pages(m->memory, m->config->pagemap_fd);
	if (!add_ram(m, err))
		return false;
	memory_on_change(m->memory, memory_changed, m);
	return true;
}

static void timer_fired(void *vcpu) { lapic_timer_fired(vcpu); }

static void add_vcpu(struct machine *m, unsigned index)
{
	struct vcpu *v = vcpu_alloc(m->engine);
	v->index = index;
	v->machine = m;
	v->model = m->model;
	v->memory = m->memory;
	v->ports = m->ports;
	v->cpu.lapic.id = index;
	clock_timer_init(&v->apic_timer, m->clock, timer_fired, v);
	m->vcpus[m->nvcpus++] = v;
}

static void init_locks(struct machine *m)
{
	pthread_mutex_init(&m->board, NULL);
	pthread_mutex_init(&m->control, NULL);
	pthread_mutex_init(&m->quiesce_lock, NULL);
	pthread_cond_init(&m->quiesce_cond, NULL);
}

static bool build(struct machine *m, struct error *err)
{
	const struct machine_config *c = m->config;
	if (!(m->model = x86_model_find(c->cpu, err)) ||
	    !(m->engine = engine_find(c->engine, err)) ||
	    (m->engine != &engine_kvm && !m->engine->model_ok(m->model, err)) ||   /* kvm: vm_create */
	    !(m->loop = loop_new(err)) ||
	    !(m->clock = clock_new(m->loop, err)) ||
	    !add_memory(m, err))
		return false;
	m->vcpus = xcalloc(c->vcpus, sizeof(*m->vcpus));
	for (unsigned i = 0; i < c->vcpus; i++)
		add_vcpu(m, i);
	if (!m->engine->vm_create(m, err) || !board_create(m, err))
		return false;
	trouble_watch(m);
	return c->gdb_fd < 0 || debug_serve(m, c->gdb_fd, err);
}

struct machine *machine_build(const struct machine_config *c, struct error *err)
{
	if (c->vcpus < 1 || c->vcpus > MACHINE_MAX_VCPUS)
		return error_null(err, 0, "a machine has 1 to %d vCPUs, not %u", MACHINE_MAX_VCPUS, c->vcpus);
	struct machine *m = xnew(struct machine);
	m->config = c;
	init_locks(m);
	if (!build(m, err)) {
		machine_free(m);
		return NULL;
	}
	return m;
}

void machine_free_devices(struct machine *m)
{
	for (struct device *d = m->devices, *next; d; d = next) {
		next = d->next;
		if (d->ops->destroy)
			d->ops->destroy(d);
	}
	m->devices = NULL;
}

void machine_free(struct machine *m)
{
	machine_free_devices(m);
	board_free(m);
	if (m->nvcpus && m->engine && m->engine->vm_destroy)
		m->engine->vm_destroy(m);
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_free(m->vcpus[i]);
	free(m->vcpus);
	clock_free(m->clock);
	loop_free(m->loop);
	memory_free(m->ports);
	memory_free(m->memory);
	free(m->definition);
	free(m);
}

void device_add(struct machine *m, struct device *d, const struct device_ops *ops, const char *id)
{
	struct device **p = &m->devices;
	while (*p)
		p = &(*p)->next;
	d->ops = ops;
	d->machine = m;
	d->next = NULL;
	snprintf(d->id, sizeof(d->id), "%s", id);
	*p = d;
}

/* vCPUs stand still, board lock held. */
static bool power_on(struct machine *m, struct error *err)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct vcpu *v = m->vcpus[i];
		x86_cpu_reset(&v->cpu, m->model, false);
		lapic_reset(v, false);
		v->cpu.activity = i ? CPU_WAIT_SIPI : CPU_RUNNING;
	}
	for (struct device *d = m->devices; d; d = d->next)
		if (d->ops->reset)
			d->ops->reset(d);
	memory_set_a20(m->memory, true);
	if (!board_boot(m, err))
		return false;
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_request(m->vcpus[i], REQ_TLB | REQ_INTERRUPT);
	return true;
}

static void go_on(struct machine *m)
{
	clock_resume(m->clock);
	if (m->engine->time_goes_on)
		m->engine->time_goes_on(m);
}

bool machine_start(struct machine *m, struct error *err)
{
	board_lock(m);
	bool ok = m->config->state_fd >= 0 ? machine_load(m, err) : power_on(m, err);
	board_unlock(m);
	if (!ok || !vcpus_start(m, err))
		return false;
	go_on(m);
	vcpus_release(m);
	return true;
}

enum machine_end machine_wait(struct machine *m)
{
	loop_run(m->loop);
	vcpus_join(m);
	board_end(m);
	clock_pause(m->clock);
	return (enum machine_end)m->end;
}

void machine_end_request(struct machine *m, enum machine_end why, int status)
{
	int none = END_NONE;
	if (atomic_compare_exchange_strong(&m->end, &none, why))
		m->end_status = status;
	loop_stop(m->loop);
}

static void do_reset(void *opaque)
{
	struct machine *m = opaque;
	struct error err;
	vcpus_quiesce(m);
	board_lock(m);
	bool ok = power_on(m, &err);
	for (unsigned i = 0; ok && i < m->nvcpus; i++)
		m->engine->state_set(m->vcpus[i]);
	board_unlock(m);
	if (!ok) {
		m->error = err;
		machine_end_request(m, END_ERROR, 1);
	}
	vcpus_release(m);
}

void machine_reset_request(struct machine *m)
{
	if (m->config->reboot_exits)
		machine_end_request(m, END_RESET, 0);
	else
		loop_post(m->loop, do_reset, m);
}

void machine_power_button(struct machine *m)
{
	board_lock(m);
	board_power_button(m);
	board_unlock(m);
}

void machine_pause(struct machine *m)
{
	pthread_mutex_lock(&m->control);
	if (!m->paused) {
		vcpus_quiesce(m);
		clock_pause(m->clock);
		if (m->engine->time_stopped)
			m->engine->time_stopped(m);
		m->paused = true;
	}
	pthread_mutex_unlock(&m->control);
}

void machine_unpause(struct machine *m)
{
	pthread_mutex_lock(&m->control);
	if (m->paused) {
		go_on(m);
		m->paused = false;
		vcpus_release(m);
	}
	pthread_mutex_unlock(&m->control);
}

void machine_on_debug(struct machine *m, void (*fn)(void *, struct vcpu *), void *opaque)
{
	m->on_debug_opaque = opaque;
	m->on_debug = fn;
}
