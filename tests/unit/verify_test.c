/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verify mode on small programs: what is right passes, through all of a block's
 * translations, and a translation that does not fit its code is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "engine/jit/jit.h"
#include "lib/rig.h"

#define CODE 0x20000ull
#define DATA 0x100000ull

enum { LONG = 4 * 65536 };       /* elements of a string: four of an interpreter's shares */

static struct rig rig;

static void prepare(void)
{
	struct x86_cpu *c = &rig.v->cpu;

	rig_long_mode(&rig);
	memset(c->gpr, 0, sizeof(c->gpr));
	c->gpr[RBX] = DATA;
	c->gpr[RSP] = DATA + 0x8000;
}

static enum vcpu_exit run(void)
{
	prepare();
	return rig_run(&rig, CODE);
}

static enum vcpu_exit run_move(uint64_t from, uint64_t to, uint64_t count)
{
	struct x86_cpu *c = &rig.v->cpu;

	prepare();
	c->gpr[RSP] = DATA;
	c->gpr[RSI] = from;
	c->gpr[RDI] = to;
	c->gpr[RCX] = count;
	c->gpr[RBP] = LONG / 4;
	return rig_run(&rig, CODE);
}

#define PROGRAM(bytes) rig_code(&rig, CODE, bytes, sizeof(bytes) - 1)

/* mov $2000,%ecx; 1: add %rcx,(%rbx); mov (%rbx),%rax; mov %rax,8(%rbx); add $16,%rbx;
 * dec %rcx; jnz 1b; hlt: hot, four turns at a time, a new page now and then. */
static void test_hot_loop(void **unused)
{
	PROGRAM("\xb9\xd0\x07\0\0\x48\x01\x0b\x48\x8b\x03\x48\x89\x43\x08\x48\x83\xc3\x10\x48\xff\xc9\x75\xed\xf4");
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(run(), EXIT_HALT);
	assert_int_equal(rig.v->cpu.gpr[RBX], DATA + 2000 * 16);
	assert_int_equal(*(uint64_t *)rig_ram(&rig, DATA), 3 * 2000);
	assert_true(jit_of(rig.v)->stats[STAT_better] > 0);
	assert_true(jit_of(rig.v)->stats[STAT_verified] > 100);
}

/* mov $100,%ecx; 1: push %rcx; mov $8,%ecx; lea 64(%rbx),%rdi; mov %rbx,%rsi; rep movsb;
 * pop %rcx; rdtsc; mov %eax,(%rbx); pushf; pop %rdx; sti; nop; cli; dec %ecx; jnz 1b; hlt */
static void test_strings_and_system(void **unused)
{
	PROGRAM("\xb9\x64\0\0\0\x51\xb9\x08\0\0\0\x48\x8d\x7b\x40\x48\x89\xde\xf3\xa4\x59\x0f\x31\x89\x03\x9c\x5a"
		"\xfb\x90\xfa\xff\xc9\x75\xe3\xf4");
	assert_int_equal(run(), EXIT_HALT);
	assert_int_equal((uint32_t)rig.v->cpu.gpr[RCX], 0);
}

/* Numbers from DATA on, 2 MiB and a page of them. */
static uint64_t *numbers(void)
{
	uint64_t *at = rig_ram(&rig, DATA);

	for (unsigned n = 0; n < LONG + PAGE_SIZE / 8; n++)
		at[n] = n;
	return at;
}

/* rep movsq; nop (four times); hlt: what has been moved by a share lies in the way of the next. */
static void test_long_move(void **unused)
{
	uint64_t *at = numbers();

	PROGRAM("\xf3\x48\xa5\x90\x90\x90\x90\xf4");
	assert_int_equal(run_move(DATA + PAGE_SIZE, DATA, LONG), EXIT_HALT);
	for (unsigned n = 0; n < LONG; n++)
		assert_int_equal(at[n], n + PAGE_SIZE / 8);
}

/* std; push %rcx; rep movsq; pop %rcx; hlt: each store is on its own. */
static void test_long_move_down(void **unused)
{
	uint64_t *at = numbers();

	PROGRAM("\xfd\x51\xf3\x48\xa5\x59\xf4");
	assert_int_equal(run_move(DATA + LONG * 8 - 8, DATA + LONG * 8 - 8 + PAGE_SIZE, LONG), EXIT_HALT);
	for (unsigned n = 0; n < LONG; n++)
		assert_int_equal(at[n + PAGE_SIZE / 8], n);
}

/* (mov %ebp,%ecx; rep movsq) four times; hlt: 2 MiB of stores in one block. */
static void test_moves_of_a_block(void **unused)
{
#define MOVE "\x89\xe9\xf3\x48\xa5"
	uint64_t *at = numbers();

	PROGRAM(MOVE MOVE MOVE MOVE "\xf4");
	assert_int_equal(run_move(DATA + PAGE_SIZE, DATA, 0), EXIT_HALT);
	for (unsigned n = 0; n < LONG; n++)
		assert_int_equal(at[n], n + PAGE_SIZE / 8);
}

/* mov $1,%eax; hlt; then the 1 becomes 2 behind the translator's back. */
static void test_difference(void **unused)
{
	PROGRAM("\xb8\x01\0\0\0\xf4");
	assert_int_equal(run(), EXIT_HALT);
	*(uint8_t *)rig_ram(&rig, CODE + 1) = 2;
	assert_int_equal(run(), EXIT_ERROR);
	assert_non_null(strstr(rig.v->error.text, "verify: gpr[RAX] differs after the block at rip 0x20000"));
	PROGRAM("\xb8\x03\0\0\0\xf4");
	assert_int_equal(run(), EXIT_HALT);
	assert_int_equal(rig.v->cpu.gpr[RAX], 3);
}

static int setup(void **unused)
{
	static char verify[] = "verify";
	static const struct machine_config config = { .engine_options = verify };

	rig_config = &config;
	rig_create(&rig, &engine_jit, "max", 4 * MiB);
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
		cmocka_unit_test(test_hot_loop),
		cmocka_unit_test(test_strings_and_system),
		cmocka_unit_test(test_long_move),
		cmocka_unit_test(test_long_move_down),
		cmocka_unit_test(test_moves_of_a_block),
		cmocka_unit_test(test_difference),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
