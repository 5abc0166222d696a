/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest's CPUID returns (SDM 2A CPUID): the model's feature bits, and
 * the leaves that depend on the processor's state or on the machine's size.
 * 0x40000000 on: the KVM interface, so that kernels find the paravirtual clock.
 */
#include "base/util.h"
#include "x86/cpu.h"
#include "x86/model.h"

enum { LEAF_MAX = 0x16, LEAF_EXTENDED_MAX = 0x80000008, LEAF_KVM_MAX = 0x40000010 };
enum { APIC_BUS_KHZ = 1000000 };
enum { SIGNATURE = 0x00030661 };        /* family 6, model 0x36, stepping 1: see model.c */

/* KVM_FEATURE_*: no delay on port 0x80, the clock's MSRs 0x4b564d00/01, stable. Not EOI by a
 * word in memory (bit 6): with it, guests of two vCPUs stand still in an emulated AMD-V. */
enum { KVM_NOP_IO_DELAY = 1 << 1, KVM_CLOCKSOURCE2 = 1 << 3, KVM_CLOCK_STABLE = 1 << 24 };

static const struct { uint32_t leaf; uint8_t subleaf, reg, bit; } bits[] = {
#define FEATURE(name, leaf, sub, reg, bit) { leaf, sub, reg, bit },
#include "x86/features.def"
#undef FEATURE
};

/* The leaf's feature bits, all four registers. */
static struct x86_cpuid features(const struct x86_model *m, uint32_t leaf, uint32_t subleaf)
{
	uint32_t r[4] = { 0 };

	for (unsigned f = 0; f < FEAT_COUNT; f++)
		if (bits[f].leaf == leaf && bits[f].subleaf == subleaf && x86_has(m, f))
			r[bits[f].reg] |= 1u << bits[f].bit;
	return (struct x86_cpuid){ r[0], r[1], r[2], r[3] };
}

static unsigned log2_up(unsigned n)
{
	return n <= 1 ? 0 : 32 - __builtin_clz(n - 1);
}

static struct x86_cpuid leaf_1(const struct x86_model *m, const struct x86_cpu *cpu, unsigned vcpus)
{
	enum { CLFLUSH_QUADS = 8, OSXSAVE = 1 << 27, APIC = 1 << 9, HTT = 1 << 28 };
	struct x86_cpuid r = features(m, 1, 0);

	r.eax = SIGNATURE;
	r.ebx = (cpu->lapic.id & 0xff) << 24 | MIN(vcpus, 255u) << 16 | CLFLUSH_QUADS << 8;
	if (cpu->cr4 & CR4_OSXSAVE)
		r.ecx |= OSXSAVE;
	if (!(cpu->lapic.base & 0x800))
		r.edx &= ~APIC;
	if (vcpus < 2)
		r.edx &= ~HTT;
	return r;
}

/* Deterministic cache parameters: 32 KiB L1, 1 MiB L2 a core, 16 MiB L3 for all. */
static struct x86_cpuid leaf_4(unsigned vcpus, uint32_t subleaf)
{
	static const struct { uint8_t type, level, shared; uint16_t ways, sets; } cache[] = {
		{ 1, 1, 0, 8, 64 }, { 2, 1, 0, 8, 64 }, { 3, 2, 0, 16, 1024 }, { 3, 3, 1, 16, 16384 },
	};
	unsigned cores = 1u << log2_up(MIN(vcpus, 64u));
	unsigned sharing;

	if (subleaf >= ARRAY_SIZE(cache))
		return (struct x86_cpuid){ 0 };
	sharing = cache[subleaf].shared ? (1u << log2_up(vcpus)) - 1 : 0;
	return (struct x86_cpuid){
		.eax = cache[subleaf].type | cache[subleaf].level << 5 | 1 << 8 /* self-initializing */ |
		       MIN(sharing, 4095u) << 14 | (cores - 1) << 26,
		.ebx = 63 | (cache[subleaf].ways - 1u) << 22,
		.ecx = cache[subleaf].sets - 1,
	};
}

/* Extended topology: one thread a core, all cores in one package. */
static struct x86_cpuid leaf_b(const struct x86_cpu *cpu, unsigned vcpus, uint32_t subleaf)
{
	struct x86_cpuid r = { .ecx = subleaf & 0xff, .edx = cpu->lapic.id };

	if (subleaf == 0) {
		r.ebx = 1;
		r.ecx |= 1 << 8;
	} else if (subleaf == 1) {
		r.eax = log2_up(vcpus);
		r.ebx = vcpus;
		r.ecx |= 2 << 8;
	}
	return r;
}

