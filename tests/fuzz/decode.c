/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder on any bytes, in every mode and model, with any number of bytes at
 * hand.  What it accepts must be in range: engines index by it.
 */
#include "lib/fuzz.h"
#include "base/util.h"
#include "x86/insn.h"
#include "x86/model.h"
#include <stdio.h>

static const uint8_t samples[][16] = {
	{ 0x48, 0x8b, 0x44, 0x8b, 0x10 }, { 0xf0, 0x48, 0x0f, 0xb1, 0x0d, 1, 2, 3, 4 },
	{ 0xc4, 0xe2, 0x7d, 0x92, 0x04, 0x85, 1, 2, 3, 4 }, { 0xc5, 0xf8, 0x77 },
	{ 0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x0c }, { 0xc8, 1, 2, 3 }, { 0x9a, 1, 2, 3, 4, 5, 6 },
	{ 0x48, 0xa1, 1, 2, 3, 4, 5, 6, 7, 8 }, { 0xf3, 0x0f, 0x01, 0xca }, { 0xdd, 0x74, 0x24, 8 },
};

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= ARRAY_SIZE(samples))
		return 0;
	buf[0] = n * 7;
	memcpy(buf + 1, samples[n], 16);
	return 17;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "decoder: %s\n", what);
	abort();
}

static void check_operand(const struct x86_operand *o)
{
	static const uint8_t most[] = {
		[OPK_GPR] = 19, [OPK_SREG] = 5, [OPK_CR] = 8, [OPK_DR] = 7, [OPK_MMX] = 7, [OPK_XMM] = 15,
	};

	must(o->kind <= OPK_XMM, "operand kind");
	must(o->size <= 32, "operand size");
	if (o->kind < ARRAY_SIZE(most) && most[o->kind])
		must(o->reg <= most[o->kind], "register number");
}

static void check_insn(const struct x86_insn *i, unsigned avail)
{
	must(i->op > OP_INVALID && i->op < OP_COUNT, "op");
	must(i->len >= 1 && i->len <= 15 && i->len <= avail, "length");
	must(i->opcode_off < i->len && i->imm_off <= i->len && i->nprefix <= i->opcode_off, "offsets");
	must(i->base <= 15 || i->base == X86_RIP || i->base == X86_NO_REG, "base");
	must(i->index <= 15 || i->index == X86_NO_REG, "index");
	must(i->seg <= 5 && i->vvvv <= 15 && i->cond <= 15 && i->nops <= 4, "fields");
	must(i->scale == 1 || i->scale == 2 || i->scale == 4 || i->scale == 8, "scale");
	must(i->opsize == 1 || i->opsize == 2 || i->opsize == 4 || i->opsize == 8, "operand size");
	must(!(i->prefix & PFX_LOCK) || i->o[0].kind == OPK_MEM, "LOCK without memory");
	for (unsigned n = 0; n < i->nops; n++)
		check_operand(&i->o[n]);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "abyme-v2.1", "abyme-v3.1", "max" };
	static const uint8_t sizes[] = { 2, 4, 8 };
	struct x86_insn insn;
	unsigned avail;

	if (size < 1)
		return;
	avail = size - 1 < 64 ? size - 1 : 64;
	uint8_t *bytes = xmalloc(avail + 1);    /* its own, so that a sanitizer sees the end */
	memcpy(bytes, data + 1, avail);
	const struct x86_model *model = x86_model_find(names[data[0] % 3], NULL);
	unsigned code_size = sizes[data[0] / 3 % 3];
	bool real = code_size != 8 && data[0] & 64;
	if (x86_decode(model, code_size, real, bytes, avail, &insn) == X86_OK)
		check_insn(&insn, avail);
	free(bytes);
}
