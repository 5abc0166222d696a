/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FNSTENV, FLDENV, FNSAVE, FRSTOR: the x87 state in memory, in the 16- and 32-bit
 * formats of protected and real (or virtual-8086) mode: SDM 1 figures 8-9 to
 * 8-12.  CS and DS selectors of the last instruction are stored as 0, which
 * processors that announce CPUID.7.EBX[13] do.
 */
#include "engine/interp/fpu.h"

enum { ENV_MAX = 28, ST_BYTES = 80 };
enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

/* The tag that the full tag word has for the content of a register (SDM 1 8.1.7). */
static unsigned tag_of(const uint8_t *st)
{
	uint64_t mantissa = le64_get(st);
	unsigned exponent = le16_get(st + 8) & 0x7fff;

	if (!exponent && !mantissa)
		return TAG_ZERO;
	if (!exponent || exponent == 0x7fff || !(mantissa >> 63))
		return TAG_SPECIAL;
	return TAG_VALID;
}

static uint16_t tag_word(const struct x86_xsave *x)
{
	unsigned tags = 0, top = FSW_TOP(x->fsw);

	for (unsigned n = 0; n < 8; n++)
		tags |= (x->ftw >> n & 1 ? tag_of(x->st[(n - top) & 7]) : TAG_EMPTY) << 2 * n;
	return (uint16_t)tags;
}

static uint8_t abridged_tags(uint16_t tags)
{
	unsigned valid = 0;

	for (unsigned n = 0; n < 8; n++)
		valid |= ((tags >> 2 * n & 3) != TAG_EMPTY) << n;
	return (uint8_t)valid;
}

static bool real_format(const struct vcpu *v)
{
	return cpu_real_mode(&v->cpu) || cpu_vm86(&v->cpu);
}

static unsigned env_size(const struct x86_insn *i)
{
	return i->opsize == 2 ? 14 : 28;
}

/* A pointer in the real-mode formats is split: 16 bits, then the rest above 12. */
static void env_put16(const struct vcpu *v, uint8_t *p)
{
	const struct x86_xsave *x = &v->cpu.xsave;
	bool real = real_format(v);

	le16_put(p, x->fcw);
	le16_put(p + 2, x->fsw);
	le16_put(p + 4, tag_word(x));
	le16_put(p + 6, (uint16_t)x->fip);
	le16_put(p + 8, real ? (x->fip >> 4 & 0xf000) | (x->fop & 0x7ff) : 0);
	le16_put(p + 10, (uint16_t)x->fdp);
	le16_put(p + 12, real ? x->fdp >> 4 & 0xf000 : 0);
}

static void env_put32(const struct vcpu *v, uint8_t *p)
{
	const struct x86_xsave *x = &v->cpu.xsave;
	bool real = real_format(v);
	uint32_t ip = (uint32_t)x->fip, dp = (uint32_t)x->fdp, fop = x->fop & 0x7ff;

	le32_put(p, 0xffff0000u | x->fcw);
	le32_put(p + 4, 0xffff0000u | x->fsw);
	le32_put(p + 8, 0xffff0000u | tag_word(x));
	le32_put(p + 12, real ? 0xffff0000u | (ip & 0xffff) : ip);
	le32_put(p + 16, real ? (ip >> 4 & 0xffff000) | fop : fop << 16);
	le32_put(p + 20, real ? 0xffff0000u | (dp & 0xffff) : dp);
	le32_put(p + 24, real ? dp >> 4 & 0xffff000 : 0xffff0000u);
}

static void env_get16(struct vcpu *v, const uint8_t *p)
{
	struct x86_xsave *x = &v->cpu.xsave;
	bool real = real_format(v);
	unsigned high_ip = le16_get(p + 8), high_dp = le16_get(p + 12);

	x->fip = le16_get(p + 6) | (real ? (high_ip & 0xf000) << 4 : 0);
	x->fdp = le16_get(p + 10) | (real ? (high_dp & 0xf000) << 4 : 0);
	x->fop = real ? high_ip & 0x7ff : 0;
}

