/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several vCPUs: the translator's lock, and how one vCPU makes all others stand
 * still.  A vCPU is `stopped` while it is outside run(), or waits for the lock: it
 * then is in no translated code that it could go on with unnoticed (slow.c
 * compares vm->generation and vm->drops around whatever may wait).  It becomes
 * not stopped only while it holds the lock, so who holds the lock and has seen
 * everyone stopped is alone.
 */
#include <sched.h>
#include "engine/jit/jit.h"

/* Some fifty microseconds, a few translations: to sleep and be woken takes both threads about that. */
enum { LOCK_TURNS = 1000 };

static bool lock_soon(struct jit_vm *vm)
{
	for (unsigned turns = 0; turns < LOCK_TURNS; turns++) {
		if (!pthread_mutex_trylock(&vm->lock))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

static void lock_stopped(struct vcpu *v)
{
	struct jit_vm *vm = jit_vm(v);

	stat_inc(v, lock_waits);
	atomic_store(&jit_of(v)->stopped, true);
	if (!lock_soon(vm)) {
		stat_inc(v, lock_sleeps);
		pthread_mutex_lock(&vm->lock);
	}
	atomic_store(&jit_of(v)->stopped, false);
}

void jit_resume(struct vcpu *v)
{
	lock_stopped(v);
	pthread_mutex_unlock(&jit_vm(v)->lock);
}

void jit_lock(struct vcpu *v)
{
	if (pthread_mutex_trylock(&jit_vm(v)->lock))
		lock_stopped(v);
	jit_vm(v)->owner = v;
}

bool jit_trylock(struct vcpu *v)
{
	if (pthread_mutex_trylock(&jit_vm(v)->lock))
		return false;
	jit_vm(v)->owner = v;
	return true;
}

void jit_unlock(struct vcpu *v)
{
	jit_vm(v)->owner = NULL;
	pthread_mutex_unlock(&jit_vm(v)->lock);
}

static bool is_stopped(struct vcpu *other)
{
	struct jit_vcpu *j = other->engine_data;
	return !j || atomic_load(&j->stopped);
}

/* Give the lock away for a moment: one we wait for may be waiting for the board,
 * whose holder waits for this lock (DMA to a page with code). */
static void let_others(struct jit_vm *vm, struct vcpu *v)
{
	if (v)
		jit_unlock(v);
	else
		pthread_mutex_unlock(&vm->lock);
	sched_yield();
	if (v)
		jit_lock(v);
	else
		pthread_mutex_lock(&vm->lock);
}

static bool all_stopped(struct jit_vm *vm, struct vcpu *v, bool ask)
{
	bool all = true;

	for (unsigned i = 0; i < vm->machine->nvcpus; i++) {
		struct vcpu *other = vm->machine->vcpus[i];
		if (other == v || is_stopped(other))
			continue;
		all = false;
		if (ask)
			vcpu_request(other, REQ_WORK);
	}
	return all;
}

enum { TURNS_YIELD = 64, TURNS_LET = 4096 };

void jit_stop_others(struct jit_vm *vm, struct vcpu *v)
{
	if (v)
		stat_inc(v, stops);
	for (unsigned turns = 0; !all_stopped(vm, v, turns % (TURNS_LET / 4) == 0); turns++) {
		if (turns % TURNS_LET == TURNS_LET - 1)
			let_others(vm, v);
		else if (turns % TURNS_YIELD == TURNS_YIELD - 1)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
}
