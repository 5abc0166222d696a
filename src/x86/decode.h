/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder's tables: one form a (map, opcode, mandatory prefix), 16 bytes
 * each, written in the operand notation of the SDM's opcode maps (volume 2D
 * appendix A): Ev is a ModRM.rm operand of the operand size, Gb the register of
 * ModRM.reg, Wx an XMM register or memory of the vector length, and so on.
 * Private to decode*.c.
 */
#ifndef X86_DECODE_H
#define X86_DECODE_H

#include "x86/insn.h"
#include "x86/model.h"

/* Where an operand comes from. Odd: needs a ModRM byte. */
enum {
	SRC_NONE = 0, SRC_RM = 1, SRC_IMM = 2 /* sign-extended */, SRC_MEM = 3 /* register form #UD */,
	SRC_UIMM = 4, SRC_RMREG = 5 /* memory form #UD */, SRC_OPREG = 6, SRC_REG = 7,
	SRC_VVVV = 8, SRC_RMANY = 9 /* ModRM.mod ignored: MOV CR */, SRC_FIXED = 10,
	SRC_REL = 12, SRC_VSIB = 13, SRC_ONE = 14, SRC_MOFFS = 16, SRC_FAR = 18, SRC_IS4 = 20,
	SRC_SREG = 22 /* bits 3-5 of the opcode */,
};
/* What kind of register; for SRC_FIXED the register itself. */
enum {
	CLS_GPR, CLS_GPR4 /* as a register 4 bytes, whatever the memory form has */,
	CLS_GPRV /* as a register of the operand size */, CLS_SREG, CLS_CR, CLS_DR, CLS_MMX, CLS_XMM,
};
/* How large: a fixed size, or by a rule (operand_size() in decode.c). */
enum {
	SZ_NONE, SZ_B, SZ_W, SZ_D, SZ_Q, SZ_DQ, SZ_QQ, SZ_T /* 10 */,
	SZ_V /* operand size */, SZ_Z /* operand size, at most 4 */, SZ_Y /* 8 if W, else 4 */,
	SZ_P /* far pointer: operand size + 2 */, SZ_A /* BOUND: two of operand size */,
	SZ_S /* descriptor-table register: 6, or 10 in 64-bit code */,
	SZ_X, SZ_XH, SZ_XQ, SZ_XE /* vector length, and 1/2, 1/4, 1/8 of it */,
	SZ_N /* 8 in 64-bit code, else 4 */, SZ_E /* 8 if VEX.W, else 4, in every mode */,
	SZ_ENV /* FLDENV: 14 or 28 */, SZ_SAVE /* FSAVE: 94 or 108 */, SZ_FX /* 512 */,
};

/* An operand's descriptor: source 0-4, class 5-7, size 8-12, access 13-14. */
#define OD(src, cls, size) (SRC_##src | CLS_##cls << 5 | SZ_##size << 8)
#define OD_SRC(d) ((d) & 31)
#define OD_CLS(d) ((d) >> 5 & 7)
#define OD_SIZE(d) ((d) >> 8 & 31)
#define OD_ACCESS(d) ((d) >> 13 & 3)
#define R(d) ((d) | OPA_R << 13)
#define W(d) ((d) | OPA_W << 13)
#define RW(d) ((d) | (OPA_R | OPA_W) << 13)

#define Eb OD(RM, GPR, B)
#define Ew OD(RM, GPR, W)
#define Ed OD(RM, GPR, D)
#define Ev OD(RM, GPR, V)
#define Ez OD(RM, GPR, Z)
#define Ey OD(RM, GPR, Y)
#define Ebd OD(RM, GPR4, B)      /* r32/m8 */
#define Ewd OD(RM, GPR4, W)      /* r32/m16 */
#define Ewv OD(RM, GPRV, W)      /* rV/m16 */
#define Gb OD(REG, GPR, B)
#define Gw OD(REG, GPR, W)
#define Gd OD(REG, GPR, D)
#define Gv OD(REG, GPR, V)
#define Gy OD(REG, GPR, Y)
#define Gn OD(REG, GPR, N)
#define By OD(VVVV, GPR, Y)
#define Zb OD(OPREG, GPR, B)
#define Zv OD(OPREG, GPR, V)
#define AL_ (OD(FIXED, GPR, B))
#define AX_V OD(FIXED, GPR, V)
#define AX_Z OD(FIXED, GPR, Z)
#define CL_ (OD(FIXED, GPR, B) | 1 << 5)
#define DX_ (OD(FIXED, GPR, W) | 2 << 5)
#define Rv OD(RMREG, GPR, V)
#define Ry OD(RMREG, GPR, Y)
#define Rn OD(RMANY, GPR, N)
#define RNn OD(RMREG, GPR, N)
#define Sw OD(REG, SREG, W)
#define FSREG OD(SREG, SREG, W)
#define Cn OD(REG, CR, N)
#define Dn OD(REG, DR, N)
#define M OD(MEM, GPR, NONE)
#define Mb OD(MEM, GPR, B)
#define Mw OD(MEM, GPR, W)
#define Md OD(MEM, GPR, D)
#define Mq OD(MEM, GPR, Q)
#define Mdq OD(MEM, GPR, DQ)
#define Mqq OD(MEM, GPR, QQ)
#define Mt OD(MEM, GPR, T)
#define Mv OD(MEM, GPR, V)
#define My OD(MEM, GPR, Y)
#define Mn OD(MEM, GPR, N)
#define Mp OD(MEM, GPR, P)
#define Ma OD(MEM, GPR, A)
#define Ms OD(MEM, GPR, S)
#define Mx OD(MEM, XMM, X)
#define Menv OD(MEM, GPR, ENV)
#define Msave OD(MEM, GPR, SAVE)
#define Mfx OD(MEM, GPR, FX)
#define Ib OD(UIMM, GPR, B)
#define Iw OD(UIMM, GPR, W)
#define Iz OD(IMM, GPR, Z)
#define Iv OD(IMM, GPR, V)
#define sIb OD(IMM, GPR, B)
#define I1 OD(ONE, GPR, B)
#define Jb OD(REL, GPR, B)
#define Jz OD(REL, GPR, Z)
#define Ap OD(FAR, GPR, P)
#define Ob OD(MOFFS, GPR, B)
#define Ov OD(MOFFS, GPR, V)

