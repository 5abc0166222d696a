/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stubs between C and translated code, written at the bottom of the code
 * cache.  Translated code never calls: guest RSP is in RSP, so a stub is jumped
 * to with arguments in S0 and S1; it spills the guest's registers to v->cpu,
 * goes to the host's stack, calls a C function (slow.c) which returns where to
 * go on, and reloads.  Vectors are spilled only if resident (HOT_VEC), and not
 * reloaded: code that needs them asks (STUB_LOAD_VEC).
 */
#include "engine/jit/memo.h"

#define GS_HOT(n) EGS(OFF_HOT(n))
typedef const uint8_t *slow_fn(struct vcpu *, uint64_t, const uint8_t *);

static bool resident(unsigned reg) { return reg != S0 && reg != S1; }

static void spill_gprs(struct emit *e)
{
	for (unsigned r = 0; r < 16; r++)
		if (resident(r))
			emit_store(e, 8, EGS(OFF_GPR(r)), r);
}

static void reload_gprs(struct emit *e)
{
	for (unsigned r = 0; r < 16; r++)
		if (resident(r))
			emit_load(e, 8, r, EGS(OFF_GPR(r)));
}

/* {V}MOVAPS xmm, gs:[..] or back; VEXTRACTF128/VINSERTF128 for the high halves. */
static void move_xmm(struct emit *e, unsigned reg, bool store)
{
	emit_rm(e, 4, 1, store ? 0x29 : 0x28, reg, EGS(OFF_CPU(xsave.xmm[0]) + 16 * (int)reg));
}

static void move_ymmh(struct emit *e, unsigned reg, bool store)
{
	struct emem m = EGS(OFF_CPU(xsave.ymmh[0]) + 16 * (int)reg);
	emit8(e, 0x65);
	emit8(e, 0xc4);
	emit8(e, (reg < 8 ? 0xe3 : 0x63));
	emit8(e, store ? 0x7d : (~reg & 15) << 3 | 5);
	emit8(e, store ? 0x19 : 0x18);
	emit_modrm_mem(e, reg, &m);
	emit8(e, 1);
}

static void vzeroupper(struct emit *e) { emit_bytes(e, "\xc5\xf8\x77", 3); }
static void mxcsr(struct emit *e, unsigned ext, int32_t off) { emit_rm(e, 4, 1, 0xae, ext, EGS(off)); }

static void spill_vectors(struct emit *e, bool avx)
{
	emit_alu_mem_imm(e, 1, ALU_CMP, GS_HOT(HOT_VEC), 0);
	uint8_t *skip = emit_jcc(e, CC_E);
	for (unsigned r = 0; r < 16; r++) {
		move_xmm(e, r, true);
		if (avx)
			move_ymmh(e, r, true);
	}
	if (avx)
		vzeroupper(e);
	mxcsr(e, 3, OFF_CPU(xsave.mxcsr));
	mxcsr(e, 2, OFF_HOT(HOT_MXCSR));
	emit_rm(e, 4, 0, 0x83, ALU_OR, EGS(OFF_CPU(xsave.xstate_bv)));
	emit8(e, avx ? XFEATURE_SSE | XFEATURE_AVX : XFEATURE_SSE);
	emit_store_imm32(e, 4, GS_HOT(HOT_VEC), 0);
	emit_bind(e, skip);
}

/* AH alone, where OF does not matter: no REX. */
static void move_ah(struct emit *e, unsigned opcode)
{
	emit_word(e, 0x25240065 | opcode << 8, 4);
	emit32(e, (uint32_t)OFF_HOT(HOT_FLAGS) + 1);
}

/* By one store, as the load must get all of it from there. */
void emit_save_flags(struct emit *e, unsigned live)
{
	if (live == FL_CF) {
		emit_rm(e, 1, 1, 0x90 | CC_B, 0, EGS(OFF_HOT(HOT_FLAGS) + 1));     /* setc */
		return;
	}
	emit_word(e, 0x9fd88b4c, 4);                                               /* mov S1, rax; lahf */
	if (live & FL_OF) {
		emit_word(e, 0xc0900f, 3);                                         /* seto al */
		emit_store(e, 4, GS_HOT(HOT_FLAGS), RAX);
	} else {
		move_ah(e, 0x88);
	}
	emit_mov(e, 8, RAX, S1);
}

