/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every x87 encoding, handler against host CPU, from random states: any TOP and
 * tags, special values, masked and unmasked exceptions, pending ones.
 */
#include "fpu_fake.h"

enum { ROUNDS = 300 };

static void random_memory(uint8_t *mem, unsigned size)
{
	uint8_t st[16];

	random_bytes(mem, size);
	random_st(st);
	if (random64() & 1 && size >= 16)
		memcpy(mem, st, 16);         /* good as an m80 or, sometimes, as zeroes */
	if (!(random64() & 7))
		memset(mem, 0, size);
}

/* Unmasked exceptions leave pointers in the native image; they are not compared. */
static void show_difference(const uint8_t *code, const struct native_state *s, const struct native_state *before)
{
	const struct x86_xsave *a = &s->xsave, *b = &fake.cpu.xsave;

	fprintf(stderr, "%02x %02x: before fcw %04x fsw %04x ftw %02x\n"
		"native fcw %04x fsw %04x ftw %02x flags %03x trap %u\n"
		"ours   fcw %04x fsw %04x ftw %02x flags %03x\n", code[0], code[1],
		before->xsave.fcw, before->xsave.fsw, before->xsave.ftw,
		a->fcw, a->fsw, a->ftw, (unsigned)s->rflags, s->trap, b->fcw, b->fsw, b->ftw,
		(unsigned)fake.cpu.rflags);
}

static bool same_x87(const struct native_state *s)
{
	const struct x86_xsave *a = &s->xsave, *b = &fake.cpu.xsave;

	return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw &&
	       !memcmp(a->st, b->st, sizeof(a->st)) &&
	       !((s->rflags ^ fake.cpu.rflags) & FL_STATUS) && s->gpr[RAX] == fake.cpu.gpr[RAX];
}

/* FLDENV and FNSTENV carry instruction pointers: clear them in stored images. */
static void clear_pointers(const struct x86_insn *i, uint8_t *mem)
{
	if (i->op == OP_X87_ENV)
		memset(mem + (i->opsize == 2 ? 6 : 12), 0, i->opsize == 2 ? 8 : 14);
}

static void one_case(const uint8_t *code, unsigned n, bool compat)
{
	static struct native_state s, before;
	uint8_t memory[128], native_memory[128];
	uint8_t *data = (void *)DATA;
	struct x86_insn insn = { 0 };
	unsigned vector;

	memset(&s, 0, sizeof(s));
	random_x87(&s.xsave);
	s.gpr[RSI] = DATA;
	s.gpr[RSP] = DATA + 4096;
	s.rflags = (random64() & FL_STATUS) | FL_1 | FL_IF;
	random_memory(memory, sizeof(memory));
	before = s;
	memcpy(data, memory, sizeof(memory));
	native_run(&s, code, n, compat);
	memcpy(native_memory, data, sizeof(memory));
	memcpy(data, memory, sizeof(memory));
	fake_load(&before, compat);
	vector = fake_run(code, n, compat, &insn);
	clear_pointers(&insn, native_memory);
	clear_pointers(&insn, data);
	if (vector != s.trap || !same_x87(&s) || memcmp(native_memory, data, sizeof(memory)))
		show_difference(code, &s, &before);
	assert_int_equal(vector, s.trap);
	assert_true(same_x87(&s));
	assert_memory_equal(data, native_memory, sizeof(memory));
}

static void every_encoding(bool compat)
{
	for (unsigned opcode = 0xd8; opcode <= 0xdf; opcode++)
		for (unsigned modrm = 0; modrm < 0x100; modrm++) {
			uint8_t code[2] = { (uint8_t)opcode, (uint8_t)modrm };

			if (modrm < 0xc0 && (modrm & 0xc7) != 6)
				continue;            /* [rsi] stands for all */
			for (unsigned n = 0; n < ROUNDS; n++)
				one_case(code, 2, compat);
		}
}

static void test_64bit(void **state)
{
	native_signals();
	every_encoding(false);
}

static void test_32bit(void **state)
{
	static const uint8_t env[][2] = { { 0xd9, 0x26 }, { 0xd9, 0x36 }, { 0xdd, 0x26 }, { 0xdd, 0x36 } };
	uint8_t prefixed[3] = { 0x66 };

	native_signals();
	for (unsigned k = 0; k < 4; k++)
		for (unsigned n = 0; n < ROUNDS; n++) {
			memcpy(prefixed + 1, env[k], 2);
			one_case(env[k], 2, false);
			one_case(prefixed, 3, false);
		}
}

static void test_fwait_emms(void **state)
{
	static const uint8_t fwait[] = { 0x9b }, emms[] = { 0x0f, 0x77 };

	native_signals();
	for (unsigned n = 0; n < ROUNDS; n++) {
		one_case(fwait, 1, false);
		one_case(emms, 2, false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_64bit), cmocka_unit_test(test_32bit), cmocka_unit_test(test_fwait_emms),
	};

	return cmocka_run_group_tests(tests, fake_setup, NULL);
}
