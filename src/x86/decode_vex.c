/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VEX-encoded instructions by map, opcode and pp (SDM 2D tables ):
 * the shared rows of decode_vec_*.def, and what has no legacy encoding.
 */
#include "x86/decode_kinds.h"

#define BMI(feat, name, ...) FT(name, feat, FF_L0, __VA_ARGS__)
#define AVX(fl, ...) FV(VEC, AVX, fl, VEC_NORMAL, __VA_ARGS__)
#define AVX2(fl, ...) FV(VEC, AVX2, fl, VEC_NORMAL, __VA_ARGS__)
#define MASKMOV(feat, fl, ...) FV(VEC_MASKMOV, feat, fl, VEC_NORMAL, __VA_ARGS__)

static const struct x86_form group17[8] = {
	[1] = BMI(BMI1, BLSR, W(By), R(Ey)), [2] = BMI(BMI1, BLSMSK, W(By), R(Ey)),
	[3] = BMI(BMI1, BLSI, W(By), R(Ey)),
};

/* VMOVSS, VMOVSD: memory forms have two operands, register forms three. */
static const struct x86_form movss_load[2] = {
	AVX(0, W(V_(DQ)), R(W_(D))), AVX(0, W(V_(DQ)), R(H_(DQ)), R(W_(D))),
};
static const struct x86_form movsd_load[2] = {
	AVX(0, W(V_(DQ)), R(W_(Q))), AVX(0, W(V_(DQ)), R(H_(DQ)), R(W_(Q))),
};
static const struct x86_form movss_store[2] = {
	AVX(0, W(W_(D)), R(V_(DQ))), AVX(0, W(W_(DQ)), R(H_(DQ)), R(V_(D))),
};
static const struct x86_form movsd_store[2] = {
	AVX(0, W(W_(Q)), R(V_(DQ))), AVX(0, W(W_(DQ)), R(H_(DQ)), R(V_(Q))),
};
static const struct x86_form movddup[2] = {
	AVX(0, W(V_(DQ)), R(W_(Q))), AVX(0, W(V_(QQ)), R(W_(QQ))),
};
static const struct x86_form vzero[2] = {
	FT(VZEROUPPER, AVX, FF_L0), FT(VZEROALL, AVX, FF_L1),
};
static const struct x86_form ldst_mxcsr[8] = {
	[2] = FT(LDMXCSR, AVX, FF_L0, R(Md)), [3] = FT(STMXCSR, AVX, FF_L0, W(Md)),
};

#define AVX_SHIFT FV(VEC, AVX, FF_AVX2, VEC_NORMAL, W(H_(X)), R(U_(X)), R(Ib))
static const struct x86_form group12[8] = { [2] = AVX_SHIFT, [4] = AVX_SHIFT, [6] = AVX_SHIFT };
static const struct x86_form group14[8] = {
	[2] = AVX_SHIFT, [3] = AVX_SHIFT, [6] = AVX_SHIFT, [7] = AVX_SHIFT,
};

/* VBROADCASTSS/SD: from memory AVX, from a register AVX2. */
static const struct x86_form broadcast_ss[2] = {
	AVX(FF_W0, W(V_(X)), R(W_(D))), AVX2(FF_W0, W(V_(X)), R(W_(D))),
};
static const struct x86_form broadcast_sd[2] = {
	AVX(FF_W0 | FF_L1, W(V_(X)), R(W_(Q))), AVX2(FF_W0 | FF_L1, W(V_(X)), R(W_(Q))),
};

/*
 * Gathers: W gives the element's size, bit 0 of the opcode the index's (the
 * VSIB register): whichever is larger fills the vector, the other one half of it.
 */
#define GATHER_FORM(value, index) \
	FV(VEC_GATHER, AVX2, 0, VEC_NORMAL, RW(V_(value)), R(VM_(index)), RW(H_(value)))