void emit_restore_flags(struct emit *e, unsigned live)
{
	if (live == FL_CF) {
		emit_load(e, 1, S1, EGS(OFF_HOT(HOT_FLAGS) + 1));
		emit_shift_imm(e, 4, SHIFT_SHR, S1, 1);
		return;
	}
	emit_mov(e, 8, S1, RAX);
	if (live & FL_OF) {
		emit_load(e, 4, RAX, GS_HOT(HOT_FLAGS));
		emit_word(e, 0x7f04, 2);                                           /* add al, 0x7f: OF := AL */
	} else {
		move_ah(e, 0x8a);
	}
	emit_word(e, 0xc38b499e, 4);                                               /* sahf; mov rax, S1 */
}

static void reload_and_resume(struct emit *e)
{
	reload_gprs(e);
	emit_jmp_mem(e, GS_HOT(HOT_RESUME));
}

static void call_c(struct emit *e, slow_fn *fn, bool avx)
{
	spill_gprs(e);
	emit_load(e, 8, RSP, GS_HOT(HOT_HOST_RSP));
	spill_vectors(e, avx);
	emit_load(e, 8, RDI, GS_HOT(HOT_SELF));
	emit_mov(e, 8, RSI, S0);
	emit_mov(e, 8, RDX, S1);
	emit_mov_imm(e, RAX, (uint64_t)(uintptr_t)fn);
	emit_call_reg(e, RAX);
	emit_store(e, 8, GS_HOT(HOT_RESUME), RAX);
	reload_and_resume(e);
}

static const unsigned saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void push(struct emit *e, unsigned r) { if (r >= 8) emit8(e, 0x41); emit8(e, 0x50 | (r & 7)); }
static void pop(struct emit *e, unsigned r) { if (r >= 8) emit8(e, 0x41); emit8(e, 0x58 | (r & 7)); }

/* void enter(const uint8_t *code): returns by STUB_LEAVE. */
static void stub_enter(struct emit *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(saved); i++)
		push(e, saved[i]);
	emit_lea(e, 8, RSP, EMEM(RSP, -8));
	emit_store(e, 8, GS_HOT(HOT_HOST_RSP), RSP);
	emit_store(e, 8, GS_HOT(HOT_RESUME), RDI);
	reload_and_resume(e);
}

static void stub_leave(struct emit *e)
{
	emit_load(e, 8, RSP, GS_HOT(HOT_HOST_RSP));
	emit_lea(e, 8, RSP, EMEM(RSP, 8));
	for (unsigned i = ARRAY_SIZE(saved); i-- > 0; )
		pop(e, saved[i]);
	emit8(e, 0xc3);
}

/* A jump for when the high halves are all zero, which the host's are then in a way
 * that it knows: else each SSE instruction would wait for the last one with the same
 * destination, whose high half it keeps ("Mixing AVX Code with SSE Code" in the
 * Optimization Reference Manual). */
static uint8_t *high_halves_clean(struct emit *e)
{
	vzeroupper(e);
	for (unsigned r = 0; r < 16; r++)            /* movaps, orps */
		emit_rm(e, 4, 1, r ? 0x56 : 0x28, 0, EGS(OFF_CPU(xsave.ymmh[0]) + 16 * (int)r));
	emit_bytes(e, "\x66\x0f\x38\x17\xc0", 5);    /* ptest xmm0, xmm0 */
	return emit_jcc(e, CC_E);
}

