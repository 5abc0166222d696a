/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's verbs and its run loop.  The loop runs translated code until
 * something asks for attention (slow.c), deals with it, and goes on; debugging,
 * code outside of RAM and the instruction after STI are stepped through the
 * interpreter.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "base/epoch.h"
#include "engine/interp/sys.h"
#include "engine/jit/memo.h"
#include "engine/interp/operand.h"
#include "engine/interp/thunk.h"
#include "engine/jit/slow.h"
#include "engine/jit/verify.h"

static bool jit_probe(struct error *err)
{
	struct jit_vm *vm = xnew(struct jit_vm);      /* too large for a stack */
	bool ok = code_create(vm, CACHE_LEAST, err);
	code_destroy(vm);
	free(vm);
	return ok;
}

/* --- memory hooks: from any thread */

static __thread struct vcpu *self;      /* the vCPU of this thread, while in run() */

static void code_written(void *opaque, uint64_t gpa, size_t len)
{
	struct jit_vm *vm = opaque;

	if (self)
		jit_lock(self);
	else
		pthread_mutex_lock(&vm->lock);
	blocks_drop(self, vm, gpa, len);
	vm->owner = NULL;
	pthread_mutex_unlock(&vm->lock);
}

/* The translator flags pages with the lock held; a dirty log comes without it. */
static void pages_flagged(void *opaque, struct ram_slot *slot, uint64_t first, uint64_t count)
{
	struct jit_vm *vm = opaque;
	struct machine *m = vm->machine;
	bool locked = self && vm->owner == self;

	if (!locked && self)
		jit_lock(self);
	else if (!locked)
		pthread_mutex_lock(&vm->lock);
	jit_stop_others(vm, self);
	for (unsigned i = 0; i < m->nvcpus; i++)
		if (m->vcpus[i]->mmu)
			mmu_drop_writable(m->vcpus[i], slot, first, count);
	if (!locked && self)
		jit_unlock(self);
	else if (!locked)
		pthread_mutex_unlock(&vm->lock);
}

static bool jit_vm_create(struct machine *m, struct error *err)
{
	struct jit_vm *vm = xnew(struct jit_vm);
	unsigned id[4] = { 0 };

	vm->machine = m;
	m->engine_data = vm;
	__get_cpuid(1, &id[0], &id[1], &id[2], &id[3]);
	vm->lines = emit_lines_matter(id[0]);
	vm->bmi2 = __builtin_cpu_supports("bmi2");
	vm->avx = x86_has(m->model, FEAT_AVX) && __builtin_cpu_supports("avx");
	vm->pairs = returns_allowed();
	vm->guards = MIN(m->nvcpus, 2u);
	pthread_mutex_init(&vm->lock, NULL);
	vm->sites = xcalloc(MEMOS, sizeof(*vm->sites));
	if (!jit_options(vm, m->config ? m->config->engine_options : NULL, err) ||
	    !code_create(vm, vm->size, err) || !stubs_emit(vm, err))
		return false;
	memory_set_hooks(m->memory, &(struct memory_hooks) {
		.on_code_write = code_written, .on_flags_set = pages_flagged, .opaque = vm });
	return true;
}

static void jit_vm_destroy(struct machine *m)
{
	struct jit_vm *vm = m->engine_data;

	if (!vm)
		return;
	memory_set_hooks(m->memory, &(struct memory_hooks) { 0 });
	code_destroy(vm);
	blocks_free(vm);
	free(vm->sites);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	m->engine_data = NULL;
}

static bool jit_vcpu_create(struct vcpu *v, struct error *err)
{
	struct jit_vcpu *j = aligned_alloc(64, ALIGN_UP(sizeof(*j), 64));

	if (!j)
		return error_set(err, errno, "cannot allocate vCPU %u", v->index);
	memset(j, 0, sizeof(*j));
	j->stopped = true;
	j->generation = UINT64_MAX;
	if (!mmu_create(v, err) || !thunk_thread_init(err)) {
		free(j);
		return false;
	}
	pthread_mutex_lock(&jit_vm(v)->lock);
	v->engine_data = j;
	bool ok = jump_create(v, err);
	pthread_mutex_unlock(&jit_vm(v)->lock);
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, v))
		return error_set(err, errno, "cannot set the GS base");
	v->hot[HOT_SELF] = (uintptr_t)v;
	memos_create(v);
	returns_create(v);
	v->hot[HOT_MXCSR] = __builtin_ia32_stmxcsr();
	if (ok && jit_vm(v)->verifies)
		ok = verify_create(v, err);
	return ok;
}

static void jit_vcpu_destroy(struct vcpu *v)
{
	struct jit_vcpu *j = v->engine_data;

	verify_destroy(v);
	if (j) {
		pthread_mutex_lock(&jit_vm(v)->lock);
		jump_destroy(v);
		v->engine_data = NULL;
		pthread_mutex_unlock(&jit_vm(v)->lock);
		free(j);
	}
	mmu_destroy(v);
}

/* --- running */