static const struct x86_form gather_d[2] = { GATHER_FORM(X, X), GATHER_FORM(X, XH) };
static const struct x86_form gather_q[2] = { GATHER_FORM(XH, X), GATHER_FORM(X, X) };
/* FMA: packed and scalar forms alternate from x8 on, after two packed ones. */
#define FMA_P(opcode) PP(opcode, PP_66) = FV(VEC, FMA, 0, VEC_NORMAL, RW(V_(X)), R(H_(X)), R(W_(X)))
#define FMA_S(opcode) PP(opcode, PP_66) = FV(VEC, FMA, 0, VEC_NORMAL, RW(V_(DQ)), R(H_(DQ)), R(W_(E)))
#define FMA_ROW(x) \
	FMA_P(x + 6), FMA_P(x + 7), FMA_P(x + 8), FMA_S(x + 9), FMA_P(x + 10), FMA_S(x + 11), \
	FMA_P(x + 12), FMA_S(x + 13), FMA_P(x + 14), FMA_S(x + 15)
#define BLENDV(opcode, fl) PP(opcode, PP_66) = \
	FV(VEC, AVX, FF_W0 | (fl), VEC_NORMAL | VEC_IS4, W(V_(X)), R(H_(X)), R(W_(X)), R(LX_(X)))

