/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters: the table is stats.def; each vCPU counts for itself. */
#include <stdio.h>
#include "engine/jit/jit.h"

static const char *const names[] = {
#define STAT(name) #name,
#include "engine/jit/stats.def"
#undef STAT
};

static void put_mmu(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque)
{
	uint64_t slow = 0, walks = 0, flushes = 0;

	for (unsigned n = 0; n < m->nvcpus; n++) {
		const struct soft_mmu *mmu = m->vcpus[n]->mmu;
		if (!mmu)
			continue;
		slow += mmu->slow;
		walks += mmu->walks;
		flushes += mmu->flushes;
	}
	put(opaque, "tlb_slow", slow);
	put(opaque, "tlb_walks", walks);
	put(opaque, "tlb_flushes", flushes);
}

static void put_ops(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque)
{
	char name[32];

	for (unsigned op = 0; op < OP_COUNT; op++) {
		uint64_t sum = 0;
		for (unsigned n = 0; n < m->nvcpus; n++)
			if (m->vcpus[n]->engine_data)
				sum += ((struct jit_vcpu *)m->vcpus[n]->engine_data)->slow_ops[op];
		snprintf(name, sizeof(name), "slow_%s", x86_op_info[op].name);
		if (sum)
			put(opaque, name, sum);
	}
}

void jit_stats(struct machine *m, void (*put)(void *, const char *, uint64_t), void *opaque)
{
	struct jit_vm *vm = m->engine_data;

	for (unsigned i = 0; i < STAT_COUNT; i++) {
		uint64_t sum = 0;
		for (unsigned n = 0; n < m->nvcpus; n++)
			if (m->vcpus[n]->engine_data)
				sum += ((struct jit_vcpu *)m->vcpus[n]->engine_data)->stats[i];
		put(opaque, names[i], sum);
	}
	put(opaque, "cache_bytes", code_used(vm));
	put_mmu(m, put, opaque);
	put_ops(m, put, opaque);
}
