/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer instruction forms for tests, and a random encoder of them: memory
 * operands are [rdi + disp8], or [r15 + disp8] where REX.B is set.
 */
#ifndef TESTS_LIB_FORMS_H
#define TESTS_LIB_FORMS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/util.h"

static uint64_t seed = 1;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

/* Values at which arithmetic changes its mind, half of the time. */
static uint64_t random_value(void)
{
	static const uint64_t edge[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 31, 32, 63, 64,
					 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, 1ull << 63, ~0ull };
	uint64_t r = random64();
	return r & 1 ? random64() >> (r >> 8 & 63) : edge[(r >> 8) % ARRAY_SIZE(edge)];
}

/* Opcode bytes; forms with ModRM get one appended. */
struct form { const char *bytes; uint8_t n; bool modrm; int8_t group; uint8_t imm; bool no_16; bool mem_ok; };
#define M_(bytes, n) { bytes, n, true, -1, 0, false, true }
#define G_(bytes, n, group, imm) { bytes, n, true, group, imm, false, true }
#define N_(bytes, n, imm) { bytes, n, false, -1, imm, false, false }
#define ARITH(o) M_((const char[]){ o }, 1), M_((const char[]){ o + 1 }, 1), \
	M_((const char[]){ o + 2 }, 1), M_((const char[]){ o + 3 }, 1), \
	N_((const char[]){ o + 4 }, 1, 1), N_((const char[]){ o + 5 }, 1, 4)
#define GROUP8(b, n, imm) G_(b, n, 0, imm), G_(b, n, 1, imm), G_(b, n, 2, imm), G_(b, n, 3, imm), \
	G_(b, n, 4, imm), G_(b, n, 5, imm), G_(b, n, 6, imm), G_(b, n, 7, imm)

static const struct form forms[] = {
	ARITH(0x00), ARITH(0x08), ARITH(0x10), ARITH(0x18), ARITH(0x20), ARITH(0x28), ARITH(0x30), ARITH(0x38),
	GROUP8("\x80", 1, 1), GROUP8("\x81", 1, 4), GROUP8("\x83", 1, 1),
	GROUP8("\xc0", 1, 1), GROUP8("\xc1", 1, 1), GROUP8("\xd0", 1, 0), GROUP8("\xd1", 1, 0),
	GROUP8("\xd2", 1, 0), GROUP8("\xd3", 1, 0),
	G_("\xf6", 1, 0, 1), G_("\xf6", 1, 2, 0), G_("\xf6", 1, 3, 0), G_("\xf6", 1, 4, 0),
	G_("\xf6", 1, 5, 0), G_("\xf6", 1, 6, 0), G_("\xf6", 1, 7, 0),
	G_("\xf7", 1, 0, 4), G_("\xf7", 1, 2, 0), G_("\xf7", 1, 3, 0), G_("\xf7", 1, 4, 0),
	G_("\xf7", 1, 5, 0), G_("\xf7", 1, 6, 0), G_("\xf7", 1, 7, 0),
	G_("\xfe", 1, 0, 0), G_("\xfe", 1, 1, 0), G_("\xff", 1, 0, 0), G_("\xff", 1, 1, 0), G_("\xff", 1, 6, 0),
	M_("\x84", 1), M_("\x85", 1), M_("\x86", 1), M_("\x87", 1), M_("\x88", 1), M_("\x89", 1),
	M_("\x8a", 1), M_("\x8b", 1), M_("\x8d", 1), M_("\x63", 1),
	G_("\xc6", 1, 0, 1), G_("\xc7", 1, 0, 4), G_("\x8f", 1, 0, 0),
	{ "\x69", 1, true, -1, 4, false, true }, { "\x6b", 1, true, -1, 1, false, true },
	N_("\x50", 1, 0), N_("\x53", 1, 0), N_("\x58", 1, 0), N_("\x5b", 1, 0), N_("\x68", 1, 4), N_("\x6a", 1, 1),
	N_("\x91", 1, 0), N_("\x93", 1, 0), N_("\x98", 1, 0), N_("\x99", 1, 0), N_("\x9e", 1, 0), N_("\x9f", 1, 0),
	N_("\xa8", 1, 1), N_("\xa9", 1, 4), N_("\xb3", 1, 1), N_("\xf5", 1, 0), N_("\xf8", 1, 0), N_("\xf9", 1, 0),
	N_("\x0f\xc8", 2, 0), N_("\x0f\xcb", 2, 0),
	M_("\x0f\x40", 2), M_("\x0f\x41", 2), M_("\x0f\x42", 2), M_("\x0f\x43", 2), M_("\x0f\x44", 2),
	M_("\x0f\x46", 2), M_("\x0f\x48", 2), M_("\x0f\x4a", 2), M_("\x0f\x4c", 2), M_("\x0f\x4e", 2), M_("\x0f\x4f", 2),
	M_("\x0f\x90", 2), M_("\x0f\x92", 2), M_("\x0f\x97", 2), M_("\x0f\x9b", 2), M_("\x0f\x9d", 2), M_("\x0f\x9e", 2),
	M_("\x0f\xa3", 2), M_("\x0f\xab", 2), M_("\x0f\xb3", 2), M_("\x0f\xbb", 2),
	G_("\x0f\xba", 2, 4, 1), G_("\x0f\xba", 2, 5, 1), G_("\x0f\xba", 2, 6, 1), G_("\x0f\xba", 2, 7, 1),
	{ "\x0f\xa4", 2, true, -1, 1, true, true }, { "\x0f\xac", 2, true, -1, 1, true, true },
	{ "\x0f\xa5", 2, true, -1, 0, true, true }, { "\x0f\xad", 2, true, -1, 0, true, true },
	M_("\x0f\xaf", 2), M_("\x0f\xb0", 2), M_("\x0f\xb1", 2), M_("\x0f\xc0", 2), M_("\x0f\xc1", 2),
	M_("\x0f\xb6", 2), M_("\x0f\xb7", 2), M_("\x0f\xbe", 2), M_("\x0f\xbf", 2),
	M_("\x0f\xbc", 2), M_("\x0f\xbd", 2), M_("\x0f\xc3", 2), G_("\x0f\xc7", 2, 1, 0),
	M_("\xf3\x0f\xb8", 3), M_("\xf3\x0f\xbc", 3), M_("\xf3\x0f\xbd", 3),
	M_("\x0f\x38\xf0", 3), M_("\x0f\x38\xf1", 3), M_("\xf2\x0f\x38\xf0", 4), M_("\xf2\x0f\x38\xf1", 4),
	M_("\x66\x0f\x38\xf6", 4), M_("\xf3\x0f\x38\xf6", 4),
	M_("\xc4\xe2\x70\xf2", 4), M_("\xc4\xe2\xf0\xf2", 4), M_("\xc4\xe2\x70\xf7", 4), M_("\xc4\xe2\xf0\xf7", 4),
	M_("\xc4\xe2\x70\xf5", 4), M_("\xc4\xe2\xf0\xf5", 4), M_("\xc4\xe2\x72\xf5", 4), M_("\xc4\xe2\xf2\xf5", 4),
	M_("\xc4\xe2\x73\xf5", 4), M_("\xc4\xe2\xf3\xf5", 4), M_("\xc4\xe2\x73\xf6", 4), M_("\xc4\xe2\xf3\xf6", 4),
	M_("\xc4\xe2\x71\xf7", 4), M_("\xc4\xe2\xf1\xf7", 4), M_("\xc4\xe2\x72\xf7", 4), M_("\xc4\xe2\xf2\xf7", 4),
	M_("\xc4\xe2\x73\xf7", 4), M_("\xc4\xe2\xf3\xf7", 4),
	G_("\xc4\xe2\x70\xf3", 4, 1, 0), G_("\xc4\xe2\xf0\xf3", 4, 2, 0), G_("\xc4\xe2\xf0\xf3", 4, 3, 0),
	{ "\xc4\xe3\x7b\xf0", 4, true, -1, 1, false, true }, { "\xc4\xe3\xfb\xf0", 4, true, -1, 1, false, true },
	N_("\xa4", 1, 0), N_("\xa5", 1, 0), N_("\xa6", 1, 0), N_("\xa7", 1, 0), N_("\xaa", 1, 0), N_("\xab", 1, 0),
	N_("\xac", 1, 0), N_("\xad", 1, 0), N_("\xae", 1, 0), N_("\xaf", 1, 0), N_("\xd7", 1, 0),
	N_("\xf3\xa4", 2, 0), N_("\xf3\xa5", 2, 0), N_("\xf3\xaa", 2, 0), N_("\xf3\xab", 2, 0),
	N_("\xf3\xa6", 2, 0), N_("\xf2\xa7", 2, 0), N_("\xf2\xae", 2, 0), N_("\xf3\xaf", 2, 0), N_("\xf3\xad", 2, 0),
	N_("\xc9", 1, 0), N_("\xc8", 1, 3),
};

