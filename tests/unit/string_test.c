/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions: where a repeated one stops at a fault, at a request and in
 * single-step; overlap; counts of retired instructions; segment limits and
 * address wrap of 16-bit code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lib/rig.h"

#define CODE 0x20000ull
#define END 0x40000000ull           /* the mapping ends here */

static struct rig rig;
static struct vcpu *v;

/* One instruction through the handlers; the vector it raised or -1. */
static int run(const char *bytes, unsigned n)
{
	struct x86_insn i;
	unsigned size = cpu_code_size(&v->cpu);
	assert_int_equal(x86_decode(v->model, size, cpu_real_mode(&v->cpu), (const uint8_t *)bytes, n, &i),
			 X86_OK);
	v->cpu.rip = CODE;
	v->cpu.event.pending = 0;
	if (sigsetjmp(v->unwind, 0)) {
		v->cpu.event.pending = 0;
		return v->cpu.event.vector;
	}
	interp_exec(v, &i);
	return -1;
}

static void start(void (*mode)(struct rig *))
{
	mode(&rig);
	v->requests = 0;             /* nothing waits */
}

static void registers(uint64_t rsi, uint64_t rdi, uint64_t rcx)
{
	v->cpu.gpr[RSI] = rsi;
	v->cpu.gpr[RDI] = rdi;
	v->cpu.gpr[RCX] = rcx;
}

static void assert_registers(uint64_t rsi, uint64_t rdi, uint64_t rcx)
{
	assert_int_equal(v->cpu.gpr[RSI], rsi);
	assert_int_equal(v->cpu.gpr[RDI], rdi);
	assert_int_equal(v->cpu.gpr[RCX], rcx);
}

static void fill(uint64_t at, unsigned n, uint8_t first)
{
	for (unsigned i = 0; i < n; i++)
		*(uint8_t *)rig_ram(&rig, at + i) = (uint8_t)(first + i);
}

static void test_fault(void **unused)
{
	start(rig_long_mode);
	fill(0x30000, 4096, 1);
	registers(0x30000, END - 100, 200);
	uint64_t retired = v->interpreted;
	assert_int_equal(run("\xf3\xa4", 2), EXC_PF);
	assert_registers(0x30000 + 100, END, 100);
	assert_int_equal(v->cpu.cr2, END);
	assert_int_equal(v->cpu.rip, CODE);
	assert_int_equal(v->interpreted, retired);
	assert_memory_equal(rig_ram(&rig, END - 100), rig_ram(&rig, 0x30000), 100);

	/* an element over the end: not even its first bytes */
	fill(END - 4, 4, 0x77);
	registers(0x30000, END - 12, 4);
	assert_int_equal(run("\xf3\x48\xa5", 3), EXC_PF);
	assert_registers(0x30008, END - 4, 3);
	assert_int_equal(*(uint8_t *)rig_ram(&rig, END - 4), 0x77);
}

static void test_zero_count(void **unused)
{
	start(rig_long_mode);
	registers(END, END, 0);
	assert_int_equal(run("\xf3\xa4", 2), -1);
	assert_registers(END, END, 0);
	/* 32-bit addresses: only ECX counts, and RCX is left alone */
	registers(END, END, 1ull << 32);
	assert_int_equal(run("\x67\xf3\xa4", 3), -1);
	assert_registers(END, END, 1ull << 32);
}

/* A destination just behind the source repeats the pattern; backwards it moves. */
static void test_overlap(void **unused)
{
	start(rig_long_mode);
	fill(0x30000, 64, 1);
	registers(0x30000, 0x30002, 60);
	assert_int_equal(run("\xf3\xa4", 2), -1);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(*(uint8_t *)rig_ram(&rig, 0x30000 + i), 1 + i % 2);
	fill(0x30000, 64, 1);
	registers(0x30000 + 39, 0x30002 + 39, 40);
	v->cpu.rflags |= FL_DF;
	assert_int_equal(run("\xf3\xa4", 2), -1);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(*(uint8_t *)rig_ram(&rig, 0x30002 + i), 1 + i);
	assert_registers(0x30000 - 1, 0x30002 - 1, 0);
}

