/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The assembler: just the host instructions that stubs and templates need,
 * written one after another through the writable view of the code cache.
 * Instruction formats: SDM 2A chapter 2.  A struct emit belongs to one thread.
 */
#ifndef ENGINE_JIT_EMIT_H
#define ENGINE_JIT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "x86/cpu.h"

struct emit {
	uint8_t *p;          /* next byte, writable view */
	uint8_t *end;        /* bytes from here on are not ours */
	ptrdiff_t rx;        /* executable address - writable address */
	bool lines;          /* jumps shall not lie across lines (emit_in_line) */
	bool full;           /* ran into end; what was written is worthless */
};

/* A memory operand. base NONE: absolute (gs-relative) disp. */
struct emem {
	uint8_t base, index, scale;
	bool gs;
	int32_t disp;
};
enum { EREG_NONE = 0xff };
#define EMEM(b, d) ((struct emem){ .base = (b), .index = EREG_NONE, .scale = 1, .disp = (int32_t)(d) })
#define EGS(d) ((struct emem){ .base = EREG_NONE, .index = EREG_NONE, .scale = 1, .gs = true, .disp = (int32_t)(d) })

/* Condition codes of Jcc/SETcc/CMOVcc. */
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP,
       CC_L, CC_GE, CC_LE, CC_G };
/* The /n of the 80..83 group, and its opcode row. */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

static inline void emit8(struct emit *e, unsigned b)
{
	if (__builtin_expect(e->p >= e->end, 0))
		e->full = true;
	else
		*e->p++ = (uint8_t)b;
}
/* As initializers of bytes. */
#define BYTES32(v) (uint8_t)(v), (uint8_t)((v) >> 8), (uint8_t)((v) >> 16), (uint8_t)((v) >> 24)
void emit_bytes(struct emit *e, const void *bytes, unsigned n);
enum { AT_ONCE = 16 };       /* most of an instruction that is written at once, through a pointer of its own */
void emit_copy(struct emit *e, const uint8_t bytes[AT_ONCE], unsigned n);   /* the first n */
void emit_word(struct emit *e, uint64_t bytes, unsigned n);      /* the lowest n <= 8 */
void emit32(struct emit *e, uint32_t v);
void emit64(struct emit *e, uint64_t v);

/* ModRM and what follows, for a register or a memory operand. */
void emit_modrm_reg(struct emit *e, unsigned reg, unsigned rm);
void emit_modrm_mem(struct emit *e, unsigned reg, const struct emem *m);
/* [prefix 66/F2/F3] REX opcode(s) ModRM. size: 1, 2, 4, 8; map: 0 one-byte, 1 0F, 2 0F38, 3 0F3A */
void emit_rr(struct emit *e, unsigned size, unsigned map, unsigned opcode, unsigned reg, unsigned rm);
void emit_rm(struct emit *e, unsigned size, unsigned map, unsigned opcode, unsigned reg, struct emem m);

void emit_mov(struct emit *e, unsigned size, unsigned dst, unsigned src);
void emit_load(struct emit *e, unsigned size, unsigned dst, struct emem m);    /* 1, 2: zero-extended */
void emit_store(struct emit *e, unsigned size, struct emem m, unsigned src);
void emit_mov_imm(struct emit *e, unsigned dst, uint64_t imm);                 /* no flags */
void emit_store_imm32(struct emit *e, unsigned size, struct emem m, int32_t imm);
void emit_lea(struct emit *e, unsigned size, unsigned dst, struct emem m);
void emit_alu(struct emit *e, unsigned size, unsigned op, unsigned dst, unsigned src);
void emit_alu_imm(struct emit *e, unsigned size, unsigned op, unsigned dst, int32_t imm);
void emit_alu_load(struct emit *e, unsigned size, unsigned op, unsigned dst, struct emem m);
void emit_alu_mem_imm(struct emit *e, unsigned size, unsigned op, struct emem m, int32_t imm);
void emit_shift_imm(struct emit *e, unsigned size, unsigned ext, unsigned dst, unsigned count);
enum { SHIFT_ROR = 1, SHIFT_SHL = 4, SHIFT_SHR = 5, SHIFT_SAR = 7 };

/* Jumps. A label is the address of a rel32 to be bound later (NULL if full). */
uint8_t *emit_jcc(struct emit *e, unsigned cc);
uint8_t *emit_jcc_here(struct emit *e, unsigned cc);            /* no nops before it */
uint8_t *emit_jmp(struct emit *e);
uint8_t *emit_call(struct emit *e);
void emit_bind(struct emit *e, uint8_t *rel32);                 /* to here */
/* The same over less than 128 bytes. */
uint8_t *emit_jcc_short(struct emit *e, unsigned cc);
void emit_bind_short(struct emit *e, uint8_t *rel8);
void emit_jmp_to(struct emit *e, const uint8_t *rx_target);
void emit_jmp_mem(struct emit *e, struct emem m);
void emit_jmp_reg(struct emit *e, unsigned reg);
void emit_call_reg(struct emit *e, unsigned reg);
/* Nops so that the rel32 of a jump emitted next (opcode bytes before it) lies
 * inside an aligned 8 bytes: it can then be patched by one store. */
void emit_align_patch(struct emit *e, unsigned opcode_bytes);

/* The same for a comparison of a word of GS with an immediate, and the jump behind it;
 * GUARD_TO_PATCH: from the immediate to the rel32. */
void emit_align_guard(struct emit *e);
enum { GUARD_BYTES = 12, GUARD_TO_PATCH = 6 };
/* The same for a comparison, a jump and a call. */
void emit_align_guarded_call(struct emit *e);
enum { GUARD_TO_CALL = 11 };
/* From the immediate of a second one to the exit's stub: behind a jump, and a call and a jump. */
enum { SECOND_TO_STUB = 10, SECOND_TO_CALLED = 20 };

void emit_nops(struct emit *e, unsigned bytes);                 /* as few as can be */
/* Nops, so that the next n bytes, a branch with what it is fused with, lie in one line and
 * do not reach its end: else many CPUs decode the line each time it runs ("Mitigations
 * for Jump Conditional Code Erratum", 2.1). */
void emit_in_line(struct emit *e, unsigned n);
enum { LINE = 32 };
/* Is a CPU one of those, by CPUID.1:EAX? */
bool emit_lines_matter(uint32_t signature);

static inline const uint8_t *emit_here(const struct emit *e) { return e->p + e->rx; }

#endif