/* Only in 32-bit code. */
static UNUSED const struct form forms32[] = {
	N_("\x27", 1, 0), N_("\x2f", 1, 0), N_("\x37", 1, 0), N_("\x3f", 1, 0), N_("\xd4", 1, 1), N_("\xd5", 1, 1),
	N_("\x40", 1, 0), N_("\x4b", 1, 0), N_("\x60", 1, 0), N_("\x61", 1, 0), N_("\xd6", 1, 0), M_("\x62", 1),
	G_("\x82", 1, 0, 1), G_("\x82", 1, 7, 1),
};
static bool compat;              /* encode for 32-bit code: no REX */

static bool is_vex(const struct form *f) { return (uint8_t)f->bytes[0] == 0xc4; }

/* Prefixes come first, but REX must touch the opcode and so go after F2, F3, 66. */
static unsigned encode(const struct form *f, uint8_t *code)
{
	unsigned n = 0, skip = 0;
	uint64_t r = random64();
	if (!is_vex(f) && r % 4 == 0)
		code[n++] = 0x66;
	while (!is_vex(f) && skip < f->n && strchr("\xf2\xf3\x66", f->bytes[skip]) && f->bytes[skip])
		code[n++] = (uint8_t)f->bytes[skip++];
	if (!is_vex(f) && !compat && r >> 8 & 1)
		code[n++] = (uint8_t)(0x40 | (r >> 16 & 0xd));
	memcpy(code + n, f->bytes + skip, f->n - skip);
	n += f->n - skip;
	if (f->modrm) {
		uint8_t reg = (uint8_t)(f->group >= 0 ? f->group : (int)(r >> 24 & 7));
		bool memory = r >> 28 & 1;
		uint8_t rm = memory ? 7 : r >> 32 & 7;         /* [rdi + disp8] */
		code[n++] = (uint8_t)((memory ? 0x40 : 0xc0) | reg << 3 | rm);
		if (memory)
			code[n++] = (uint8_t)(r >> 40);
	}
	for (unsigned i = 0; i < f->imm; i++)
		code[n++] = (uint8_t)(random64() >> 32);
	if ((uint8_t)f->bytes[0] == 0xc8)                      /* ENTER: shallow */
		code[n - 1] &= 3, code[n - 2] = 0;
	return n;
}

#endif
