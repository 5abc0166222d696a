/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder against Zydis: random bytes, biased towards prefixes and escapes,
 * in every mode.  They must agree on validity, length, operands (kind, register,
 * size, access), the memory operand and immediates.  What Zydis knows and the
 * model does not have, and where one of the two follows other processors, stands
 * in one table (excluded).
 * DECODE_CASES=N DECODE_SEED=S: longer campaigns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <time.h>
#include "base/util.h"
#include "x86/insn.h"
#include "x86/cpu.h"
#include "x86/model.h"

static uint64_t rng_state;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static const struct mode { unsigned code_size; bool real; ZydisMachineMode zydis; ZydisStackWidth stack; } modes[] = {
	{ 8, false, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
	{ 4, false, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32 },
	{ 2, false, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16 },
	{ 2, true, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16 },
};

/* Random bytes in which all prefixes, escapes and VEX headers are frequent. */
static void random_bytes(uint8_t *b, unsigned n)
{
	static const uint8_t prefixes[] = { 0x66, 0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x2e, 0x65, 0x48, 0x41, 0x4f };
	unsigned at = 0;

	for (unsigned i = 0; i < n; i++)
		b[i] = rng() >> 20;
	while (at < 4 && (rng() >> 30) % 2)
		b[at++] = prefixes[(rng() >> 30) % sizeof(prefixes)];
	switch ((rng() >> 30) % 8) {
	case 0: case 1: b[at] = 0x0f; break;
	case 2: b[at] = 0x0f; b[at + 1] = 0x38; break;
	case 3: b[at] = 0x0f; b[at + 1] = 0x3a; break;
	case 4: b[at] = 0xc5; break;
	case 5: b[at] = 0xc4; b[at + 1] = (b[at + 1] & 0xe0) | (1 + (b[at + 1] & 31) % 3); break;
	}
}

/* Instruction sets that no model of ours has. */
static bool foreign(const ZydisDecodedInstruction *z)
{
	static const uint8_t sets[] = {
		ZYDIS_ISA_EXT_AMD3DNOW, ZYDIS_ISA_EXT_AMD_INVLPGB, ZYDIS_ISA_EXT_AMX_BF16,
		ZYDIS_ISA_EXT_AMX_INT8, ZYDIS_ISA_EXT_AMX_TILE, ZYDIS_ISA_EXT_AVX512EVEX,
		ZYDIS_ISA_EXT_AVX512VEX, ZYDIS_ISA_EXT_AVX_VNNI, ZYDIS_ISA_EXT_CLZERO,
		ZYDIS_ISA_EXT_ENQCMD, ZYDIS_ISA_EXT_FMA4, ZYDIS_ISA_EXT_GFNI, ZYDIS_ISA_EXT_HRESET,
		ZYDIS_ISA_EXT_KEYLOCKER, ZYDIS_ISA_EXT_KEYLOCKER_WIDE, ZYDIS_ISA_EXT_KNC,
		ZYDIS_ISA_EXT_KNCE, ZYDIS_ISA_EXT_KNCV, ZYDIS_ISA_EXT_MCOMMIT, ZYDIS_ISA_EXT_MONITOR,
		ZYDIS_ISA_EXT_MONITORX, ZYDIS_ISA_EXT_MOVDIR, ZYDIS_ISA_EXT_PADLOCK,
		ZYDIS_ISA_EXT_PCONFIG, ZYDIS_ISA_EXT_PKU, ZYDIS_ISA_EXT_PT, ZYDIS_ISA_EXT_RDPRU,
		ZYDIS_ISA_EXT_RTM, ZYDIS_ISA_EXT_SERIALIZE, ZYDIS_ISA_EXT_SGX, ZYDIS_ISA_EXT_SGX_ENCLV,
		ZYDIS_ISA_EXT_SMX, ZYDIS_ISA_EXT_SNP, ZYDIS_ISA_EXT_SSE4A, ZYDIS_ISA_EXT_SVM,
		ZYDIS_ISA_EXT_TBM, ZYDIS_ISA_EXT_TDX, ZYDIS_ISA_EXT_TSX_LDTRK, ZYDIS_ISA_EXT_UINTR,
		ZYDIS_ISA_EXT_VAES, ZYDIS_ISA_EXT_VMFUNC, ZYDIS_ISA_EXT_VPCLMULQDQ, ZYDIS_ISA_EXT_VTX,
		ZYDIS_ISA_EXT_WAITPKG, ZYDIS_ISA_EXT_XOP, ZYDIS_ISA_EXT_CET, ZYDIS_ISA_EXT_XSAVES,
	};

	for (unsigned i = 0; i < sizeof(sets); i++)
		if (z->meta.isa_ext == sets[i])
			return true;
	return false;
}

static int register_number(ZydisRegister r, unsigned *kind, unsigned *size)
{
	ZydisRegisterClass cls = ZydisRegisterGetClass(r);

	*kind = OPK_GPR;
	*size = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, r) / 8;
	switch (cls) {
	case ZYDIS_REGCLASS_GPR8:
		if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
			return X86_HIGH8 + (r - ZYDIS_REGISTER_AH);
		return r <= ZYDIS_REGISTER_BL ? r - ZYDIS_REGISTER_AL : r - ZYDIS_REGISTER_SPL + 4;
	case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64: break;
	case ZYDIS_REGCLASS_MMX: *kind = OPK_MMX; break;
	case ZYDIS_REGCLASS_XMM: case ZYDIS_REGCLASS_YMM: *kind = OPK_XMM; break;
	case ZYDIS_REGCLASS_SEGMENT: *kind = OPK_SREG; break;
	case ZYDIS_REGCLASS_CONTROL: *kind = OPK_CR; break;
	case ZYDIS_REGCLASS_DEBUG: *kind = OPK_DR; break;
	default: *kind = OPK_NONE; break;
	}
	return ZydisRegisterGetId(r);
}

