/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine `interp`: its ops, and the hooks by which memory tells of stores to
 * code and of flags. */
#include "engine/interp/sys.h"
#include "engine/interp/loop.h"
#include "engine/interp/thunk.h"
#include "machine/machine.h"

/* Whose turn this thread holds. */
static __thread struct interp *my_turn;

static void each_vcpu(struct interp *e, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
	for (unsigned i = 0; i < e->machine->nvcpus; i++)
		if (e->machine->vcpus[i] && e->machine->vcpus[i]->mmu)
			fn(e->machine->vcpus[i], arg);
}

static void request_bits(struct vcpu *v, void *bits)
{
	vcpu_request(v, *(uint32_t *)bits);
}

static void on_code_write(void *opaque, uint64_t gpa, size_t len)
{
	struct interp *e = opaque;
	uint32_t work = REQ_WORK;
	if (my_turn == e) {
		cache_written(&e->cache, gpa, len);
		return;
	}
	cache_note(&e->cache, gpa, len);
	each_vcpu(e, request_bits, &work);
}

struct page_run { struct ram_slot *slot; uint64_t first, count; };

static void drop_writable(struct vcpu *v, void *arg)
{
	struct page_run *r = arg;
	mmu_drop_writable(v, r->slot, r->first, r->count);
}

/* Others must not hold the board lock here: a vCPU waits for it in its turn. */
static void on_flags_set(void *opaque, struct ram_slot *slot, uint64_t first, uint64_t count)
{
	struct interp *e = opaque;
	struct page_run run = { slot, first, count };
	bool other = my_turn != e;
	if (other)
		turn_take(&e->turn);
	each_vcpu(e, drop_writable, &run);
	if (other)
		turn_give(&e->turn);
}

static enum vcpu_exit interp_run(struct vcpu *v)
{
	struct interp *e = v->machine->engine_data;
	turn_take(&e->turn);
	my_turn = e;
	enum vcpu_exit why = interp_loop(v, e);
	my_turn = NULL;
	turn_give(&e->turn);
	return why;
}

static bool interp_probe(struct error *err) { return true; }

static bool interp_vm_create(struct machine *m, struct error *err)
{
	struct interp *e = xnew(struct interp);
	struct memory_hooks hooks = { on_code_write, on_flags_set, e };
	e->machine = m;
	turn_init(&e->turn);
	if (!cache_create(&e->cache, m->memory, err)) {
		free(e);
		return false;
	}
	m->engine_data = e;
	memory_set_hooks(m->memory, &hooks);
	return true;
}

static void interp_vm_destroy(struct machine *m)
{
	struct interp *e = m->engine_data;
	struct memory_hooks none = { 0 };
	if (!e)
		return;
	memory_set_hooks(m->memory, &none);
	cache_destroy(&e->cache);
	turn_destroy(&e->turn);
	free(e);
	m->engine_data = NULL;
}

static bool interp_vcpu_create(struct vcpu *v, struct error *err)
{
	v->engine_data = xnew(struct interp_vcpu);
	return mmu_create(v, err) && thunk_thread_init(err);
}

static void interp_vcpu_destroy(struct vcpu *v)
{
	thunk_thread_exit();
	mmu_destroy(v);
	free(v->engine_data);
	v->engine_data = NULL;
}

static void interp_kick(struct vcpu *v) { }          /* requests are polled */
static void interp_state_get(struct vcpu *v) { }     /* v->cpu is always current */

static void interp_state_set(struct vcpu *v)
{
	mmu_flush_all(v);
	mmu_update_mode(v);
	kvmclock_refresh(v);
	atomic_fetch_or(&v->requests, REQ_INTERRUPT | REQ_NMI);
}

static void interp_stats(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque)
{
	struct interp *e = m->engine_data;
	uint64_t interpreted = 0, walks = 0, slow = 0, flushes = 0;
	for (unsigned i = 0; i < m->nvcpus; i++) {
		interpreted += m->vcpus[i]->interpreted;
		if (!m->vcpus[i]->mmu)
			continue;
		walks += m->vcpus[i]->mmu->walks;
		slow += m->vcpus[i]->mmu->slow;
		flushes += m->vcpus[i]->mmu->flushes;
	}
	put(opaque, "instructions", interpreted);
	put(opaque, "tlb_walks", walks);
	put(opaque, "tlb_slow_accesses", slow);
	put(opaque, "tlb_flushes", flushes);
	put(opaque, "blocks_decoded", e->cache.built);
	put(opaque, "blocks_dropped", e->cache.dropped);
	put(opaque, "cache_flushes", e->cache.flushed);
}

const struct engine_ops engine_interp = {
	.name = "interp",
	.probe = interp_probe,
	.model_ok = x86_model_host_ok,
	.vm_create = interp_vm_create,
	.vm_destroy = interp_vm_destroy,
	.vcpu_create = interp_vcpu_create,
	.vcpu_destroy = interp_vcpu_destroy,
	.run = interp_run,
	.kick = interp_kick,
	.state_get = interp_state_get,
	.state_set = interp_state_set,
	.stats = interp_stats,
};