/* Vector operands. x: vector length; ss, sd: scalars; d, q, dq: fixed. */
#define Pq OD(REG, MMX, Q)
#define Qq OD(RM, MMX, Q)
#define Qd OD(RM, MMX, D)
#define Nq OD(RMREG, MMX, Q)
#define V_(s) OD(REG, XMM, s)
#define H_(s) OD(VVVV, XMM, s)
#define W_(s) OD(RM, XMM, s)
#define U_(s) OD(RMREG, XMM, s)
#define LX_(s) OD(IS4, XMM, s)
/* Vector-indexed memory; the size is the index register's, each element's by W. */
#define VM_(s) OD(VSIB, XMM, s)

enum {
	FF_I64 = 1,       /* #UD in 64-bit code */
	FF_O64 = 2,       /* #UD outside 64-bit code */
	FF_D64 = 4,       /* operand size 8 by default in 64-bit code */
	FF_F64 = 8,       /* operand size 8 in 64-bit code, 66 ignored */
	FF_N = 16,        /* operand size 8 in 64-bit code, else 4, 66 ignored */
	FF_PROT = 32,     /* #UD in real and virtual-8086 mode */
	FF_BYTE = 64,     /* operand size 1 */
	FF_MAX4 = 128,    /* operand size at most 4: port I/O */
	FF_FALL = 256,    /* without the feature: the form without mandatory prefix */
	FF_W0 = 512, FF_W1 = 1024,       /* VEX.W is fixed */
	FF_L0 = 2048, FF_L1 = 4096,      /* VEX.L is fixed */
	FF_AVX2 = 8192,   /* the 256-bit form needs AVX2 */
	FF_UNALIGNED = 16384,            /* legacy SSE: memory may be unaligned */
	FF_ALIGNED = 32768,              /* VEX: memory must be aligned */
};
enum {
	SEL_NONE, SEL_REG /* sub[ModRM.reg] */, SEL_MOD /* sub[mod == 3] */, SEL_RM /* sub[ModRM.rm] */,
	SEL_W /* sub[REX.W or VEX.W] */, SEL_NOP /* 90: sub[0] NOP, [1] XCHG, [2] PAUSE */,
	SEL_X87, SEL_L /* sub[VEX.L] */, SEL_C64 /* sub[64-bit code] */
};

/* Feature 0 is the FPU, which all models have: "always". */
struct x86_form {
	uint16_t op, flags;
	uint8_t feature, vform, select, spare;
	union {
		uint16_t o[4];
		const struct x86_form *sub;
	};
};
_Static_assert(sizeof(struct x86_form) == 16, "a form is a quarter of a cache line");

#define F(name, ...) { .op = OP_##name, .o = { __VA_ARGS__ } }
#define FX(name, fl, ...) { .op = OP_##name, .flags = (fl), .o = { __VA_ARGS__ } }
#define FT(name, feat, fl, ...) \
	{ .op = OP_##name, .flags = (fl), .feature = FEAT_##feat, .o = { __VA_ARGS__ } }
#define SELECT(how, table) { .select = SEL_##how, .sub = (table) }
#define GROUP (const struct x86_form[8])
#define BY_MOD (const struct x86_form[2])

extern const struct x86_form x86_forms_one[256];
/* Maps with mandatory prefixes: [opcode * 4 + pp]. */
#define PP(opcode, pp) [(opcode) * 4 + (pp)]
#define ALL(opcode) [(opcode) * 4 ... (opcode) * 4 + 3]
enum { PP_NONE, PP_66, PP_F3, PP_F2 };
extern const struct x86_form x86_forms_0f[1024], x86_forms_0f38[1024], x86_forms_0f3a[1024];
extern const struct x86_form x86_forms_vex[3][1024];       /* by map - 1 */
/* D8..DF by ModRM: registers by [esc][modrm & 63], memory by [esc][reg]. */
const struct x86_form *x86_form_x87(uint8_t opcode, uint8_t modrm);

#endif