/* Whatever asked for attention. Unwinds if it is time to leave. */
static void attend(struct vcpu *v)
{
	uint32_t r = atomic_load(&v->requests);

	if (r & REQ_WORK) {
		atomic_fetch_and(&v->requests, ~(uint32_t)REQ_WORK);
		jit_resume(v);
	}
	if (r & REQ_TLB) {
		atomic_fetch_and(&v->requests, ~(uint32_t)REQ_TLB);
		mmu_flush_all(v);
		if (jit_vm(v)->verify)
			verify_flush(v);
	}
	if (r & (REQ_INTERRUPT | REQ_NMI | REQ_INIT | REQ_SIPI)) {
		if (!interp_poll(v))
			cpu_exit(v, EXIT_SHUTDOWN);
		if (v->cpu.activity != CPU_RUNNING)
			cpu_exit(v, EXIT_HALT);
	}
	if (r & REQ_STOP)
		cpu_exit(v, EXIT_STOP);
	mmu_update_mode(v);
}

void jit_enter(struct vcpu *v, const uint8_t *code)
{
	void (*fn)(const uint8_t *) = (void (*)(const uint8_t *))jit_vm(v)->stub[STUB_ENTER];
	flags_out(v);
	fn(code);
	flags_in(v);
}

static void step(struct vcpu *v)
{
	stat_inc(v, steps);
	interp_step(v);
	if (unlikely(jit_vm(v)->verify))
		verify_flush(v);
}

/* Requests wait while an instruction in the shadow of STI or MOV SS is due. */
static NORETURN void run_forever(struct vcpu *v)
{
	const uint8_t *leave = jit_vm(v)->stub[STUB_LEAVE], *code;

	for (;;) {
		if (unlikely(jit_vm(v)->verify) && verify_owes(v)) {
			verify_block(v);
			continue;
		}
		epoch_quiescent();
		v->hot[HOT_GO] = 1;
		atomic_thread_fence(memory_order_seq_cst);
		if (v->requests && v->cpu.int_shadow) {
			step(v);
			continue;
		}
		if (v->requests)
			attend(v);
		code = slow_next(v);
		if (code != leave && unlikely(jit_vm(v)->verify))
			verify_block(v);
		else if (code != leave)
			jit_enter(v, code);
		else if (!v->requests)
			step(v);
	}
}

static bool deliver(struct vcpu *v)
{
	bool ok;

	stat_inc(v, exceptions);
	ok = interp_deliver_event(v);
	mmu_update_mode(v);
	if (ok && v->debug.single_step) {
		v->debug.hit = true;
		v->debug.hit_kind = 0;
	}
	return ok;
}

static enum vcpu_exit run_until(struct vcpu *v)
{
	int why = sigsetjmp(v->unwind, 0);

	if (why)
		exclusive_drop();
	if (why >= UNWIND_EXIT) {
		v->insn_rip = v->cpu.rip;
		return (enum vcpu_exit)(why - UNWIND_EXIT);
	}
	if (v->cpu.event.pending && !deliver(v))
		return EXIT_SHUTDOWN;
	if (v->debug.hit)
		return EXIT_DEBUG;
	run_forever(v);
}

static enum vcpu_exit jit_run(struct vcpu *v)
{
	enum vcpu_exit exit;

	self = v;
	jit_resume(v);
	v->debug.hit = false;
	if (v->debug.count)
		mmu_flush_all(v);
	if (v->cpu.activity != CPU_RUNNING)
		atomic_fetch_or(&v->requests, REQ_INTERRUPT);
	if (unlikely(jit_vm(v)->verify))
		clock_slow_down(v->machine->clock, VERIFY_SLOW);
	exit = run_until(v);
	if (unlikely(jit_vm(v)->verify))
		clock_slow_down(v->machine->clock, 0);
	atomic_store(&jit_of(v)->stopped, true);
	self = NULL;
	return exit;
}

/* Loops see HOT_GO, branches out of a page the empty jump cache or that their epoch is over. */
static void jit_kick(struct vcpu *v)
{
	struct jit_vcpu *j = v->engine_data;
	if (!j)
		return;
	__atomic_store_n(&v->hot[HOT_GO], 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->hot[HOT_JC], (uintptr_t)j->empty, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->hot[HOT_JC_KERNEL], (uintptr_t)j->empty, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->hot[HOT_EPOCH], 0, __ATOMIC_SEQ_CST);
	returns_kick(v);
}

static void jit_state_get(struct vcpu *v) { }

static void jit_state_set(struct vcpu *v)
{
	mmu_flush_all(v);
	if (jit_vm(v)->verify)
		verify_flush(v);
	mmu_update_mode(v);
	kvmclock_refresh(v);
	atomic_fetch_or(&v->requests, REQ_INTERRUPT | REQ_NMI);
}

const struct engine_ops engine_jit = {
	.name = "jit",
	.options_ok = jit_options_ok,
	.probe = jit_probe,
	.model_ok = x86_model_host_ok,
	.vm_create = jit_vm_create,
	.vm_destroy = jit_vm_destroy,
	.vcpu_create = jit_vcpu_create,
	.vcpu_destroy = jit_vcpu_destroy,
	.run = jit_run,
	.kick = jit_kick,
	.state_get = jit_state_get,
	.state_set = jit_state_set,
	.stats = jit_stats,
	.vcpu_room = sizeof(struct jit_near),
};