#define V(opcode, pp, name, feat, fl, kind) \
	PP(opcode, PP_##pp) = FV(name, feat, fl, F_##kind, X_##kind),
#define I(opcode, kind) \
	PP(opcode, PP_66) = FV(VEC, AVX, FF_AVX2, F_##kind, X_##kind),
#define STRING(opcode, shape) \
	PP(opcode, PP_66) = FV(VEC_FLAGS, AVX, FF_L0, VEC_NORMAL | (shape), X_STR),

const struct x86_form x86_forms_vex[3][1024] = {
	[0] = {
#include "x86/decode_vec_0f.def"
		PP(0x10, PP_F3) = SELECT(MOD, movss_load), PP(0x10, PP_F2) = SELECT(MOD, movsd_load),
		PP(0x11, PP_F3) = SELECT(MOD, movss_store), PP(0x11, PP_F2) = SELECT(MOD, movsd_store),
		PP(0x12, PP_NONE) = AVX(FF_L0, W(V_(DQ)), R(H_(DQ)), R(W_(Q))),
		PP(0x12, PP_F2) = SELECT(L, movddup),
		PP(0x16, PP_NONE) = AVX(FF_L0, W(V_(DQ)), R(H_(DQ)), R(W_(Q))),
		PP(0x71, PP_66) = SELECT(REG, group12), PP(0x72, PP_66) = SELECT(REG, group12),
		PP(0x73, PP_66) = SELECT(REG, group14),
		PP(0x77, PP_NONE) = SELECT(L, vzero),
		PP(0xae, PP_NONE) = SELECT(REG, ldst_mxcsr),
		PP(0xf7, PP_66) = FV(MASKMOVDQU, AVX, FF_L0, VEC_NORMAL, R(V_(DQ)), R(U_(DQ))),
	},
	[1] = {
#include "x86/decode_vec_0f38.def"
		PP(0x0c, PP_66) = AVX(FF_W0, X_P3), PP(0x0d, PP_66) = AVX(FF_W0, X_P3),
		PP(0x0e, PP_66) = FV(VEC_FLAGS, AVX, FF_W0, VEC_NORMAL, X_PCMP),
		PP(0x0f, PP_66) = FV(VEC_FLAGS, AVX, FF_W0, VEC_NORMAL, X_PCMP),
		PP(0x13, PP_66) = FV(VEC, F16C, FF_W0, VEC_NORMAL, X_HALF),
		PP(0x16, PP_66) = AVX2(FF_W0 | FF_L1, X_P3),
		PP(0x18, PP_66) = SELECT(MOD, broadcast_ss), PP(0x19, PP_66) = SELECT(MOD, broadcast_sd),
		PP(0x1a, PP_66) = AVX(FF_W0 | FF_L1, W(V_(X)), R(Mdq)),
		PP(0x2c, PP_66) = MASKMOV(AVX, FF_W0, W(V_(X)), R(H_(X)), R(Mx)),
		PP(0x2d, PP_66) = MASKMOV(AVX, FF_W0, W(V_(X)), R(H_(X)), R(Mx)),
		PP(0x2e, PP_66) = MASKMOV(AVX, FF_W0, W(Mx), R(H_(X)), R(V_(X))),
		PP(0x2f, PP_66) = MASKMOV(AVX, FF_W0, W(Mx), R(H_(X)), R(V_(X))),
		PP(0x36, PP_66) = AVX2(FF_W0 | FF_L1, X_P3),
		PP(0x45, PP_66) = AVX2(0, X_P3), PP(0x46, PP_66) = AVX2(FF_W0, X_P3),
		PP(0x47, PP_66) = AVX2(0, X_P3),
		PP(0x58, PP_66) = AVX2(FF_W0, W(V_(X)), R(W_(D))),
		PP(0x59, PP_66) = AVX2(FF_W0, W(V_(X)), R(W_(Q))),
		PP(0x5a, PP_66) = AVX2(FF_W0 | FF_L1, W(V_(X)), R(Mdq)),
		PP(0x78, PP_66) = AVX2(FF_W0, W(V_(X)), R(W_(B))),
		PP(0x79, PP_66) = AVX2(FF_W0, W(V_(X)), R(W_(W))),
		PP(0x8c, PP_66) = MASKMOV(AVX2, 0, W(V_(X)), R(H_(X)), R(Mx)),
		PP(0x8e, PP_66) = MASKMOV(AVX2, 0, W(Mx), R(H_(X)), R(V_(X))),
		PP(0x90, PP_66) = SELECT(W, gather_d), PP(0x91, PP_66) = SELECT(W, gather_q),
		PP(0x92, PP_66) = SELECT(W, gather_d), PP(0x93, PP_66) = SELECT(W, gather_q),
		FMA_ROW(0x90), FMA_ROW(0xa0), FMA_ROW(0xb0),
		PP(0xf2, PP_NONE) = BMI(BMI1, ANDN, W(Gy), R(By), R(Ey)),
		PP(0xf3, PP_NONE) = SELECT(REG, group17),
		PP(0xf5, PP_NONE) = BMI(BMI2, BZHI, W(Gy), R(Ey), R(By)),
		PP(0xf5, PP_F3) = BMI(BMI2, PEXT, W(Gy), R(By), R(Ey)),
		PP(0xf5, PP_F2) = BMI(BMI2, PDEP, W(Gy), R(By), R(Ey)),
		PP(0xf6, PP_F2) = BMI(BMI2, MULX, W(Gy), W(By), R(Ey)),
		PP(0xf7, PP_NONE) = BMI(BMI1, BEXTR, W(Gy), R(Ey), R(By)),
		PP(0xf7, PP_66) = BMI(BMI2, SHLX, W(Gy), R(Ey), R(By)),
		PP(0xf7, PP_F3) = BMI(BMI2, SARX, W(Gy), R(Ey), R(By)),
		PP(0xf7, PP_F2) = BMI(BMI2, SHRX, W(Gy), R(Ey), R(By)),
	},
	[2] = {
#include "x86/decode_vec_0f3a.def"
		PP(0x00, PP_66) = AVX2(FF_W1 | FF_L1, X_P2I), PP(0x01, PP_66) = AVX2(FF_W1 | FF_L1, X_P2I),
		PP(0x02, PP_66) = AVX2(FF_W0, X_P3I),
		PP(0x04, PP_66) = AVX(FF_W0, X_P2I), PP(0x05, PP_66) = AVX(FF_W0, X_P2I),
		PP(0x06, PP_66) = AVX(FF_W0 | FF_L1, X_P3I),
		PP(0x18, PP_66) = AVX(FF_W0 | FF_L1, W(V_(X)), R(H_(X)), R(W_(DQ)), R(Ib)),
		PP(0x19, PP_66) = AVX(FF_W0 | FF_L1, W(W_(DQ)), R(V_(X)), R(Ib)),
		PP(0x1d, PP_66) = FV(VEC, F16C, FF_W0, VEC_NORMAL, W(W_(XH)), R(V_(X)), R(Ib)),
		PP(0x38, PP_66) = AVX2(FF_W0 | FF_L1, W(V_(X)), R(H_(X)), R(W_(DQ)), R(Ib)),
		PP(0x39, PP_66) = AVX2(FF_W0 | FF_L1, W(W_(DQ)), R(V_(X)), R(Ib)),
		PP(0x46, PP_66) = AVX2(FF_W0 | FF_L1, X_P3I),
		BLENDV(0x4a, 0), BLENDV(0x4b, 0), BLENDV(0x4c, FF_AVX2),
		PP(0xf0, PP_F2) = BMI(BMI2, RORX, W(Gy), R(Ey), R(Ib)),
	},
};