static char why[256];
#define DIFFER(...) return snprintf(why, sizeof(why), __VA_ARGS__), false

/* Where we knowingly differ. */
enum { EX_OPERANDS = 1, EX_ACCESS = 2, EX_MERGE = 4, EX_MEM_SIZE = 8, EX_REG_SIZE = 16 };
static const struct { uint16_t op, what; const char *reason; } excluded[] = {
	{ OP_NOP, EX_OPERANDS, "hints have one operand here, of no access" },
	{ OP_UD, EX_OPERANDS, "nothing is accessed" },
	{ OP_XLAT, EX_OPERANDS, "implicit operands are not listed" },
	{ OP_MASKMOVDQU, EX_OPERANDS, "implicit operands are not listed" },
	{ OP_LEA, EX_ACCESS, "no access" }, { OP_INVLPG, EX_ACCESS | EX_MEM_SIZE, "no access" },
	{ OP_CLFLUSH, EX_ACCESS | EX_MEM_SIZE, "no access" },
	{ OP_VEC_GATHER, EX_ACCESS | EX_MEM_SIZE, "mem_size is one element; Zydis counts conditions" },
	{ OP_VEC_MASKMOV, EX_ACCESS, "conditional" },
	{ OP_XSAVE, EX_ACCESS, "header is read too" }, { OP_XSAVEOPT, EX_ACCESS, "header is read too" },
	{ OP_CMOVCC, EX_MERGE, "the destination may keep its value" },
	{ OP_BSF, EX_MERGE, "the destination may keep its value" },
	{ OP_BSR, EX_MERGE, "the destination may keep its value" },
	{ OP_VEC, EX_MERGE, "legacy scalars keep the rest of the register" },
	{ OP_VEC, EX_REG_SIZE, "32 bits written clear the upper half: MOVMSKPS with REX.W" },
	{ OP_LAR, EX_REG_SIZE, "16 bits of the source are used" },
	{ OP_LAR, EX_MERGE, "the destination may keep its value" },
	{ OP_LSL, EX_REG_SIZE, "16 bits of the source are used" },
	{ OP_MOVSX, EX_MEM_SIZE, "MOVSXD with 66: Intel reads 16 bits" },
	{ OP_LGDT, EX_MEM_SIZE, "Zydis says 6 or 10 by operand size" },
	{ OP_X87_ENV, EX_MEM_SIZE, "" },
};

