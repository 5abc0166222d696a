/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A decoded instruction, and the one table-driven decoder that serves the
 * interpreter and the translator.  What the guest's CPUID does not offer
 * decodes as X86_UD.
 */
#ifndef X86_INSN_H
#define X86_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct x86_model;

enum x86_op {
	OP_INVALID,
#define OP(name, reads, writes, props) OP_##name,
#include "x86/ops.def"
#undef OP
	OP_COUNT
};

enum x86_operand_kind {
	OPK_NONE,
	OPK_GPR,      /* reg 0..15; size 1: if X86_HIGH8 bit in `reg` (16+n) = AH,CH,DH,BH */
	OPK_MEM,      /* the insn's one memory operand (base/index/disp/seg below) */
	OPK_IMM,      /* imm, already sign- or zero-extended to the operand's use */
	OPK_REL,      /* imm: signed displacement from the end of the instruction */
	OPK_FAR,      /* far pointer in the instruction: imm = offset, imm2 = selector */
	OPK_SREG, OPK_CR, OPK_DR,
	OPK_ST, OPK_MMX, OPK_XMM /* and YMM: size 32 */,
};
enum { OPA_R = 1, OPA_W = 2 };      /* access */
#define X86_HIGH8 16

/*
 * What is listed: the operands the SDM writes, in its order (destination first),
 * fixed ones too (AL, rAX, DX, CL, the constant 1 as OPK_IMM).  What is not
 * written there is not listed: rAX/rDX of MUL or CMPXCHG, rSI/rDI of strings (opsize is the
 * element; `seg` the source segment), XMM0 of BLENDVPS, x87 stack registers
 * (ModRM tells).  XLAT and MASKMOV*: only `seg` and addrsize.
 */
struct x86_operand {
	uint8_t kind;
	uint8_t reg;
	uint8_t size;       /* bytes moved: 1..64, 0 where meaningless (LEA, 512-byte areas) */
	uint8_t access;     /* OPA_* */
};

enum { PFX_LOCK = 1, PFX_REP = 2 /* F3 */, PFX_REPNE = 4 /* F2 */, PFX_66 = 8,
       PFX_67 = 16, PFX_SEG = 32, PFX_REX = 64, PFX_VEX = 128 };

enum { X86_NO_REG = 0xff, X86_RIP = 0x20 };

struct x86_insn {
	uint16_t op;              /* enum x86_op */
	uint8_t len;              /* bytes, 1..15 */
	uint8_t nprefix;          /* legacy + REX bytes before opcode / VEX */
	uint8_t opsize;           /* effective operand size of integer ops: 1, 2, 4, 8; PUSH, near
	                           * branches and the like: 8 in 64-bit code (2 if 66, PUSH/POP only) */
	uint8_t addrsize;         /* 2, 4, 8 */
	uint8_t prefix;           /* PFX_* */
	uint8_t rex;              /* W R X B (VEX: the same, positive); W and R only where they count */
	uint8_t map;              /* 0 one-byte, 1 0F, 2 0F38, 3 0F3A */
	uint8_t opcode;
	uint8_t modrm;            /* valid if has_modrm */
	uint8_t has_modrm;
	uint8_t opcode_off;       /* offset of the opcode byte itself in the bytes; ModRM follows it */
	uint8_t imm_off;          /* offset of the first immediate byte; = len if there is none */
	uint8_t cond;             /* JCC SETCC CMOVCC: 0..15 */
	uint8_t vvvv;             /* VEX third register, 0..15 */
	uint8_t vl;               /* vector bytes: 16, 32 (8 for MMX, 0 not a vector) */
	uint8_t pp;               /* mandatory prefix: 0, 1 66, 2 F3, 3 F2 */
	uint8_t nops;
	/* memory operand */
	uint8_t base, index;      /* 0..15, X86_RIP (base only), X86_NO_REG; gathers: index is an XMM */
	uint8_t scale;            /* 1, 2, 4, 8 */
	uint8_t seg;              /* ES..GS: effective segment, override applied */
	uint8_t align;            /* vector forms that #GP if memory is not aligned: 16, 32; else 0 */
	uint16_t mem_size;        /* bytes of the memory operand, 0 if none or not fixed (XSAVE, LEA) */
	uint8_t vform;            /* VEC_*: how OP_VEC/OP_VEC_* must be executed */
	int64_t disp;             /* sign-extended; the sum is cut to addrsize. moffs: the address */
	uint64_t imm;
	uint64_t imm2;            /* ENTER level, far selector, second immediate */
	struct x86_operand o[4];
	uint8_t bytes[16];        /* the instruction as fetched */
} __attribute__((aligned(16)));

