/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CPU models: frozen tables, and which of them this host can run.
 *
 * All of them say GenuineIntel, family 6, model 54 (an Atom that executes in
 * order): kernels know that such a processor does not speculate, and leave out
 * every speculation mitigation (page-table isolation, retpolines, fences) on
 * their own; IA32_ARCH_CAPABILITIES says the same to those that ask there.
 * HONESTLY: that is true of the interpreter's and the translator's guests only
 * in so far as guest kernel and guest user code share one host process anyway,
 * which no page table of the guest could keep apart on a speculating host CPU.
 * Between guests, and between a guest and the host, the host kernel's process
 * mitigations hold.  Inside one guest, user code may be able to read kernel
 * memory through the host's speculation.
 */
#include <cpuid.h>
#include <stdio.h>
#include "base/util.h"
#include "x86/cpu.h"
#include "x86/model.h"

/* IA32_ARCH_CAPABILITIES (SDM 4 table 2-2): RDCL_NO, IBRS_ALL is not offered
 * (there is no IBRS), SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, RRSBA is not set, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. */
#define IMMUNE (BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | \
		BIT(20) | BIT(24) | BIT(26) | BIT(27) | BIT(62))

enum { WORDS = (FEAT_COUNT + 63) / 64 };
#define WORD(f, w) ((f) / 64 == (w) ? BIT((f) % 64) : 0)

/* A model's features as a list of names, turned into its bit words. */
#define LEVEL2(X, w) LEVEL2_ANY_TSC(X, w) X(TSC_DEADLINE, w) X(INVARIANT_TSC, w)
#define LEVEL3(X, w) LEVEL3_ANY_TSC(X, w) X(TSC_DEADLINE, w) X(INVARIANT_TSC, w)
/* The same without a promise of the TSC's rate: a guest then takes its time from
 * kvmclock, and can go where KVM cannot scale the TSC. */
#define LEVEL2_ANY_TSC(X, w) \
	X(FPU, w) X(DE, w) X(PSE, w) X(TSC, w) X(MSR, w) X(PAE, w) X(MCE, w) X(CX8, w) \
	X(APIC, w) X(SEP, w) X(MTRR, w) X(PGE, w) X(MCA, w) X(CMOV, w) X(PAT, w) X(PSE36, w) \
	X(CLFSH, w) X(MMX, w) X(FXSR, w) X(SSE, w) X(SSE2, w) X(SS, w) X(HTT, w) \
	X(SSE3, w) X(PCLMULQDQ, w) X(SSSE3, w) X(CX16, w) X(SSE41, w) X(SSE42, w) X(X2APIC, w) \
	X(POPCNT, w) X(AES, w) X(XSAVE, w) X(RDRAND, w) X(HYPERVISOR, w) \
	X(FSGSBASE, w) X(TSC_ADJUST, w) X(SMEP, w) X(ERMS, w) X(FSRM, w) X(ARCH_CAPABILITIES, w) \
	X(XSAVEOPT, w) X(LAHF_LM, w) X(PREFETCHW, w) X(SYSCALL, w) X(NX, w) X(PDPE1GB, w) \
	X(RDTSCP, w) X(LM, w) X(ARAT, w)
#define LEVEL3_ANY_TSC(X, w) LEVEL2_ANY_TSC(X, w) \
	X(PCID, w) X(FMA, w) X(MOVBE, w) X(AVX, w) X(F16C, w) X(BMI1, w) X(AVX2, w) X(BMI2, w) \
	X(INVPCID, w) X(RDSEED, w) X(ADX, w) X(SMAP, w) X(XSAVEC, w) X(XGETBV1, w) X(LZCNT, w)
/* What the engines implement beyond that; `max` has it where the host does. */
#define LEVELMAX(X, w) LEVEL3(X, w) \
	X(VME, w) X(CLFLUSHOPT, w) X(CLWB, w) X(SHA, w) X(UMIP, w) X(RDPID, w)
#define SET(name, w) | WORD(FEAT_##name, w)
#define WORDS_OF(level) { 0 level(SET, 0), 0 level(SET, 1) }
_Static_assert(WORDS == 2, "WORDS_OF has two words");

#define COMMON .tsc_khz = 1000000, .phys_bits = 40, .lin_bits = 48, .arch_capabilities = IMMUNE

#define ANY_TSC "-kvmclock"

static const struct x86_model models[] = {
	{ .name = "abyme-v2.1", .features = WORDS_OF(LEVEL2),
	  .xcr0 = XFEATURE_X87 | XFEATURE_SSE, COMMON },
	{ .name = "abyme-v3.1", .features = WORDS_OF(LEVEL3),
	  .xcr0 = XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX, COMMON },
	{ .name = "abyme-v2.1" ANY_TSC, .features = WORDS_OF(LEVEL2_ANY_TSC),
	  .xcr0 = XFEATURE_X87 | XFEATURE_SSE, COMMON },
	{ .name = "abyme-v3.1" ANY_TSC, .features = WORDS_OF(LEVEL3_ANY_TSC),
	  .xcr0 = XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX, COMMON },
};
static const struct x86_model everything = {
	.name = "everything", .features = WORDS_OF(LEVELMAX),
	.xcr0 = XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX, COMMON
};

