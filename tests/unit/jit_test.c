/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator against the interpreter: random integer instructions in
 * sequences (so that flags live on and die over several), directed loops, calls,
 * self-modifying code.  JIT_TEST_ROUNDS and JIT_TEST_SEED override the defaults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "engine/jit/jit.h"
#include "lib/forms.h"
#include "lib/rig.h"

#define DATA 0x10010000ull
#define CODE 0x20000ull
enum { DATA_BYTES = 4096, SEQUENCE = 6 };

static struct rig oracle, rig;

struct start { uint64_t gpr[16], rflags; uint8_t data[DATA_BYTES]; };

static void random_start(struct start *s)
{
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = random_value();
	s->gpr[RSP] = DATA + 2048 + (random64() & 0xf8);
	s->gpr[RBP] = DATA + 3072 + (random64() & 0xf8);
	s->gpr[RDI] = s->gpr[R15] = DATA + 1024 + (random64() & 127);
	s->gpr[RSI] = DATA + 1500 + (random64() & 127);
	if (random64() % 4 == 0)
		s->gpr[R11] = s->gpr[R10] = s->gpr[RDI];
	s->rflags = 2 | (random64() & FL_STATUS);
	for (unsigned i = 0; i < DATA_BYTES; i += 8)
		*(uint64_t *)(s->data + i) = random_value();
}

static enum vcpu_exit run(struct rig *r, const struct start *s, const uint8_t *code, unsigned n)
{
	struct x86_cpu *c = &r->v->cpu;

	rig_long_mode(r);
	memcpy(c->gpr, s->gpr, sizeof(c->gpr));
	c->rflags = s->rflags;
	c->event.pending = 0;
	memcpy(rig_ram(r, DATA), s->data, DATA_BYTES);
	rig_code(r, CODE, code, n);
	return rig_run(r, CODE);
}

static void report(const uint8_t *code, unsigned n, const char *what, uint64_t mine, uint64_t right, uint64_t began)
{
	fprintf(stderr, "code");
	for (unsigned i = 0; i < n; i++)
		fprintf(stderr, " %02x", code[i]);
	fprintf(stderr, ": %s is %llx, the interpreter has %llx (seed %llx)\n", what,
		(unsigned long long)mine, (unsigned long long)right, (unsigned long long)began);
	fail();
}

static void compare(const uint8_t *code, unsigned n, enum vcpu_exit mine, enum vcpu_exit right, uint64_t began)
{
	const struct x86_cpu *a = &rig.v->cpu, *b = &oracle.v->cpu;
	char name[8];

	if (mine != right)
		report(code, n, "the exit", mine, right, began);
	if (a->rip != b->rip)
		report(code, n, "rip", a->rip, b->rip, began);
	for (unsigned r = 0; r < 16; r++) {
		snprintf(name, sizeof(name), "r%u", r);
		if (a->gpr[r] != b->gpr[r])
			report(code, n, name, a->gpr[r], b->gpr[r], began);
	}
	if (right == EXIT_HALT && (a->rflags ^ b->rflags) & (FL_STATUS | FL_DF))
		report(code, n, "rflags", a->rflags, b->rflags, began);
	for (unsigned i = 0; i < DATA_BYTES; i++)
		if (*(uint8_t *)rig_ram(&rig, DATA + i) != *(uint8_t *)rig_ram(&oracle, DATA + i))
			report(code, n, "memory", i, 0, began);
}

/* The encoder uses rdi or r15 with memory; some become [r10+disp8], [r11+..]. */
static unsigned one_insn(uint8_t *code)
{
	struct x86_insn insn;
	const struct form *f;
	unsigned n;

	do {
		f = &forms[random64() % ARRAY_SIZE(forms)];
		n = encode(f, code);
		if (!is_vex(f) && f->modrm && random64() % 3 == 0)
			for (unsigned k = 0; k < n; k++)
				if ((code[k] & 0xf0) == 0x40) {    /* REX: other registers */
					code[k] ^= (uint8_t)(random64() & 7);
					break;
				}
	} while (x86_decode(oracle.v->model, 8, false, code, n, &insn) != X86_OK || insn.len != n ||
		 insn.prefix & (PFX_REP | PFX_REPNE) || insn.op == OP_ENTER);
	return n;
}

static void one_case(void)
{
	static struct start s;
	uint64_t began = seed;
	uint8_t code[SEQUENCE * 16 + 1];
	unsigned n = 0, count = 1 + random64() % SEQUENCE;

	while (count--)
		n += one_insn(code + n);
	code[n++] = 0xf4;
	random_start(&s);
	enum vcpu_exit right = run(&oracle, &s, code, n), mine = run(&rig, &s, code, n);
	compare(code, n, mine, right, began);
}