static uint32_t xsave_size(uint64_t xcr0)
{
	return xcr0 & XFEATURE_AVX ? 832 : 576;
}

static struct x86_cpuid leaf_d(const struct x86_model *m, const struct x86_cpu *cpu, uint32_t subleaf)
{
	struct x86_cpuid r = { 0 };

	if (!x86_has(m, FEAT_XSAVE))
		return r;
	if (subleaf == 0) {
		r.eax = m->xcr0;
		r.edx = m->xcr0 >> 32;
		r.ebx = xsave_size(cpu->xcr0);
		r.ecx = xsave_size(m->xcr0);
	} else if (subleaf == 1) {
		r = features(m, 0xd, 1);
		r.ebx = x86_has(m, FEAT_XSAVEC) ? xsave_size(cpu->xcr0) : 0;
	} else if (subleaf == 2 && m->xcr0 & XFEATURE_AVX) {
		r.eax = sizeof(cpu->xsave.ymmh);
		r.ebx = offsetof(struct x86_xsave, ymmh);
	}
	return r;
}

/* Four registers out of 16 bytes of text. */
static struct x86_cpuid text16(const char *s)
{
	return (struct x86_cpuid){ le32_get(s), le32_get(s + 4), le32_get(s + 8), le32_get(s + 12) };
}

static struct x86_cpuid leaf_kvm(const struct x86_model *m, uint32_t leaf)
{
	switch (leaf & 0xff) {
	case 0:
		return (struct x86_cpuid){ LEAF_KVM_MAX, le32_get("KVMK"), le32_get("VMKV"), 'M' };
	case 1:
		return (struct x86_cpuid){ KVM_NOP_IO_DELAY | KVM_CLOCKSOURCE2 | KVM_CLOCK_STABLE };
	case 0x10:
		return (struct x86_cpuid){ x86_has(m, FEAT_INVARIANT_TSC) ? m->tsc_khz : 0, APIC_BUS_KHZ };
	}
	return (struct x86_cpuid){ 0 };
}

static struct x86_cpuid leaf_extended(const struct x86_model *m, uint32_t leaf)
{
	static const char brand[48] = "Abyme virtual processor";

	switch (leaf) {
	case 0x80000000: return (struct x86_cpuid){ LEAF_EXTENDED_MAX };
	case 0x80000001: return features(m, leaf, 0);
	case 0x80000002:
	case 0x80000003:
	case 0x80000004: return text16(brand + (leaf - 0x80000002) * 16);
	case 0x80000006: return (struct x86_cpuid){ .ecx = 1024 << 16 | 8 << 12 | 64 };
	case 0x80000007: return features(m, leaf, 0);
	case 0x80000008: return (struct x86_cpuid){ m->phys_bits | m->lin_bits << 8 };
	}
	return (struct x86_cpuid){ 0 };
}

struct x86_cpuid x86_cpuid(const struct x86_model *m, const struct x86_cpu *cpu,
			   unsigned vcpus, uint32_t leaf, uint32_t subleaf)
{
	uint32_t mhz = x86_has(m, FEAT_INVARIANT_TSC) ? m->tsc_khz / 1000 : 0;

	if (leaf >= 0x80000000)
		return leaf_extended(m, leaf);
	if ((leaf & ~0xffu) == 0x40000000)
		return leaf_kvm(m, leaf);
	switch (leaf) {
	case 0: return (struct x86_cpuid){ LEAF_MAX, le32_get("Genu"), le32_get("ntel"), le32_get("ineI") };
	case 1: return leaf_1(m, cpu, vcpus);
	case 2: return (struct x86_cpuid){ 0x00feff01 };        /* see leaf 4; no TLB facts */
	case 4: return leaf_4(vcpus, subleaf);
	case 6: return features(m, 6, 0);
	case 7: return subleaf == 0 ? features(m, 7, 0) : (struct x86_cpuid){ 0 };
	case 0xb: return leaf_b(cpu, vcpus, subleaf);
	case 0xd: return leaf_d(m, cpu, subleaf);
	case 0x15: return mhz ? (struct x86_cpuid){ 1, mhz / 25, 25000000 } : (struct x86_cpuid){ 0 };
	case 0x16: return (struct x86_cpuid){ mhz, mhz, mhz ? 100 : 0 };
	}
	return (struct x86_cpuid){ 0 };
}