static const struct feature_bit {
	const char *name;
	uint32_t leaf;
	uint8_t subleaf, reg, bit;
} feature_bits[FEAT_COUNT] = {
#define FEATURE(name, leaf, sub, reg, bit) [FEAT_##name] = { #name, leaf, sub, reg, bit },
#include "x86/features.def"
#undef FEATURE
};

/* Features that the engines run on the host's own instructions; all others
 * they make themselves. */
static const uint8_t native[] = {
	FEAT_CMOV, FEAT_CX8, FEAT_MMX, FEAT_FXSR, FEAT_SSE, FEAT_SSE2, FEAT_SSE3, FEAT_PCLMULQDQ,
	FEAT_SSSE3, FEAT_FMA, FEAT_CX16, FEAT_SSE41, FEAT_SSE42, FEAT_MOVBE, FEAT_POPCNT,
	FEAT_AES, FEAT_XSAVE, FEAT_AVX, FEAT_F16C, FEAT_BMI1, FEAT_AVX2, FEAT_BMI2, FEAT_ADX,
	FEAT_SHA, FEAT_LZCNT, FEAT_LAHF_LM,
};

static bool host_has(enum x86_feature f)
{
	const struct feature_bit *b = &feature_bits[f];
	uint32_t r[4] = { 0 };

	__get_cpuid_count(b->leaf, b->subleaf, &r[0], &r[1], &r[2], &r[3]);
	return r[b->reg] >> b->bit & 1;
}

/* Does the host's kernel let programs use AVX registers? */
static bool host_avx_enabled(void)
{
	uint32_t a, b, c, d, low, high;

	__cpuid(1, a, b, c, d);
	if (!(c >> 27 & 1))
		return false;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 6) == 6;
}

bool x86_model_host_ok(const struct x86_model *m, struct error *err)
{
	char missing[256] = "";
	size_t n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(native) && n < sizeof(missing) - 32; i++)
		if (x86_has(m, native[i]) && !host_has(native[i]))
			n += snprintf(missing + n, sizeof(missing) - n, " %s",
				      feature_bits[native[i]].name);
	if (n)
		return error_set(err, 0, "CPU model '%s' needs what this host's CPU lacks:%s",
				 m->name, missing);
	if (x86_has(m, FEAT_AVX) && !host_avx_enabled())
		return error_set(err, 0, "CPU model '%s' needs AVX, which this host's kernel "
				 "has not enabled", m->name);
	return true;
}

static void clear_feature(struct x86_model *m, enum x86_feature f)
{
	m->features[f / 64] &= ~BIT(f % 64);
}

/* All that the engines implement and the host has. */
static const struct x86_model *model_max(void)
{
	static struct x86_model max;
	struct x86_model m = everything;
	static const uint8_t on_avx[] = { FEAT_AVX, FEAT_AVX2, FEAT_FMA, FEAT_F16C };

	if (max.name)
		return &max;
	for (unsigned i = 0; i < ARRAY_SIZE(native); i++)
		if (!host_has(native[i]))
			clear_feature(&m, native[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(on_avx) && !host_avx_enabled(); i++)
		clear_feature(&m, on_avx[i]);
	m.tsc_khz = models[0].tsc_khz;
	m.phys_bits = models[0].phys_bits;
	m.lin_bits = models[0].lin_bits;
	m.arch_capabilities = IMMUNE;
	m.xcr0 = XFEATURE_X87 | XFEATURE_SSE | (x86_has(&m, FEAT_AVX) ? XFEATURE_AVX : 0);
	m.name = "max";
	max = m;
	return &max;
}

static const struct x86_model *max_any_tsc(void)
{
	static struct x86_model m;

	if (m.name)
		return &m;
	m = *model_max();
	clear_feature(&m, FEAT_TSC_DEADLINE);
	clear_feature(&m, FEAT_INVARIANT_TSC);
	m.name = "max" ANY_TSC;
	return &m;
}

const struct x86_model *x86_model_implemented(void) { return &everything; }

const struct x86_model *x86_model_any_tsc(const struct x86_model *m)
{
	char name[64];

	if (!x86_has(m, FEAT_INVARIANT_TSC))
		return m;
	snprintf(name, sizeof(name), "%s" ANY_TSC, m->name);
	return x86_model_find(name, NULL);
}

const struct x86_model *x86_model_find(const char *name, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
		if (strcmp(models[i].name, name) == 0)
			return &models[i];
	if (strcmp(name, "max") == 0)
		return model_max();
	if (strcmp(name, "max" ANY_TSC) == 0)
		return max_any_tsc();
	return error_null(err, 0, "unknown CPU model '%s': there are abyme-v2.1, abyme-v3.1 and max, "
			  "each also with " ANY_TSC " behind it", name);
}