static void test_random(void **unused)
{
	const char *rounds = getenv("JIT_TEST_ROUNDS"), *first = getenv("JIT_TEST_SEED");

	if (first)
		seed = strtoull(first, NULL, 16);
	for (unsigned long n = rounds ? strtoul(rounds, NULL, 0) : 20000; n; n--)
		one_case();
}

static void directed(const char *bytes, unsigned n, uint64_t rax)
{
	static struct start s;

	random_start(&s);
	for (unsigned k = 0; k < 3; k++) {
		enum vcpu_exit right = run(&oracle, &s, (const uint8_t *)bytes, n);
		compare((const uint8_t *)bytes, n, run(&rig, &s, (const uint8_t *)bytes, n), right, 0);
		assert_int_equal(right, EXIT_HALT);
		assert_int_equal(rig.v->cpu.gpr[RAX], rax);
	}
}

static void test_loop(void **unused)
{
	/* mov $1000,%ecx; xor %eax,%eax; 1: add %rcx,%rax; dec %rcx; jnz 1b; hlt */
	directed("\xb9\xe8\x03\0\0\x31\xc0\x48\x01\xc8\x48\xff\xc9\x75\xf8\xf4", 16, 500500);
}

static void test_calls(void **unused)
{
	/* mov $10,%edi; call fib; hlt; fib: cmp $2,%edi; jb 1f; push %rdi; dec %edi; call fib; pop %rdi;
	 * push %rax; sub $2,%edi; call fib; pop %rdx; add %rdx,%rax; ret; 1: mov %edi,%eax; ret */
	directed("\xbf\x0a\0\0\0\xe8\x01\0\0\0\xf4"
		 "\x83\xff\x02\x72\x17\x57\xff\xcf\xe8\xf3\xff\xff\xff\x5f\x50\x83\xef\x02\xe8\xe9\xff\xff\xff"
		 "\x5a\x48\x01\xd0\xc3\x89\xf8\xc3", 42, 55);
}

static void test_self_modifying(void **unused)
{
	/* movb $0x41, 1(%rip); mov $0,%al; movzbl %al,%eax; hlt */
	directed("\xc6\x05\x01\0\0\0\x41\xb0\0\x0f\xb6\xc0\xf4", 13, 0x41);
}

/* Where a branch of a block joins it again the block ends: what is behind is translated once. */
static void test_joined(void **unused)
{
	/* test %ecx,%ecx; jz 1f; inc %eax; 1: mov $7,%edx; hlt */
	static const uint8_t code[] = "\x85\xc9\x74\x02\xff\xc0\xba\x07\0\0\0\xf4";
	uint64_t *insns = &jit_of(rig.v)->stats[STAT_insns], before = *insns;

	rig_code(&rig, CODE, code, sizeof(code) - 1);
	for (unsigned k = 0; k < 2; k++) {
		rig_long_mode(&rig);
		rig.v->cpu.gpr[RCX] = k;
		rig.v->cpu.gpr[RAX] = 0;
		assert_int_equal(rig_run(&rig, CODE), EXIT_HALT);
		assert_int_equal(rig.v->cpu.gpr[RAX], k);
		assert_int_equal(rig.v->cpu.gpr[RDX], 7);
	}
	assert_int_equal(*insns - before, 5);
	rig_code(&oracle, CODE, code, sizeof(code) - 1);
}

/* Other code at the same place: what it needs of the flags is found out anew. */
static void test_seen(void **unused)
{
	/* mov $-1,%eax; add $1,%eax; mov (%rdi),%rcx; jmp 1f; 1: xor %eax,%eax (or adc %eax,%eax); hlt */
	for (unsigned k = 0; k < 2; k++) {
		directed("\xb8\xff\xff\xff\xff\x83\xc0\x01\x48\x8b\x0f\xeb\0\x31\xc0\xf4", 16, 0);
		directed("\xb8\xff\xff\xff\xff\x83\xc0\x01\x48\x8b\x0f\xeb\0\x11\xc0\xf4", 16, 1);
	}
}

/* A page that was code and now takes stores beside it goes back to fast stores,
 * and what is left of the code still runs. */
static void test_code_becomes_data(void **unused)
{
	/* mov $7,%eax; hlt -- mov $1000,%ecx; 1: mov %ecx,CODE+2048; dec %ecx; jnz 1b; hlt */
	static const char seven[] = "\xb8\x07\0\0\0\xf4";
	static const char stores[] = "\xb9\xe8\x03\0\0\x89\x0c\x25\x00\x08\x02\x00\xff\xc9\x75\xf5\xf4";

	directed(seven, sizeof(seven) - 1, 7);
	assert_true(rig.ram->flags[CODE / PAGE_SIZE] & PAGE_CODE);
	rig_long_mode(&rig);
	rig_code(&rig, CODE + 0x10000, stores, sizeof(stores) - 1);
	assert_int_equal(rig_run(&rig, CODE + 0x10000), EXIT_HALT);
	assert_int_equal(*(uint32_t *)rig_ram(&rig, CODE + 2048), 1);
	memcpy(rig_ram(&oracle, CODE), rig_ram(&rig, CODE), 0x20000);    /* the same for all cases to come */
	assert_false(rig.ram->flags[CODE / PAGE_SIZE] & PAGE_CODE);
	directed(seven, sizeof(seven) - 1, 7);
}