/* Backwards over several pages, by each size and at odd offsets, as one element at a time would. */
static void test_backwards(void **unused)
{
	static const struct { const char *code; unsigned len, size; } forms[] = {
		{ "\xf3\xa4", 2, 1 }, { "\x66\xf3\xa5", 3, 2 }, { "\xf3\xa5", 2, 4 }, { "\xf3\x48\xa5", 3, 8 } };
	enum { COUNT = 1500 };
	for (unsigned k = 0; k < ARRAY_SIZE(forms); k++) {
		unsigned size = forms[k].size, bytes = COUNT * size;
		uint64_t src = 0x30ff8 + bytes, dst = 0x50003 + bytes;       /* behind the last element */
		start(rig_long_mode);
		for (unsigned i = 0; i < bytes + 32; i++)
			*(uint8_t *)rig_ram(&rig, src - bytes - 16 + i) = (uint8_t)(i * 7 + i / 256);
		fill(dst - bytes - 16, bytes + 32, 0xe0);
		registers(src - size, dst - size, COUNT);
		v->cpu.rflags |= FL_DF;
		assert_int_equal(run(forms[k].code, forms[k].len), -1);
		assert_registers(src - bytes - size, dst - bytes - size, 0);
		assert_memory_equal(rig_ram(&rig, dst - bytes), rig_ram(&rig, src - bytes), bytes);
		for (unsigned i = 0; i < 16; i++) {
			assert_int_equal(*(uint8_t *)rig_ram(&rig, dst - bytes - 16 + i), (uint8_t)(0xe0 + i));
			assert_int_equal(*(uint8_t *)rig_ram(&rig, dst + i), (uint8_t)(0xe0 + 16 + bytes + i));
		}
	}
}

/* Backwards, too, it stops where a page is missing. */
static void test_fault_backwards(void **unused)
{
	start(rig_long_mode);
	registers(0x30000 + 4096, END + 3, 8);
	v->cpu.rflags |= FL_DF;
	assert_int_equal(run("\xf3\xa4", 2), EXC_PF);
	assert_registers(0x30000 + 4096, END + 3, 8);
	assert_int_equal(v->cpu.cr2, END + 3);
	/* an element over the end of what is mapped */
	registers(0x30000, END - 4, 2);
	v->cpu.rflags |= FL_DF;
	assert_int_equal(run("\xf3\x48\xa5", 3), EXC_PF);
	assert_registers(0x30000, END - 4, 2);
}

/* Requests stop it between iterations; it goes on from there. */
static void test_request(void **unused)
{
	start(rig_long_mode);
	registers(0x30000, 0x50000, 3);
	v->requests = REQ_STOP;
	uint64_t retired = v->interpreted;
	assert_int_equal(run("\xf3\xaa", 2), -1);
	assert_int_equal(v->cpu.rip, CODE);
	assert_int_equal(v->cpu.gpr[RCX], 2);
	assert_int_equal(v->interpreted, retired);
	v->requests = 0;
	assert_int_equal(run("\xf3\xaa", 2), -1);
	assert_int_equal(v->cpu.rip, CODE + 2);
	assert_int_equal(v->cpu.gpr[RCX], 0);
	assert_int_equal(v->interpreted, retired + 1);
}

static void test_single_step(void **unused)
{
	start(rig_long_mode);
	registers(0x30000, 0x50000, 2);
	v->cpu.rflags |= FL_TF;
	assert_int_equal(run("\xf3\xaa", 2), -1);
	assert_int_equal(v->cpu.rip, CODE);
	assert_int_equal(v->cpu.gpr[RCX], 1);
}

/* Comparison ends REPNE SCAS after the element that matched. */
static void test_scan(void **unused)
{
	start(rig_long_mode);
	fill(0x30000, 16, 1);
	registers(0, 0x30000, 16);
	v->cpu.gpr[RAX] = 5;
	assert_int_equal(run("\xf2\xae", 2), -1);
	assert_registers(0, 0x30005, 11);
	assert_true(v->cpu.rflags & FL_ZF);
}

/* 16-bit addresses wrap at 64 KiB; 32-bit segments end at their limit. */
static void test_legacy(void **unused)
{
	struct x86_cpu *c = &v->cpu;
	start(rig_protected_mode);
	for (unsigned s = ES; s <= GS; s++)
		c->seg[s] = (struct x86_seg){ .base = 0x10000, .limit = 0xffff, .attr = 3 | SEG_S | SEG_P };
	c->seg[CS].attr = 0xb | SEG_S | SEG_P;
	fill(0x10000, 8, 1);
	registers(0, 0xfffe, 4);
	assert_int_equal(run("\xf3\xa4", 2), -1);
	assert_registers(4, 2, 0);
	assert_memory_equal(rig_ram(&rig, 0x1fffe), "\1\2", 2);
	assert_memory_equal(rig_ram(&rig, 0x10000), "\3\4", 2);   /* the third and fourth, wrapped */

	c->seg[ES].limit = 0x101f;
	registers(0, 0x1000, 64);
	assert_int_equal(run("\xf3\xaa", 2), EXC_GP);
	assert_registers(0, 0x1020, 32);
}

static int setup(void **unused)
{
	rig_create(&rig, &engine_interp, "max", GiB);
	v = rig.v;
	return 0;
}

static int teardown(void **unused)
{
	rig_destroy(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault), cmocka_unit_test(test_zero_count), cmocka_unit_test(test_overlap), cmocka_unit_test(test_backwards),
		cmocka_unit_test(test_fault_backwards),
		cmocka_unit_test(test_request), cmocka_unit_test(test_single_step), cmocka_unit_test(test_scan),
		cmocka_unit_test(test_legacy),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