/* Guest vectors into the host's registers; returns to S1. Flags are lost. */
static void stub_load_vec(struct emit *e, struct jit_vm *vm)
{
	unsigned need = vm->avx ? XFEATURE_SSE | XFEATURE_AVX : XFEATURE_SSE;
	emit_load(e, 4, S0, EGS(OFF_CPU(xsave.xstate_bv)));
	emit_alu_imm(e, 4, ALU_AND, S0, (int)need);
	emit_alu_imm(e, 4, ALU_CMP, S0, (int)need);
	uint8_t *init = emit_jcc(e, CC_NE);
	uint8_t *clean = vm->avx ? high_halves_clean(e) : NULL;
	if (vm->avx)
		for (unsigned r = 0; r < 16; r++)
			move_ymmh(e, r, false);
	emit_bind(e, clean);
	for (unsigned r = 0; r < 16; r++)
		move_xmm(e, r, false);
	mxcsr(e, 2, OFF_CPU(xsave.mxcsr));
	emit_store_imm32(e, 4, GS_HOT(HOT_VEC), 1);
	emit_jmp_reg(e, S1);
	emit_bind(e, init);
	emit_store(e, 8, GS_HOT(HOT_TMP), S1);
	call_c(e, slow_load_vec, vm->avx);
}

static void stub_flags_then(struct emit *e, slow_fn *fn, bool avx)
{
	emit_save_flags(e, FL_STATUS);
	call_c(e, fn, avx);
}

/* The second entry of the pair is as good. S0: RIP, S1: record. */
static void stub_lookup_other(struct emit *e, const struct jit_vm *vm, enum hot_word jc)
{
	emit_store(e, 8, GS_HOT(HOT_TMP), S1);
	emit_jump_slot(e, jc);
	emit_alu_imm(e, 8, ALU_XOR, S1, sizeof(struct jump_entry));
	emit_alu_load(e, 8, ALU_CMP, S0, EMEM(S1, offsetof(struct jump_entry, rip)));
	uint8_t *miss = emit_jcc(e, CC_NE);
	emit_jmp_mem(e, EMEM(S1, offsetof(struct jump_entry, code)));
	emit_bind(e, miss);
	emit_load(e, 8, S1, GS_HOT(HOT_TMP));
	emit_jmp_to(e, vm->stub[STUB_LOOKUP]);
}

/* All of a lookup. S0: RIP, S1: record. */
static void stub_search(struct emit *e, const struct jit_vm *vm, enum hot_word jc, bool native)
{
	emit_store(e, 8, GS_HOT(HOT_TMP), S1);
	if (native)
		emit_save_flags(e, FL_STATUS);
	uint8_t *other = emit_lookup(e, jc);

	emit_bind(e, other);
	emit_load(e, 8, S1, GS_HOT(HOT_TMP));
	emit_jmp_to(e, vm->stub[jc == HOT_JC ? STUB_LOOKUP_OTHER : STUB_LOOKUP_OTHER_KERNEL]);
}

static void stub_far_lookup(struct emit *e, const struct jit_vm *vm)
{
	uint8_t *other = emit_lookup(e, HOT_JC_KERNEL);

	emit_bind(e, other);
	emit_mov_imm(e, S1, 0);
	emit_jmp_to(e, vm->stub[STUB_LOOKUP_OTHER_KERNEL]);
}

/* Not linked in this epoch. S0: RIP, S1: exit. */
static void stub_guarded(struct emit *e, const struct jit_vm *vm)
{
	emit_alu_mem_imm(e, 4, ALU_SUB, EGS(OFF_NEAR(unguarded)), 1);
	uint8_t *relink = emit_jcc(e, CC_S), *other = emit_lookup(e, HOT_JC);

	emit_bind(e, other);
	emit_mov_imm(e, S1, 0);
	emit_jmp_to(e, vm->stub[STUB_LOOKUP_OTHER]);
	emit_bind(e, relink);
	emit_jmp_to(e, vm->stub[STUB_RELINK]);
}

static void begin(struct jit_vm *vm, struct emit *e, enum jit_stub s)
{
	while ((uintptr_t)e->p % 16)
		emit8(e, 0xcc);
	vm->stub[s] = emit_here(e);
}