static bool is_excluded(const struct x86_insn *i, unsigned what)
{
	for (unsigned n = 0; n < ARRAY_SIZE(excluded); n++)
		if (excluded[n].op == i->op && excluded[n].what & what)
			return true;
	return false;
}

static bool same_register(const struct x86_insn *i, const struct x86_operand *o, const ZydisDecodedOperand *z)
{
	unsigned kind, size;
	int n = register_number(z->reg.value, &kind, &size);

	if (o->kind != kind || o->reg != n)
		DIFFER("register: kind %u reg %u, %s", o->kind, o->reg, ZydisRegisterGetString(z->reg.value));
	if (kind == OPK_GPR && o->size != size && !is_excluded(i, EX_REG_SIZE))
		DIFFER("register size %u, %u", o->size, size);
	return true;
}

static bool same_address(const struct x86_insn *i, const ZydisDecodedOperandMem *m)
{
	static const uint8_t segs[] = { ES, CS, SS, DS, FS, GS };
	unsigned kind, size;
	int base = m->base == ZYDIS_REGISTER_NONE ? X86_NO_REG :
		m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP ? X86_RIP :
		register_number(m->base, &kind, &size);
	int index = m->index == ZYDIS_REGISTER_NONE ? X86_NO_REG : register_number(m->index, &kind, &size);

	/* Zydis 4.0: REX.B makes a base of SIB base 5, mod 0 under 67. */
	if (base != X86_NO_REG && i->base == X86_NO_REG && i->addrsize == 4 && i->rex & 1)
		return true;
	if (i->base != base || i->index != index || (index != X86_NO_REG && i->scale != m->scale))
		DIFFER("address %d+%d*%d", i->base, i->index, i->scale);
	if (i->disp != m->disp.value && (i->base != X86_NO_REG || i->index != X86_NO_REG || i->addrsize == 8))
		DIFFER("disp %lx, %lx", i->disp, m->disp.value);
	if (segs[m->segment - ZYDIS_REGISTER_ES] != i->seg && i->op != OP_LEA)
		DIFFER("segment %u", i->seg);
	return true;
}

static bool same_memory(const struct x86_insn *i, const struct x86_operand *o, const ZydisDecodedOperand *z)
{
	if (o->kind != OPK_MEM)
		DIFFER("memory expected, kind %u", o->kind);
	if (!same_address(i, &z->mem))
		return false;
	if (i->mem_size && i->mem_size != z->size / 8 && !is_excluded(i, EX_MEM_SIZE))
		DIFFER("memory size %u, %u", i->mem_size, z->size / 8);
	return true;
}

static bool same_immediate(const struct x86_insn *i, const struct x86_operand *o,
			   const ZydisDecodedOperand *z, bool second)
{
	uint64_t mask = o->size < 8 ? (1ull << o->size * 8) - 1 : ~0ull;
	uint64_t value = second ? i->imm2 : i->imm;

	if (o->kind == OPK_REL ? value != z->imm.value.u : o->kind != OPK_IMM || value != (z->imm.value.u & mask))
		DIFFER("immediate %lx, %lx (kind %u)", value, z->imm.value.u, o->kind);
	return true;
}

static bool same_access(const struct x86_insn *i, const struct x86_operand *o, const ZydisDecodedOperand *z)
{
	unsigned want = (z->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? OPA_R : 0) |
			(z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? OPA_W : 0);

	if (o->access == want || is_excluded(i, EX_ACCESS))
		return true;
	if (o->access == (OPA_R | OPA_W) && want == OPA_W && is_excluded(i, EX_MERGE))
		return true;
	DIFFER("access %u, %u", o->access, want);
}

