/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models and CPUID: what kernels decide by, and what must never change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/util.h"
#include "x86/cpu.h"
#include "x86/model.h"

static struct x86_cpu cpu = { .lapic.base = 0xfee00900, .xcr0 = 1 };

static struct x86_cpuid leaf(const char *model, uint32_t n, uint32_t sub)
{
	return x86_cpuid(x86_model_find(model, NULL), &cpu, 4, n, sub);
}

/* The models are frozen: a state saved today must find the same processor in ten years. */
static void models_are_frozen(void **state)
{
	static const struct { const char *model; uint32_t ecx1, edx1, ebx7, ecx7, edx7, xsave; } frozen[] = {
		{ "abyme-v2.1", 0xc7b82203, 0x1f8bfbfd, 0x00000283, 0, 0x20000010, 1 },
		{ "abyme-v3.1", 0xf7fa3203, 0x1f8bfbfd, 0x001c07ab, 0, 0x20000010, 7 },
		{ "abyme-v2.1-kvmclock", 0xc6b82203, 0x1f8bfbfd, 0x00000283, 0, 0x20000010, 1 },
		{ "abyme-v3.1-kvmclock", 0xf6fa3203, 0x1f8bfbfd, 0x001c07ab, 0, 0x20000010, 7 },
	};

	for (unsigned n = 0; n < ARRAY_SIZE(frozen); n++) {
		struct x86_cpuid one = leaf(frozen[n].model, 1, 0), seven = leaf(frozen[n].model, 7, 0);

		assert_int_equal(one.eax, 0x30661);
		assert_int_equal(one.ecx, frozen[n].ecx1);
		assert_int_equal(one.edx, frozen[n].edx1);
		assert_int_equal(seven.ebx, frozen[n].ebx7);
		assert_int_equal(seven.ecx, frozen[n].ecx7);
		assert_int_equal(seven.edx, frozen[n].edx7);
		assert_int_equal(leaf(frozen[n].model, 0xd, 1).eax, frozen[n].xsave);
	}
}

/* psABI levels: x86-64-v2 and -v3 software must find what it was built for. */
static void levels_hold(void **state)
{
	static const uint8_t v2[] = { FEAT_CX16, FEAT_LAHF_LM, FEAT_POPCNT, FEAT_SSE3, FEAT_SSE41,
				      FEAT_SSE42, FEAT_SSSE3 };
	static const uint8_t v3[] = { FEAT_AVX, FEAT_AVX2, FEAT_BMI1, FEAT_BMI2, FEAT_F16C, FEAT_FMA,
				      FEAT_LZCNT, FEAT_MOVBE, FEAT_XSAVE };
	const struct x86_model *m2 = x86_model_find("abyme-v2.1", NULL);
	const struct x86_model *m3 = x86_model_find("abyme-v3.1", NULL);

	for (unsigned n = 0; n < ARRAY_SIZE(v2); n++)
		assert_true(x86_has(m2, v2[n]) && x86_has(m3, v2[n]));
	for (unsigned n = 0; n < ARRAY_SIZE(v3); n++)
		assert_true(x86_has(m3, v3[n]));
	assert_false(x86_has(m2, FEAT_PCID) || x86_has(m2, FEAT_INVPCID));
}

/* Linux: Meltdown and its kin are off by IA32_ARCH_CAPABILITIES, bit by bit. */
static void immunities_are_said(void **state)
{
	uint64_t caps = x86_model_find("abyme-v2.1", NULL)->arch_capabilities;
	static const uint8_t bits[] = { 0 /* RDCL_NO */, 4 /* SSB_NO */, 5 /* MDS_NO */,
					6 /* PSCHANGE_MC_NO */, 8 /* TAA_NO */ };

	for (unsigned n = 0; n < ARRAY_SIZE(bits); n++)
		assert_true(caps >> bits[n] & 1);
	assert_true(leaf("abyme-v2.1", 7, 0).edx >> 29 & 1);
}

static void follows_the_processor(void **state)
{
	assert_false(leaf("abyme-v3.1", 1, 0).ecx >> 27 & 1);   /* OSXSAVE */
	assert_int_equal(leaf("abyme-v3.1", 0xd, 0).ebx, 576);
	cpu.cr4 = CR4_OSXSAVE;
	cpu.xcr0 = 7;
	cpu.lapic.id = 3;
	assert_true(leaf("abyme-v3.1", 1, 0).ecx >> 27 & 1);
	assert_int_equal(leaf("abyme-v3.1", 0xd, 0).ebx, 832);
	assert_int_equal(leaf("abyme-v3.1", 1, 0).ebx >> 24, 3);
	assert_int_equal(leaf("abyme-v3.1", 0xb, 1).edx, 3);
	assert_int_equal(leaf("abyme-v3.1", 0xb, 1).eax, 2);    /* 4 processors: 2 bits */
	cpu.lapic.base = 0xfee00100;
	assert_false(leaf("abyme-v3.1", 1, 0).edx >> 9 & 1);    /* APIC turned off */
	cpu.lapic.base = 0xfee00900;
}

static void tells_the_time(void **state)
{
	struct x86_cpuid tsc = leaf("abyme-v3.1", 0x15, 0), kvm = leaf("abyme-v3.1", 0x40000000, 0);

	assert_int_equal((uint64_t)tsc.ecx * tsc.ebx / tsc.eax, 1000000000);
	assert_memory_equal(&kvm.ebx, "KVMKVMKVM\0\0\0", 12);
	assert_true(leaf("abyme-v3.1", 0x40000001, 0).eax & 1 << 3);
	assert_true(leaf("abyme-v3.1", 0x40000001, 0).eax & 1 << 24);
	assert_false(leaf("abyme-v3.1", 0x40000001, 0).eax & 1 << 6);
	assert_int_equal(leaf("abyme-v3.1", kvm.eax, 0).eax, 1000000);
	assert_true(leaf("abyme-v3.1", 0x80000007, 0).edx & 1 << 8);
}

/* Nothing in CPUID tells a rate of the TSC; the paravirtual clock is there. */
static void promises_no_rate(void **state)
{
	static const char *const plain[] = { "abyme-v2.1", "abyme-v3.1", "max" };

	for (unsigned n = 0; n < ARRAY_SIZE(plain); n++) {
		const struct x86_model *m = x86_model_any_tsc(x86_model_find(plain[n], NULL));

		assert_ptr_equal(x86_model_any_tsc(m), m);
		assert_false(leaf(m->name, 0x80000007, 0).edx & 1 << 8);
		assert_false(leaf(m->name, 1, 0).ecx & 1 << 24);
		assert_int_equal(leaf(m->name, 0x15, 0).eax | leaf(m->name, 0x16, 0).eax, 0);
		assert_int_equal(leaf(m->name, 0x40000010, 0).eax, 0);
		assert_true(leaf(m->name, 0x40000001, 0).eax & 1 << 3);
	}
}

static void unknown_names_list_the_known(void **state)
{
	struct error err;

	assert_null(x86_model_find("pentium", &err));
	assert_non_null(strstr(err.text, "abyme-v3.1"));
	assert_true(x86_model_host_ok(x86_model_find("max", NULL), &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(models_are_frozen), cmocka_unit_test(levels_hold),
		cmocka_unit_test(immunities_are_said), cmocka_unit_test(follows_the_processor),
		cmocka_unit_test(tells_the_time), cmocka_unit_test(promises_no_rate),
		cmocka_unit_test(unknown_names_list_the_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
