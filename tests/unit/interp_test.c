/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interpreter: integer instructions against the host's CPU (random operands,
 * every form of the tables below), its run loop, self-modifying code, counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "lib/forms.h"
#include "lib/native.h"
#include "lib/rig.h"

#define DATA 0x10010000ull
enum { DATA_BYTES = 4096, ROUNDS = 300 };

static struct rig rig;

static void random_state(struct native_state *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = random_value();
	s->gpr[RSP] = DATA + 2048 + (random64() & 0xf8);
	s->gpr[RBP] = DATA + 3072 + (random64() & 0xf8);
	s->gpr[RDI] = s->gpr[R15] = DATA + 1024 + (random64() & 127);
	s->gpr[RSI] = DATA + 1500 + (random64() & 127);
	for (unsigned i = 0; compat && i < 16; i++)
		s->gpr[i] = i < 8 ? (uint32_t)s->gpr[i] : 0;
	s->rflags = 2 | (random64() & FL_STATUS) | (random64() & 7 ? 0 : FL_DF);
	s->xsave.fcw = 0x37f;
	s->xsave.mxcsr = 0x1f80;
	s->xsave.xstate_bv = 3;
}

/* A bit string indexed by a pointer would leave the data. */
static bool wild(const struct x86_insn *i)
{
	return (i->op == OP_BT || i->op == OP_BTS || i->op == OP_BTR || i->op == OP_BTC) &&
	       i->o[0].kind == OPK_MEM && i->o[1].kind == OPK_GPR &&
	       (i->o[1].reg == RSP || i->o[1].reg == RDI || i->o[1].reg == R15);
}

/* Bit strings and string counts must stay in the data. */
static void tame(struct native_state *s, const struct x86_insn *i)
{
	if (i->op == OP_BT || i->op == OP_BTS || i->op == OP_BTR || i->op == OP_BTC) {
		for (unsigned r = 0; r < 16; r++)
			if (r != RSP && r != RDI && r != R15)
				s->gpr[r] &= 0x7ff;
	}
	if (i->prefix & (PFX_REP | PFX_REPNE))
		s->gpr[RCX] &= 15;
	if (i->op == OP_XLAT)
		s->gpr[RBX] = DATA;
}

static void load(struct vcpu *v, const struct native_state *s)
{
	memcpy(v->cpu.gpr, s->gpr, sizeof(s->gpr));
	v->cpu.rflags = s->rflags;
	v->cpu.rip = NATIVE_CODE;
	v->cpu.event.pending = 0;
}

static unsigned interpret(struct vcpu *v, const struct x86_insn *i)
{
	if (sigsetjmp(v->unwind, 0))
		return v->cpu.event.vector;
	do
		interp_exec(v, i);
	while (v->cpu.rip == NATIVE_CODE);
	return 0xff;
}

static void report(const uint8_t *code, unsigned n, const char *what, uint64_t mine, uint64_t host)
{
	fprintf(stderr, "code");
	for (unsigned i = 0; i < n; i++)
		fprintf(stderr, " %02x", code[i]);
	fprintf(stderr, ": %s is %llx, the host has %llx (seed %llx)\n", what,
		(unsigned long long)mine, (unsigned long long)host, (unsigned long long)seed);
	fail();
}

static void compare(struct vcpu *v, const struct native_state *s, const uint8_t *code, unsigned n,
		    unsigned vector, const uint8_t *start)
{
	char name[8];
	unsigned expect = s->signal ? s->trap : 0xff;
	if (vector != expect)
		report(code, n, "the exception", vector, expect);
	for (unsigned r = 0; r < (compat ? 8 : 16); r++) {
		snprintf(name, sizeof(name), "r%u", r);
		if (v->cpu.gpr[r] != s->gpr[r])
			report(code, n, name, v->cpu.gpr[r], s->gpr[r]);
	}
	if ((v->cpu.rflags ^ s->rflags) & (FL_STATUS | FL_DF))
		report(code, n, "rflags", v->cpu.rflags, s->rflags);
	if (memcmp(rig_ram(&rig, DATA), (void *)DATA, DATA_BYTES))
		for (unsigned i = 0; i < DATA_BYTES; i++) {
			uint8_t a = *(uint8_t *)rig_ram(&rig, DATA + i), b = *(uint8_t *)(DATA + i);
			if (a != b) {
				fprintf(stderr, "byte %x was %x\n", i, start[i]);
				report(code, n, "memory", a, b);
			}
		}
}

