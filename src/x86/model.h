/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU models: frozen, versioned tables of CPUID facts.  `abyme-v2.1` and
 * `abyme-v3.1` may move between engines and hosts; `max` (all that the engines
 * implement and the host has) may not.  NAME-kvmclock is NAME without invariant
 * TSC and TSC deadline: the guest's clock is kvmclock, exact at any rate of the TSC.
 */
#ifndef X86_MODEL_H
#define X86_MODEL_H

#include "base/error.h"
#include <stdint.h>

/* X-table of features: FEATURE(NAME, leaf, subleaf, register, bit) in features.def. */
enum x86_feature {
#define FEATURE(name, leaf, sub, reg, bit) FEAT_##name,
#include "x86/features.def"
#undef FEATURE
	FEAT_COUNT
};

struct x86_model {
	const char *name;
	uint64_t features[(FEAT_COUNT + 63) / 64];
	uint32_t tsc_khz;         /* 1,000,000: guest TSC ticks are ns */
	uint8_t phys_bits;        /* 40 */
	uint8_t lin_bits;         /* 48 */
	uint64_t xcr0;            /* XFEATURE_* offered */
	uint64_t arch_capabilities;
};

static inline bool x86_has(const struct x86_model *m, enum x86_feature f)
{ return m->features[f / 64] >> (f % 64) & 1; }

/* NULL with an error that lists the known names. */
const struct x86_model *x86_model_find(const char *name, struct error *err);
/* `m` without a promise of the TSC's rate; `m` itself if it makes none. */
const struct x86_model *x86_model_any_tsc(const struct x86_model *m);
/* All that the engines implement, on whatever host: for those who only decode. */
const struct x86_model *x86_model_implemented(void);
/* Does this host's CPU have all that `m` promises? Names what is missing.
 * (jit and kvm run host instructions; interp needs the vector ones.) */
bool x86_model_host_ok(const struct x86_model *m, struct error *err);

struct x86_cpu;
struct x86_cpuid { uint32_t eax, ebx, ecx, edx; };
/* What the guest's CPUID returns; depends on cpu (OSXSAVE, APIC id, XCR0) and
 * on the number of vCPUs. Leaf 0x40000000: KVM signature and features. */
struct x86_cpuid x86_cpuid(const struct x86_model *m, const struct x86_cpu *cpu,
			   unsigned vcpus, uint32_t leaf, uint32_t subleaf);

#endif