static void env_get32(struct vcpu *v, const uint8_t *p)
{
	struct x86_xsave *x = &v->cpu.xsave;
	uint32_t ip = le32_get(p + 12), high_ip = le32_get(p + 16);
	uint32_t dp = le32_get(p + 20), high_dp = le32_get(p + 24);

	if (real_format(v)) {
		x->fip = (ip & 0xffff) | (high_ip & 0xffff000) << 4;
		x->fdp = (dp & 0xffff) | (high_dp & 0xffff000) << 4;
		x->fop = high_ip & 0x7ff;
	} else {
		x->fip = ip;
		x->fdp = dp;
		x->fop = high_ip >> 16 & 0x7ff;
	}
}

static void env_put(const struct vcpu *v, const struct x86_insn *i, uint8_t *p)
{
	if (i->opsize == 2)
		env_put16(v, p);
	else
		env_put32(v, p);
}

/* Load an environment. The registers keep their place: TOP may change, so the
 * image, which begins at the top of the stack, is turned. */
static void env_get(struct vcpu *v, const struct x86_insn *i, const uint8_t *p)
{
	struct x86_xsave *x = &v->cpu.xsave;
	unsigned width = i->opsize == 2 ? 2 : 4, old_top = FSW_TOP(x->fsw), turn;
	uint8_t st[8][16];

	x->fcw = le16_get(p);
	x->fsw = le16_get(p + width);
	x->ftw = abridged_tags(le16_get(p + 2 * width));
	turn = FSW_TOP(x->fsw) - old_top;
	memcpy(st, x->st, sizeof(st));
	for (unsigned n = 0; n < 8; n++)
		memcpy(x->st[n], st[(n + turn) & 7], 16);
	if (i->opsize == 2)
		env_get16(v, p);
	else
		env_get32(v, p);
	x87_normalize(x);
}

/* FNINIT's effect: contents stay where they are, TOP becomes 0. */
static void x87_init(struct x86_xsave *x)
{
	x87_enter_mmx(x);
	x->fcw = 0x37f;
	x->fsw = 0;
	x->ftw = 0;
	x->fop = 0;
	x->fip = x->fdp = 0;
}

static void store_environment(struct vcpu *v, const struct x86_insn *i, bool registers)
{
	struct x86_xsave *x = &v->cpu.xsave;
	uint8_t image[ENV_MAX + ST_BYTES];
	unsigned env = env_size(i), size = env + (registers ? ST_BYTES : 0);
	uint64_t lin = op_linear(v, i, size, MMU_WRITE);

	env_put(v, i, image);
	for (unsigned n = 0; n < 8; n++)
		memcpy(image + env + 10 * n, x->st[n], 10);
	mmu_check_alignment(v, lin, i->opsize == 2 ? 2 : 4, v->mmu->mode);
	mmu_probe(v, lin, size, MMU_WRITE, v->mmu->mode);
	mmu_write(v, lin, image, size, v->mmu->mode);
	if (registers) {
		x87_init(x);
	} else {
		x->fcw |= 0x3f;
		x87_normalize(x);
	}
}

static void load_environment(struct vcpu *v, const struct x86_insn *i, bool registers)
{
	struct x86_xsave *x = &v->cpu.xsave;
	uint8_t image[ENV_MAX + ST_BYTES];
	unsigned env = env_size(i), size = env + (registers ? ST_BYTES : 0);

	uint64_t lin = op_linear(v, i, size, MMU_READ);

	mmu_check_alignment(v, lin, i->opsize == 2 ? 2 : 4, v->mmu->mode);
	mmu_read(v, lin, image, size, v->mmu->mode);
	env_get(v, i, image);
	for (unsigned n = 0; registers && n < 8; n++) {
		memset(x->st[n], 0, 16);
		memcpy(x->st[n], image + env + 10 * n, 10);
	}
}

/* D9 /4 FLDENV, /6 FNSTENV; DD /4 FRSTOR, /6 FNSAVE. */
void op_X87_ENV(struct vcpu *v, const struct x86_insn *i)
{
	bool registers = i->opcode == 0xdd, store = i->modrm & 0x10;

	x87_check(v, !store);
	if (store)
		store_environment(v, i, registers);
	else
		load_environment(v, i, registers);
}
