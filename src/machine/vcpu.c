/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads: run, sleep in HLT, stop for the world.
 *
 * Sleeping: `wake` counts requests.  A vCPU reads it, looks for work, says that
 * it is idle and waits on that value, so no request is lost in between.
 * Quiescing: `inside` counts vCPUs that may touch guest state; a vCPU enters
 * only while quiesce_depth is zero.
 */
#include "machine/machine.h"

#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "base/epoch.h"
#include "base/log.h"

void vcpu_request(struct vcpu *v, uint32_t bits)
{
	atomic_fetch_or(&v->requests, bits);
	atomic_fetch_add(&v->wake, 1);
	int state = atomic_load(&v->state);
	if (state == VCPU_IN_RUN)
		v->engine->kick(v);
	else if (state == VCPU_IDLE)
		syscall(SYS_futex, &v->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* False: the machine has ended. */
static bool enter(struct vcpu *v)
{
	struct machine *m = v->machine;
	bool go;
	pthread_mutex_lock(&m->quiesce_lock);
	while ((m->quiesce_depth || v->debug.hold) && m->end == END_NONE)
		pthread_cond_wait(&m->quiesce_cond, &m->quiesce_lock);
	go = m->end == END_NONE;
	if (go) {
		atomic_fetch_and(&v->requests, ~(uint32_t)REQ_STOP);
		m->inside++;
		v->state = VCPU_IN_RUN;
	}
	pthread_mutex_unlock(&m->quiesce_lock);
	if (go)
		epoch_enter();
	return go;
}

static void leave(struct vcpu *v)
{
	struct machine *m = v->machine;
	epoch_leave();
	pthread_mutex_lock(&m->quiesce_lock);
	v->state = VCPU_OUT;
	if (--m->inside == 0)
		pthread_cond_broadcast(&m->quiesce_cond);
	pthread_mutex_unlock(&m->quiesce_lock);
}

/* Outside: until there is something to do. */
static void sleep_until_work(struct vcpu *v)
{
	for (;;) {
		uint32_t seen = atomic_load(&v->wake);
		v->state = VCPU_IDLE;
		if (v->machine->end != END_NONE || vcpu_has_work(v) ||
		    (v->requests & ~(uint32_t)(REQ_INTERRUPT | REQ_NMI | REQ_SIPI)))
			break;
		syscall(SYS_futex, &v->wake, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	}
	v->state = VCPU_OUT;
}

static void stop_for_debugger(struct vcpu *v)
{
	struct machine *m = v->machine;
	if (!m->on_debug)
		return;
	pthread_mutex_lock(&m->quiesce_lock);
	m->quiesce_depth++;
	pthread_mutex_unlock(&m->quiesce_lock);
	m->on_debug(m->on_debug_opaque, v);
}

static void handle_exit(struct vcpu *v, enum vcpu_exit why)
{
	struct machine *m = v->machine;
	switch (why) {
	case EXIT_STOP:
		break;
	case EXIT_HALT:
		sleep_until_work(v);
		break;
	case EXIT_SHUTDOWN:
		log_warn("vCPU %u: triple fault at rip 0x%llx; the machine is reset", v->index,
			 (unsigned long long)v->cpu.rip);
		v->cpu.activity = CPU_WAIT_SIPI;
		machine_reset_request(m);
		break;
	case EXIT_DEBUG:
		stop_for_debugger(v);
		break;
	case EXIT_ERROR:
		m->error = v->error;
		machine_end_request(m, END_ERROR, 1);
		break;
	}
}

static bool prepare(struct vcpu *v)
{
	struct machine *m = v->machine;
	bool ok = v->engine->vcpu_create(v, &v->error);
	if (ok) {
		epoch_enter();
		v->engine->state_set(v);
		epoch_leave();
	} else {
		m->error = v->error;
		machine_end_request(m, END_ERROR, 1);
	}
	pthread_mutex_lock(&m->quiesce_lock);
	m->ready++;
	pthread_cond_broadcast(&m->quiesce_cond);
	pthread_mutex_unlock(&m->quiesce_lock);
	return ok;
}

static void *vcpu_main(void *opaque)
{
	struct vcpu *v = opaque;
	char name[16];
	snprintf(name, sizeof(name), "vcpu%u", v->index);
	pthread_setname_np(pthread_self(), name);
	if (!prepare(v))
		return NULL;
	while (enter(v)) {
		enum vcpu_exit why = v->engine->run(v);
		leave(v);
		handle_exit(v, why);
	}
	v->state = VCPU_GONE;
	v->engine->vcpu_destroy(v);
	return NULL;
}

/* The threads start held; machine_start releases them. */
bool vcpus_start(struct machine *m, struct error *err)
{
	m->quiesce_depth++;
	for (unsigned i = 0; i < m->nvcpus; i++) {
		int r = pthread_create(&m->vcpus[i]->thread, NULL, vcpu_main, m->vcpus[i]);
		if (r) {
			machine_end_request(m, END_ERROR, 1);
			m->nvcpus = i;
			vcpus_join(m);
			return error_set(err, r, "cannot start the thread of vCPU %u", i);
		}
	}
	pthread_mutex_lock(&m->quiesce_lock);
	while (m->ready < m->nvcpus)
		pthread_cond_wait(&m->quiesce_cond, &m->quiesce_lock);
	pthread_mutex_unlock(&m->quiesce_lock);
	if (m->end != END_NONE) {             /* one could not be made, or not take its state */
		vcpus_join(m);
		*err = m->error;
		return false;
	}
	m->threads_started = true;
	return true;
}

void vcpus_join(struct machine *m)
{
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_request(m->vcpus[i], REQ_STOP);
	pthread_mutex_lock(&m->quiesce_lock);
	pthread_cond_broadcast(&m->quiesce_cond);
	pthread_mutex_unlock(&m->quiesce_lock);
	for (unsigned i = 0; i < m->nvcpus; i++)
		pthread_join(m->vcpus[i]->thread, NULL);
}

void vcpus_quiesce(struct machine *m)
{
	pthread_mutex_lock(&m->quiesce_lock);
	m->quiesce_depth++;
	pthread_mutex_unlock(&m->quiesce_lock);
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_request(m->vcpus[i], REQ_STOP);
	pthread_mutex_lock(&m->quiesce_lock);
	while (m->inside)
		pthread_cond_wait(&m->quiesce_cond, &m->quiesce_lock);
	pthread_mutex_unlock(&m->quiesce_lock);
	for (unsigned i = 0; m->threads_started && i < m->nvcpus; i++)
		m->engine->state_get(m->vcpus[i]);
}

void vcpus_release(struct machine *m)
{
	pthread_mutex_lock(&m->quiesce_lock);
	if (--m->quiesce_depth == 0)
		pthread_cond_broadcast(&m->quiesce_cond);
	pthread_mutex_unlock(&m->quiesce_lock);
}
