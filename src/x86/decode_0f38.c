/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three-byte maps 0F 38 and 0F 3A (SDM 2D tables ), legacy encodings. */
#include "x86/decode_kinds.h"

/* XMM0 as a third source. */
#define BLENDV(opcode) \
	PP(opcode, PP_66) = FV(VEC, SSE41, 0, VEC_NORMAL | VEC_XMM0, RW(V_(DQ)), R(W_(DQ)))
#define SHA2(opcode, shape) \
	PP(opcode, PP_NONE) = FV(VEC, SHA, 0, VEC_NORMAL | (shape), RW(V_(DQ)), R(W_(DQ)))

const struct x86_form x86_forms_0f38[1024] = {
	PP(0x82, PP_66) = FT(INVPCID, INVPCID, FF_N, R(Gn), R(Mdq)),
	PP(0xf0, PP_NONE) = FT(MOVBE, MOVBE, 0, W(Gv), R(Mv)),
	PP(0xf0, PP_66) = FT(MOVBE, MOVBE, 0, W(Gv), R(Mv)),
	PP(0xf1, PP_NONE) = FT(MOVBE, MOVBE, 0, W(Mv), R(Gv)),
	PP(0xf1, PP_66) = FT(MOVBE, MOVBE, 0, W(Mv), R(Gv)),
	PP(0xf0, PP_F2) = FT(CRC32, SSE42, FF_BYTE, RW(Gy), R(Eb)),
	PP(0xf1, PP_F2) = FT(CRC32, SSE42, 0, RW(Gy), R(Ev)),
	PP(0xf6, PP_66) = FT(ADCX, ADX, 0, RW(Gy), R(Ey)),
	PP(0xf6, PP_F3) = FT(ADOX, ADX, 0, RW(Gy), R(Ey)),
	BLENDV(0x10), BLENDV(0x14), BLENDV(0x15),
	SHA2(0xc8, 0), SHA2(0xc9, 0), SHA2(0xca, 0), SHA2(0xcb, VEC_XMM0), SHA2(0xcc, 0), SHA2(0xcd, 0),

#define V(opcode, pp, name, feat, fl, kind) \
	PP(opcode, PP_##pp) = FV(name, feat, fl, F_##kind, K_##kind),
#define I(opcode, kind) \
	PP(opcode, PP_NONE) = FV(VEC, SSSE3, 0, F_##kind | VEC_MMX, M_##kind), \
	PP(opcode, PP_66) = FV(VEC, SSSE3, 0, F_##kind, K_##kind),
#include "x86/decode_vec_0f38.def"
};

const struct x86_form x86_forms_0f3a[1024] = {
	PP(0x0f, PP_NONE) = FV(VEC, SSSE3, 0, VEC_NORMAL | VEC_MMX, RW(Pq), R(Qq), R(Ib)),
	PP(0xcc, PP_NONE) = FV(VEC, SHA, 0, VEC_NORMAL, RW(V_(DQ)), R(W_(DQ)), R(Ib)),

#define STRING(opcode, shape) \
	PP(opcode, PP_66) = FV(VEC_FLAGS, SSE42, FF_UNALIGNED, VEC_NORMAL | (shape), K_STR),
#include "x86/decode_vec_0f3a.def"
};