static void test_strings(void **unused)
{
	/* mov $100,%ecx; rep stosb; mov $8,%cl; rep movsq; std; mov $3,%cl; rep stosl; cld;
	 * xor %eax,%eax; hlt */
	directed("\xb9\x64\0\0\0\xf3\xaa\xb1\x08\xf3\x48\xa5\xfd\xb1\x03\xf3\xab\xfc\x31\xc0\xf4", 21, 0);
}

/* A count of 33 is not 1 for 64 bits: what the host does with OF depends on the OF before. */
static void test_rotate_by_33(void **unused)
{
	/* mov $0x7f,%al; add %al,%al; mov 0x30000,%rcx (a check: flags are put away); ror $33,%rbp; hlt */
	static const char code[] = "\xb0\x7f\0\xc0\x48\x8b\x0c\x25\0\0\x03\0\x48\xc1\xcd\x21\xf4";
	static struct start s;

	random_start(&s);
	for (unsigned n = 0; n < 8; n++) {
		s.gpr[RBP] = 1ull << (8 * n);
		enum vcpu_exit right = run(&oracle, &s, (const uint8_t *)code, sizeof(code) - 1);
		compare((const uint8_t *)code, sizeof(code) - 1, run(&rig, &s, (const uint8_t *)code, sizeof(code) - 1), right, 0);
	}
}

/* High halves of vectors are what they were, whether the host has to keep any or not. */
static void test_high_halves(void **unused)
{
	/* movaps %xmm2,%xmm1; pcmpeqd %xmm3,%xmm3; hlt */
	static const uint8_t code[] = "\x0f\x28\xca\x66\x0f\x76\xdb\xf4";
	struct x86_xsave *x = &rig.v->cpu.xsave;

	for (unsigned lone = 0; lone <= 16; lone++) {        /* 16: none but zero */
		rig_long_mode(&rig);
		memset(x->ymmh, 0, sizeof(x->ymmh));
		memset(x->xmm, 0x5a, sizeof(x->xmm));
		memset(x->xmm[2], 0x12, 16);
		if (lone < 16)
			x->ymmh[lone][15] = 1;
		x->xstate_bv = XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX;
		rig_code(&rig, CODE, code, sizeof(code) - 1);
		assert_int_equal(rig_run(&rig, CODE), EXIT_HALT);
		assert_int_equal(x->xmm[1][7], 0x12);
		assert_int_equal(x->xmm[3][7], 0xff);
		assert_int_equal(x->xmm[15][0], 0x5a);
		for (unsigned k = 0; k < 256; k++)
			assert_int_equal(x->ymmh[k / 16][k % 16], k == lone * 16 + 15);
	}
	rig_code(&oracle, CODE, code, sizeof(code) - 1);
}

/* AH and its like from and to memory need no interpreter, though no REX can name them. */
static void test_high_bytes(void **unused)
{
	/* mov $1000,%ebx; 1: mov %bl,(%rdi); mov (%rdi),%ah; add %ah,1(%rdi); cmp 1(%rdi),%dh; sbb (%rdi),%ch;
	 * mov %ch,2(%rdi); dec %ebx; jnz 1b; movzbl %ah,%eax; hlt */
	static const char code[] = "\xbb\xe8\x03\0\0\x88\x1f\x8a\x27\x00\x67\x01\x3a\x77\x01\x1a\x2f\x88\x6f\x02"
				   "\xff\xcb\x75\xed\x0f\xb6\xc4\xf4";
	const uint64_t *slow = &jit_of(rig.v)->stats[STAT_slow];
	uint64_t before = *slow;

	directed(code, sizeof(code) - 1, 1);
	assert_in_range(*slow - before, 0, 100);
}

/* More targets than the pair of slots that they share in the jump cache: what had to give way
 * is found again, and is the right one. */