static bool same_operands(const struct x86_insn *i, const ZydisDecodedInstruction *z,
			  const ZydisDecodedOperand *zo)
{
	unsigned n = 0, imms = 0;
	bool ok = true;

	for (unsigned k = 0; k < z->operand_count_visible && ok; k++, n++) {
		const struct x86_operand *o = &i->o[n];

		if (n >= i->nops)
			DIFFER("operand %u missing", n);
		switch (zo[k].type) {
		case ZYDIS_OPERAND_TYPE_REGISTER: ok = same_register(i, o, &zo[k]); break;
		case ZYDIS_OPERAND_TYPE_MEMORY: ok = same_memory(i, o, &zo[k]); break;
		case ZYDIS_OPERAND_TYPE_POINTER:
			ok = o->kind == OPK_FAR && i->imm2 == zo[k].ptr.segment && i->imm == zo[k].ptr.offset;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE: ok = same_immediate(i, o, &zo[k], imms++ > 0); break;
		default: DIFFER("operand type");
		}
		ok = ok && same_access(i, o, &zo[k]);
	}
	if (ok && n != i->nops)
		DIFFER("%u operands, %u", i->nops, n);
	return ok;
}

static bool lists_operands(const struct x86_insn *i)
{
	switch (i->op) {
	case OP_X87: case OP_X87_FLAGS: case OP_X87_CMOV: case OP_FNSTSW_AX:
		return i->modrm < 0xc0;
	}
	return !is_excluded(i, EX_OPERANDS) && !(x86_op_info[i->op].props & OPP_STRING) && !(i->vform & VEC_XMM0);
}

static bool same(const struct mode *m, const uint8_t *bytes, ZyanStatus zs,
		 const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zo,
		 enum x86_decode_status s, const struct x86_insn *i)
{
	bool other_vendor = z->mnemonic == ZYDIS_MNEMONIC_SYSCALL || z->mnemonic == ZYDIS_MNEMONIC_SYSRET;
	bool faults_later = m->real && (i->op == OP_SYSENTER || i->op == OP_SYSEXIT);   /* #GP */

	if (!ZYAN_SUCCESS(zs) || foreign(z) || (other_vendor && m->code_size != 8)) {
		if (s == X86_OK && !faults_later && i->op != OP_VMCALL)
			DIFFER("we accept %s, Zydis: %08x", x86_op_info[i->op].name, zs);
		return true;
	}
	if (s != X86_OK)
		DIFFER("we refuse (%u) %s", s, ZydisMnemonicGetString(z->mnemonic));
	if (i->len != z->length)
		DIFFER("length %u, %u", i->len, z->length);
	return !lists_operands(i) || same_operands(i, z, zo);
}

static ZydisDecoder decoders[4];

static void init_decoders(void)
{
	for (unsigned n = 0; n < 4; n++) {
		ZydisDecoder *d = &decoders[n];

		ZydisDecoderInit(d, modes[n].zydis, modes[n].stack);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	}
}

static bool check_case(const struct x86_model *model, unsigned n, const uint8_t *bytes)
{
	ZydisDecodedInstruction z;
	ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];
	struct x86_insn i;
	ZyanStatus zs = ZydisDecoderDecodeFull(&decoders[n], bytes, 15, &z, zo);
	enum x86_decode_status s = x86_decode(model, modes[n].code_size, modes[n].real, bytes, 15, &i);

	if (same(&modes[n], bytes, zs, &z, zo, s, &i))
		return true;
	printf("mode %u%s:", modes[n].code_size, modes[n].real ? "r" : "");
	for (unsigned k = 0; k < 15; k++)
		printf(" %02x", bytes[k]);
	printf("  %s: %s (%s)\n", ZYAN_SUCCESS(zs) ? ZydisMnemonicGetString(z.mnemonic) : "-", why,
	       s == X86_OK ? x86_op_info[i.op].name : "UD");
	return false;
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

/* With 16 bytes plain instructions are decoded by a shorter way (decode_short.h), to the same. */
static bool same_short(const struct x86_model *model, const uint8_t bytes[16])
{
	struct x86_insn i, j;
	enum x86_decode_status any = x86_decode(model, 8, false, bytes, 15, &i);

	if (x86_decode(model, 8, false, bytes, 16, &j) != any)
		return false;
	j.bytes[15] = i.bytes[15];
	return any != X86_OK || !memcmp(&i, &j, sizeof(i));
}