static void one_case(const struct form *f)
{
	struct native_state s, begin;
	struct x86_insn insn;
	uint8_t code[16] = { 0 }, start[DATA_BYTES];
	unsigned n = encode(f, code);
	if (x86_decode(rig.v->model, compat ? 4 : 8, false, code, n, &insn) != X86_OK || insn.len != n || wild(&insn))
		return;
	random_state(&s);
	tame(&s, &insn);
	for (unsigned i = 0; i < DATA_BYTES; i += 8)
		*(uint64_t *)(start + i) = random_value();
	memcpy(rig_ram(&rig, DATA), start, DATA_BYTES);
	memcpy((void *)DATA, start, DATA_BYTES);
	begin = s;
	load(rig.v, &s);
	unsigned vector = interpret(rig.v, &insn);
	native_run(&s, code, n, compat);
	compare(rig.v, &s, code, n, vector, start);
	if (vector == 0xff) {                  /* again as the run loop does it */
		memcpy(rig_ram(&rig, DATA), start, DATA_BYTES);
		load(rig.v, &begin);
		code[n] = 0xf4;
		rig_code(&rig, NATIVE_CODE, code, n + 1);
		assert_int_equal(rig_run(&rig, NATIVE_CODE), EXIT_HALT);
		assert_int_equal(rig.v->cpu.rip, NATIVE_CODE + n + 1);
		compare(rig.v, &s, code, n, vector, start);
	}
}

static void all_cases(const struct form *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned n = 0; n < ROUNDS; n++)
			one_case(&f[i]);
}

static void test_integer(void **unused)
{
	native_signals();
	rig_long_mode(&rig);
	all_cases(forms, ARRAY_SIZE(forms));
}

static void test_integer_32(void **unused)
{
	native_signals();
	rig_long_mode(&rig);
	compat = true;
	rig.v->cpu.seg[CS].attr ^= SEG_L | SEG_DB;
	all_cases(forms, ARRAY_SIZE(forms));
	all_cases(forms32, ARRAY_SIZE(forms32));
	compat = false;
}

/* mov $5,%ecx; xor %eax,%eax; 1: add %ecx,%eax; dec %ecx; jnz 1b; hlt */
static void test_loop(void **unused)
{
	static const uint8_t code[] = { 0xb9, 5, 0, 0, 0, 0x31, 0xc0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xf4 };
	rig_long_mode(&rig);
	rig_code(&rig, 0x20000, code, sizeof(code));
	uint64_t before = rig.v->interpreted;
	assert_int_equal(rig_run(&rig, 0x20000), EXIT_HALT);
	assert_int_equal(rig.v->cpu.gpr[RAX], 15);
	assert_int_equal(rig.v->cpu.rip, 0x2000e);
	assert_int_equal(rig.v->interpreted - before, 2 + 5 * 3 + 1);
}

/* movb $0x41,1f+2(%rip) ... 1: the immediate of the next instruction changes */
static void test_self_modifying(void **unused)
{
	/* c6 05 01 00 00 00 41: movb $0x41, 1(%rip); b0 00: mov $0,%al; hlt */
	static const uint8_t code[] = { 0xc6, 0x05, 1, 0, 0, 0, 0x41, 0xb0, 0x00, 0xf4 };
	rig_long_mode(&rig);
	for (unsigned i = 0; i < 3; i++) {
		rig_code(&rig, 0x30000, code, sizeof(code));
		rig.v->cpu.gpr[RAX] = 0;
		assert_int_equal(rig_run(&rig, 0x30000), EXIT_HALT);
		assert_int_equal(rig.v->cpu.gpr[RAX], 0x41);
	}
}