static void test_shared_slots(void **unused)
{
	enum { TARGETS = 12, TURNS = 40 };
	/* imul $3,%rbx,%rbx; add $k,%rbx; lodsq; jmp *%rax -- lodsq; jmp *%rax; hlt */
	static char code[] = "\x48\x6b\xdb\x03\x48\x83\xc3\0\x48\xad\xff\xe0", start[] = "\x48\xad\xff\xe0\xf4";
	static struct start s;
	uint64_t target[TARGETS], *table = (uint64_t *)s.data, before = jit_of(rig.v)->stats[STAT_regained];
	unsigned n = 0;

	for (uint64_t rip = CODE + 0x10000; n < TARGETS; rip += 16) {
		if (n && jump_slot(rip) / 2 != jump_slot(target[0]) / 2)
			continue;
		code[7] = (char)n;
		rig_code(&rig, rip, code, sizeof(code) - 1);
		rig_code(&oracle, rip, code, sizeof(code) - 1);
		target[n++] = rip;
	}
	random_start(&s);
	s.gpr[RSI] = DATA;
	for (n = 0; n < TARGETS * TURNS; n++)
		table[n] = target[n % TARGETS];
	table[n] = CODE + 4;
	enum vcpu_exit right = run(&oracle, &s, (uint8_t *)start, sizeof(start) - 1);
	compare((uint8_t *)start, sizeof(start) - 1, run(&rig, &s, (uint8_t *)start, sizeof(start) - 1), right, 0);
	assert_true(jit_of(rig.v)->stats[STAT_regained] > before);
}

/* A branch lies in one line, and does not reach its end. */
static void test_lines(void **unused)
{
	static uint8_t code[4 * LINE] __attribute__((aligned(LINE)));

	for (unsigned at = 0; at < LINE; at++)
		for (unsigned n = 2; n < 24; n++) {
			struct emit e = { .p = code + at, .end = code + sizeof(code), .lines = true };
			emit_in_line(&e, n);
			unsigned from = (unsigned)(e.p - code);
			assert_in_range(from, at, LINE);
			assert_true(from % LINE + n < LINE);
			e.p = code + at;
			emit_align_patch(&e, 2);
			from = (unsigned)(e.p - code);
			assert_true(from % LINE + 6 < LINE && (from + 2) % 8 <= 4);
		}
	assert_true(emit_lines_matter(0x506e3) && emit_lines_matter(0x50657) && emit_lines_matter(0xa0655));
	assert_false(emit_lines_matter(0xa0671) || emit_lines_matter(0x806f8) || emit_lines_matter(0x800f12));
}

static void note(void *opaque, const char *name, uint64_t value)
{
	uint64_t *got = opaque;

	if (!strcmp(name, "evictions"))
		got[0] = value;
	if (!strcmp(name, "cache_bytes"))
		got[1] = value;
}

/* More has been translated than there is room for: the oldest is gone each time, and all went on. */
static void test_small_cache(void **unused)
{
	uint64_t got[2] = { 0, 0 };

	engine_jit.stats(&rig.m, note, got);
	assert_true(got[0] >= 2);
	assert_in_range(got[1], 1, 2 * MiB);
}

static void test_options(void **unused)
{
	static struct jit_vm vm;
	static const char *const wrong[] = { "cache", "cache=", "cache=0", "cache=1000", "cache=2G", "cache=1.5M", "fast", "eager,fast",
		"hot=", "hot=0", "hot=32769", "hot=-1", "hot=1x" };
	struct error err = { 0 };

	assert_true(jit_options(&vm, NULL, &err));
	assert_int_equal(vm.size, 64 * MiB);
	assert_false(vm.eager || vm.verifies);
	assert_int_equal(vm.hot_runs, HOT_RUNS);
	assert_true(jit_options(&vm, "eager,hot=500,cache=16M", &err));
	assert_int_equal(vm.hot_runs, 500);
	assert_int_equal(vm.size, 16 * MiB);
	assert_true(vm.eager && !vm.verifies);
	assert_true(jit_options(&vm, "verify", &err));
	assert_int_equal(vm.size, 64 * MiB);
	assert_true(vm.verifies);
	for (unsigned k = 0; k < ARRAY_SIZE(wrong); k++)
		assert_false(jit_options(&vm, wrong[k], &err));
}

static int setup(void **unused)
{
	static char options[] = "cache=2M";
	static struct machine_config config = { .engine_options = options };

	rig_create(&oracle, &engine_interp, "max", GiB);
	rig_config = &config;
	rig_create(&rig, &engine_jit, "max", GiB);
	return 0;
}

static int teardown(void **unused)
{
	rig_destroy(&rig);
	rig_destroy(&oracle);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop), cmocka_unit_test(test_calls),
		cmocka_unit_test(test_self_modifying), cmocka_unit_test(test_joined),
		cmocka_unit_test(test_seen), cmocka_unit_test(test_strings),
		cmocka_unit_test(test_code_becomes_data), cmocka_unit_test(test_high_halves), cmocka_unit_test(test_high_bytes), cmocka_unit_test(test_shared_slots),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_rotate_by_33),
		cmocka_unit_test(test_random), cmocka_unit_test(test_small_cache), cmocka_unit_test(test_options),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