static void agrees_with_itself(void **state)
{
	const struct x86_model *model = x86_model_implemented();
	uint8_t bytes[16];

	rng_state = env_number("DECODE_SEED", 0x9e3779b97f4a7c15);
	for (unsigned c = 0; c < 4000000; c++) {
		random_bytes(bytes, sizeof(bytes));
		if (same_short(model, bytes))
			continue;
		for (unsigned k = 0; k < 16; k++)
			printf("%02x ", bytes[k]);
		fail_msg("%s", "two ways to decode this");
	}
}

static void agrees_with_zydis(void **state)
{
	const struct x86_model *model = x86_model_implemented();
	uint64_t cases = env_number("DECODE_CASES", 2000000);
	uint64_t bad = 0, most = env_number("DECODE_SHOW", 20);
	uint8_t bytes[16];

	rng_state = env_number("DECODE_SEED", 0x9e3779b97f4a7c15);
	init_decoders();
	for (uint64_t c = 0; c < cases && bad < most; c++) {
		random_bytes(bytes, sizeof(bytes));
		for (unsigned n = 0; n < 4; n++)
			bad += !check_case(model, n, bytes);
	}
	assert_int_equal(bad, 0);
}

/* MORE for every cut of a legal instruction; bytes behind it do not matter. */
static void wants_all_bytes(void **state)
{
	const struct x86_model *model = x86_model_implemented();
	uint8_t bytes[16];
	struct x86_insn i, j;

	rng_state = 0x2545f4914f6cdd1d;
	for (unsigned c = 0; c < 20000; c++) {
		random_bytes(bytes, sizeof(bytes));
		if (x86_decode(model, 8, false, bytes, 16, &i) != X86_OK)
			continue;
		for (unsigned n = 0; n < i.len; n++)
			assert_int_equal(x86_decode(model, 8, false, bytes, n, &j), X86_MORE);
		assert_int_equal(x86_decode(model, 8, false, bytes, i.len, &j), X86_OK);
		assert_int_equal(j.len, i.len);
	}
}

static void counts_to_fifteen(void **state)
{
	const struct x86_model *model = x86_model_find("abyme-v3.1", NULL);
	uint8_t bytes[32];
	struct x86_insn i;

	memset(bytes, 0x66, sizeof(bytes));
	assert_int_equal(x86_decode(model, 8, false, bytes, 14, &i), X86_MORE);
	assert_int_equal(x86_decode(model, 8, false, bytes, 16, &i), X86_TOO_LONG);
	bytes[14] = 0x90;
	assert_int_equal(x86_decode(model, 8, false, bytes, 16, &i), X86_OK);
	assert_int_equal(i.len, 15);
	bytes[14] = 0xb0;
	assert_int_equal(x86_decode(model, 8, false, bytes, 16, &i), X86_TOO_LONG);
}

/* What a model lacks is #UD, or what it was before. */
static void obeys_the_model(void **state)
{
	const struct x86_model *v2 = x86_model_find("abyme-v2.1", NULL);
	const struct x86_model *v3 = x86_model_find("abyme-v3.1", NULL);
	static const uint8_t tzcnt[16] = { 0xf3, 0x0f, 0xbc, 0xc1 }, lzcnt[16] = { 0xf3, 0x0f, 0xbd, 0xc1 };
	static const uint8_t vpaddd[16] = { 0xc5, 0xfd, 0xfe, 0xc1 }, sha[16] = { 0x0f, 0x38, 0xc8, 0xc1 };
	struct x86_insn i;

	x86_decode(v2, 8, false, tzcnt, 16, &i);
	assert_int_equal(i.op, OP_BSF);
	x86_decode(v3, 8, false, tzcnt, 16, &i);
	assert_int_equal(i.op, OP_TZCNT);
	x86_decode(v2, 8, false, lzcnt, 16, &i);
	assert_int_equal(i.op, OP_BSR);
	assert_int_equal(x86_decode(v2, 8, false, vpaddd, 16, &i), X86_UD);
	assert_int_equal(x86_decode(v3, 8, false, vpaddd, 16, &i), X86_OK);
	assert_int_equal(x86_decode(v3, 8, false, sha, 16, &i), X86_UD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_zydis),
		cmocka_unit_test(agrees_with_itself),
		cmocka_unit_test(wants_all_bytes),
		cmocka_unit_test(counts_to_fifteen),
		cmocka_unit_test(obeys_the_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