bool stubs_emit(struct jit_vm *vm, struct error *err)
{
	struct emit e = { .p = vm->rw, .end = vm->rw + 16 * KiB, .rx = vm->rx - vm->rw };

	begin(vm, &e, STUB_ENTER), stub_enter(&e);
	begin(vm, &e, STUB_LEAVE), stub_leave(&e);
	begin(vm, &e, STUB_SLOW), call_c(&e, slow_insn, vm->avx);
	begin(vm, &e, STUB_END), call_c(&e, slow_end, vm->avx);
	begin(vm, &e, STUB_EXIT), stub_flags_then(&e, slow_exit, vm->avx);
	begin(vm, &e, STUB_POLL), stub_flags_then(&e, slow_poll, vm->avx);
	begin(vm, &e, STUB_LOOKUP), call_c(&e, slow_lookup, vm->avx);
	begin(vm, &e, STUB_LEAF), call_c(&e, slow_leaf, vm->avx);
	begin(vm, &e, STUB_DEAD), call_c(&e, slow_dead, vm->avx);
	begin(vm, &e, STUB_FAR), call_c(&e, slow_far, vm->avx);
	begin(vm, &e, STUB_FAR_POLL), call_c(&e, slow_poll, vm->avx);
	begin(vm, &e, STUB_LOOKUP_OTHER), stub_lookup_other(&e, vm, HOT_JC);
	begin(vm, &e, STUB_LOOKUP_OTHER_KERNEL), stub_lookup_other(&e, vm, HOT_JC_KERNEL);
	begin(vm, &e, STUB_FAR_LOOKUP), stub_far_lookup(&e, vm);
	begin(vm, &e, STUB_SEARCH), stub_search(&e, vm, HOT_JC, false);
	begin(vm, &e, STUB_SEARCH_KERNEL), stub_search(&e, vm, HOT_JC_KERNEL, false);
	begin(vm, &e, STUB_SEARCH_NATIVE), stub_search(&e, vm, HOT_JC, true);
	begin(vm, &e, STUB_SEARCH_NATIVE_KERNEL), stub_search(&e, vm, HOT_JC_KERNEL, true);
	begin(vm, &e, STUB_RELINK), call_c(&e, slow_guarded, vm->avx);
	begin(vm, &e, STUB_GUARDED), stub_guarded(&e, vm);
	begin(vm, &e, STUB_CALLED), call_c(&e, slow_exit, vm->avx);
	begin(vm, &e, STUB_LANDED), call_c(&e, slow_landed, vm->avx);
	begin(vm, &e, STUB_RETURN), return_stub(&e, vm, false);
	begin(vm, &e, STUB_RETURN_NATIVE), return_stub(&e, vm, true);
	begin(vm, &e, STUB_JUMP);
	emit_load(&e, 8, S0, EGS(OFF_CPU(rip)));
	emit_jmp_mem(&e, GS_HOT(HOT_TMP));
	begin(vm, &e, STUB_LINKED);                  /* as a linked exit goes: flags in EFLAGS */
	emit_restore_flags(&e, FL_STATUS);
	emit_jmp_mem(&e, GS_HOT(HOT_TMP));
	begin(vm, &e, STUB_SLOT);                    /* ... in HOT_FLAGS */
	emit_jmp_mem(&e, GS_HOT(HOT_TMP));
	begin(vm, &e, STUB_LOAD_VEC);
	const uint8_t *load = emit_here(&e);
	stub_load_vec(&e, vm);
	vm->load_vec_retry = emit_here(&e);
	emit_load(&e, 8, S1, GS_HOT(HOT_TMP));
	emit_jmp_to(&e, load);
	vm->load_vec_review = emit_here(&e);
	emit_load(&e, 8, S1, EGS(OFF_NEAR(save)));
	emit_jmp_to(&e, load);
	begin(vm, &e, STUB_TIER), call_c(&e, slow_tier, vm->avx);
	begin(vm, &e, STUB_REVIEW), call_c(&e, slow_review, vm->avx);
	begin(vm, &e, STUB_MEMO_READ), memo_stub(vm, &e, false);
	begin(vm, &e, STUB_MEMO_WRITE), memo_stub(vm, &e, true);
	if (e.full)
		return error_set(err, 0, "the translator's stubs outgrew their room");
	vm->start = ALIGN_UP((size_t)(e.p - vm->rw), 64);
	code_begin(vm, 0);
	return true;
}