/*
 * vform: the shape of a vector instruction (OP_VEC, OP_VEC_FLAGS), so that an
 * engine can run the host's instruction with its operands put elsewhere.  A
 * legacy SSE, VEX or MMX encoding keeps its bytes; only ModRM.reg, ModRM.rm and
 * VEX.vvvv (and SIB/disp of a memory operand) need to be rewritten.
 */
enum x86_vform {
	VEC_NONE,
	VEC_NORMAL = 1,       /* o[] lists the operands in encoding order: reg, (vvvv), rm, imm */
	VEC_GPR_REG = 2,      /* bit: ModRM.reg is a general register (PMOVMSKB, CVTTSD2SI...) */
	VEC_GPR_RM = 4,       /* bit: ModRM.rm, if a register, is general (MOVD, PINSRW, PEXTRW...) */
	VEC_MMX = 8,          /* bit: some operand is an MMX register (x87 state too) */
	VEC_XMM0 = 16,        /* bit: XMM0 is an implicit operand (BLENDVPS, SHA256RNDS2, PCMPISTRM writes) */
	VEC_RCX = 32,         /* bit: writes ECX (PCMP*STRI) */
	VEC_IS4 = 64,         /* bit: imm8[7:4] names a register (VBLENDV*): o[3] */
	VEC_RAX_RDX = 128,    /* bit: reads EAX/EDX, RAX/RDX with W (PCMPESTR*) */
};

enum x86_decode_status {
	X86_OK,
	X86_MORE,      /* ran into the end of `avail`: fetch more (next page) and retry */
	X86_UD,        /* invalid, reserved, or not in the model; the insn's content is undefined */
	X86_TOO_LONG,  /* over 15 bytes: #GP(0) */
};

/*
 * code_size: 2, 4 or 8 (cpu_code_size); `real` = real or virtual-8086 mode
 * (protected-only and VEX forms are #UD there). Pure function, no allocation.
 */
enum x86_decode_status x86_decode(const struct x86_model *model, unsigned code_size,
				  bool real, const uint8_t *bytes, unsigned avail,
				  struct x86_insn *insn);

/* Facts about an op, from ops.def. */
struct x86_op_info {
	const char *name;
	uint16_t flags_read, flags_written;  /* FL_STATUS bits (and FL_DF); written includes undefined */
	uint16_t props;                      /* OPP_* */
};
extern const struct x86_op_info x86_op_info[OP_COUNT];

enum {
	OPP_BRANCH = 1,      /* ends a block: changes RIP other than by falling through */
	OPP_SYSTEM = 2,      /* may change mode, paging, interrupts: ends a block, leave to the interpreter */
	OPP_STRING = 4,      /* REP-able */
	OPP_LOCKABLE = 8,    /* LOCK is legal (memory destination) */
	OPP_IO = 16,         /* port I/O */
	OPP_FPU = 32,        /* x87: #NM if CR0.EM/TS, #MF pending */
	OPP_VEC = 64,        /* MMX/SSE/AVX state: #NM, CR4.OSFXSR / XCR0 checks */
	OPP_CONDFLAGS = 128, /* writes flags only sometimes (shift by CL): they are also read */
};

#endif