/* An instruction over the end of a page, and one whose second page is missing. */
static void test_page_crossing(void **unused)
{
	static const uint8_t code[] = { 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xf4 };
	rig_long_mode(&rig);
	rig_code(&rig, 0x41000 - 5, code, sizeof(code));
	assert_int_equal(rig_run(&rig, 0x41000 - 5), EXIT_HALT);
	assert_int_equal(rig.v->cpu.gpr[RAX], 0x0807060504030201);
	rig_code(&rig, 0x40000000 - 5, code, 5);
	rig.v->cpu.rip = 0x40000000 - 5;
	assert_int_equal(rig_run(&rig, 0x40000000 - 5), EXIT_SHUTDOWN);
	assert_int_equal(rig.v->cpu.cr2, 0x40000000);
}

/* mov $1,%eax; mov %eax,0x50000; inc %eax; hlt */
static const uint8_t debugged[] = { 0xb8, 1, 0, 0, 0, 0x89, 0x04, 0x25, 0, 0, 5, 0, 0xff, 0xc0, 0xf4 };

static void test_single_step(void **unused)
{
	struct vcpu *v = rig.v;
	rig_long_mode(&rig);
	rig_code(&rig, 0x48000, debugged, sizeof(debugged));
	v->debug.single_step = true;
	uint64_t before = v->interpreted;
	assert_int_equal(rig_run(&rig, 0x48000), EXIT_DEBUG);
	assert_int_equal(v->debug.hit_kind, 0);
	assert_int_equal(v->cpu.rip, 0x48005);
	assert_int_equal(v->interpreted - before, 1);
	v->debug.single_step = false;
	assert_int_equal(rig_run(&rig, v->cpu.rip), EXIT_HALT);
	assert_int_equal(v->interpreted - before, 4);
}

/* The others have a vCPU do a single step, too: what is in their engine_data is theirs. */
static void test_step_for_another_engine(void **unused)
{
	struct vcpu *v = rig.v;
	void *own = v->engine_data;
	rig_long_mode(&rig);
	rig_code(&rig, 0x48000, debugged, sizeof(debugged));
	v->cpu.rip = 0x48000;
	v->engine_data = NULL;
	if (!sigsetjmp(v->unwind, 0))
		interp_step(v);
	v->engine_data = own;
	assert_int_equal(v->cpu.rip, 0x48005);
	assert_int_equal(v->cpu.gpr[RAX], 1);
}

static void debug_point(struct vcpu *v, uint8_t kind, uint64_t addr, uint64_t len)
{
	v->debug.count = 1;
	v->debug.point[0].kind = kind;
	v->debug.point[0].addr = addr;
	v->debug.point[0].len = len;
}

static void test_points(void **unused)
{
	struct vcpu *v = rig.v;
	rig_long_mode(&rig);
	rig_code(&rig, 0x48000, debugged, sizeof(debugged));
	debug_point(v, 1, 0x4800c, 1);
	assert_int_equal(rig_run(&rig, 0x48000), EXIT_DEBUG);
	assert_int_equal(v->debug.hit_kind, 1);
	assert_int_equal(v->cpu.rip, 0x4800c);
	debug_point(v, 2, 0x50002, 1);
	assert_int_equal(rig_run(&rig, 0x48000), EXIT_DEBUG);
	assert_int_equal(v->debug.hit_kind, 2);
	assert_int_equal(v->debug.hit_addr, 0x50002);
	assert_int_equal(v->cpu.rip, 0x4800c);
	v->debug.count = 0;
	v->engine->state_set(v);
	assert_int_equal(rig_run(&rig, 0x48000), EXIT_HALT);
	assert_int_equal(v->cpu.gpr[RAX], 2);
}

static int setup(void **unused)
{
	struct error err;
	if (mmap((void *)DATA, DATA_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)DATA ||
	    !native_init(&err))
		return -1;
	rig_create(&rig, &engine_interp, "max", GiB);
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
		cmocka_unit_test(test_integer), cmocka_unit_test(test_integer_32), cmocka_unit_test(test_loop),
		cmocka_unit_test(test_self_modifying), cmocka_unit_test(test_page_crossing),
		cmocka_unit_test(test_single_step), cmocka_unit_test(test_points),
		cmocka_unit_test(test_step_for_another_engine),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
