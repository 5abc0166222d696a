/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two-byte map 0F (SDM 2D table A-3): integer and system instructions here,
 * SSE and MMX from decode_vector.def.
 */
#include "x86/decode_kinds.h"

static const struct x86_form group6[8] = {
	FX(SLDT, FF_PROT, W(Ewv)), FX(STR, FF_PROT, W(Ewv)),
	FX(LLDT, FF_PROT, R(Ew)), FX(LTR, FF_PROT, R(Ew)),
	FX(VERR, FF_PROT, R(Ew)), FX(VERW, FF_PROT, R(Ew)),
};

/* 0F 01: descriptor tables, and a crowd of instructions in the register forms. */
static const struct x86_form group7_mem[8] = {
	FX(SGDT, FF_F64, W(Ms)), FX(SIDT, FF_F64, W(Ms)),
	FX(LGDT, FF_F64, R(Ms)), FX(LIDT, FF_F64, R(Ms)),
	F(SMSW, W(Mw)), { 0 }, F(LMSW, R(Mw)), F(INVLPG, Mb),
};
static const struct x86_form group7_vm[8] = { [1] = F(VMCALL) };
static const struct x86_form group7_monitor[8] = {
	FT(MONITOR, MONITOR, 0), FT(MWAIT, MONITOR, 0), FT(CLAC, SMAP, 0), FT(STAC, SMAP, 0),
};
static const struct x86_form group7_xcr[8] = { FT(XGETBV, XSAVE, 0), FT(XSETBV, XSAVE, 0) };
static const struct x86_form group7_monitor_only[8] = { FT(MONITOR, MONITOR, 0), FT(MWAIT, MONITOR, 0) };
static const struct x86_form group7_svm[8] = { [1] = F(VMCALL) };      /* VMMCALL */
static const struct x86_form group7_gs[8] = { FX(SWAPGS, FF_O64), FT(RDTSCP, RDTSCP, 0) };
static const struct x86_form group7_reg[8] = {
	SELECT(RM, group7_vm), SELECT(RM, group7_monitor), SELECT(RM, group7_xcr),
	SELECT(RM, group7_svm), F(SMSW, W(Ewv)), { 0 }, F(LMSW, R(Ew)), SELECT(RM, group7_gs),
};
/* With a 66, F3 or F2 prefix: without those that must not have one. */
static const struct x86_form group7_prefixed[8] = {
	SELECT(RM, group7_vm), SELECT(RM, group7_monitor_only), { 0 },
	SELECT(RM, group7_svm), F(SMSW, W(Ewv)), { 0 }, F(LMSW, R(Ew)), SELECT(RM, group7_gs),
};
#define GROUP7(reg) SELECT(MOD, ((BY_MOD { SELECT(REG, group7_mem), SELECT(REG, reg) })))

static const struct x86_form group8[8] = {
	[4] = F(BT, R(Ev), R(Ib)), [5] = F(BTS, RW(Ev), R(Ib)),
	[6] = F(BTR, RW(Ev), R(Ib)), [7] = F(BTC, RW(Ev), R(Ib)),
};

static const struct x86_form cmpxchg_8b_16b[2] = {
	F(CMPXCHG8B, RW(Mq)), FT(CMPXCHG16B, CX16, 0, RW(Mdq)),
};
static const struct x86_form cmpxchg_by_mode[2] = {
	F(CMPXCHG8B, RW(Mq)), SELECT(W, cmpxchg_8b_16b),
};
static const struct x86_form group9[8] = {
	[1] = SELECT(C64, cmpxchg_by_mode),
	[3] = FT(XRSTORS, XSAVES, 0, R(M)), [4] = FT(XSAVEC, XSAVEC, 0, W(M)),
	[5] = FT(XSAVES, XSAVES, 0, W(M)),
	[6] = FT(RDRAND, RDRAND, 0, W(Rv)), [7] = FT(RDSEED, RDSEED, 0, W(Rv)),
};
static const struct x86_form group9_66[8] = {
	[1] = SELECT(C64, cmpxchg_by_mode),
	[6] = FT(RDRAND, RDRAND, 0, W(Rv)), [7] = FT(RDSEED, RDSEED, 0, W(Rv)),
};
static const struct x86_form group9_f3[8] = {
	[1] = SELECT(C64, cmpxchg_by_mode),
	[7] = FT(RDPID, RDPID, FF_N, W(RNn)),
};
static const struct x86_form group9_f2[8] = { [1] = SELECT(C64, cmpxchg_by_mode) };

static const struct x86_form group15_mem[8] = {
	FT(FXSAVE, FXSR, 0, W(Mfx)), FT(FXRSTOR, FXSR, 0, R(Mfx)),
	FT(LDMXCSR, SSE, 0, R(Md)), FT(STMXCSR, SSE, 0, W(Md)),
	FT(XSAVE, XSAVE, 0, W(M)), FT(XRSTOR, XSAVE, 0, R(M)),
	FT(XSAVEOPT, XSAVEOPT, 0, W(M)), FT(CLFLUSH, CLFSH, 0, Mb),
};
static const struct x86_form group15_reg[8] = {
	[5] = FT(FENCE, SSE2, 0), [6] = FT(FENCE, SSE2, 0), [7] = FT(FENCE, SSE, 0),
};
static const struct x86_form group15_66[8] = {
	[6] = FT(CLFLUSH, CLWB, 0, Mb), [7] = FT(CLFLUSH, CLFLUSHOPT, 0, Mb),
};
static const struct x86_form group15_f3[8] = {
	FT(RDFSBASE, FSGSBASE, FF_O64, W(Ry)), FT(RDGSBASE, FSGSBASE, FF_O64, W(Ry)),
	FT(WRFSBASE, FSGSBASE, FF_O64, R(Ry)), FT(WRGSBASE, FSGSBASE, FF_O64, R(Ry)),
};

/* MOVSS, MOVSD: a load clears the rest of the register, a move keeps it. */
static const struct x86_form movss_load[2] = {
	FV(VEC, SSE, 0, VEC_NORMAL, W(V_(DQ)), R(W_(D))), FV(VEC, SSE, 0, VEC_NORMAL, RW(V_(DQ)), R(W_(D))),
};
static const struct x86_form movsd_load[2] = {
	FV(VEC, SSE2, 0, VEC_NORMAL, W(V_(DQ)), R(W_(Q))), FV(VEC, SSE2, 0, VEC_NORMAL, RW(V_(DQ)), R(W_(Q))),
};
static const struct x86_form movss_store[2] = {
	FV(VEC, SSE, 0, VEC_NORMAL, W(W_(D)), R(V_(DQ))), FV(VEC, SSE, 0, VEC_NORMAL, RW(W_(DQ)), R(V_(D))),
};
static const struct x86_form movsd_store[2] = {
	FV(VEC, SSE2, 0, VEC_NORMAL, W(W_(Q)), R(V_(DQ))), FV(VEC, SSE2, 0, VEC_NORMAL, RW(W_(DQ)), R(V_(Q))),
};

/* Shifts by an immediate: groups 12, 13, 14. */
#define MMX_SHIFT MMX_FORM(RW(Nq), R(Ib))
#define SSE_SHIFT FV(VEC, SSE2, 0, VEC_NORMAL, RW(U_(DQ)), R(Ib))
static const struct x86_form group12_mmx[8] = { [2] = MMX_SHIFT, [4] = MMX_SHIFT, [6] = MMX_SHIFT };
static const struct x86_form group14_mmx[8] = { [2] = MMX_SHIFT, [6] = MMX_SHIFT };
static const struct x86_form group12_sse[8] = { [2] = SSE_SHIFT, [4] = SSE_SHIFT, [6] = SSE_SHIFT };
static const struct x86_form group14_sse[8] = {
	[2] = SSE_SHIFT, [3] = SSE_SHIFT, [6] = SSE_SHIFT, [7] = SSE_SHIFT,
};

const struct x86_form x86_forms_0f[1024] = {
	ALL(0x00) = SELECT(REG, group6),
	PP(0x01, PP_NONE) = GROUP7(group7_reg), PP(0x01, PP_66) = GROUP7(group7_prefixed),
	PP(0x01, PP_F3) = GROUP7(group7_prefixed), PP(0x01, PP_F2) = GROUP7(group7_prefixed),
	ALL(0x02) = FX(LAR, FF_PROT, RW(Gv), R(Ew)),
	ALL(0x03) = FX(LSL, FF_PROT, RW(Gv), R(Ew)),
	ALL(0x05) = FT(SYSCALL, SYSCALL, FF_O64),       /* Intel: 64-bit code only */
	ALL(0x06) = F(CLTS),
	ALL(0x07) = FT(SYSRET, SYSCALL, FF_O64),
	ALL(0x08) = F(INVD), ALL(0x09) = F(WBINVD),
	ALL(0x0b) = F(UD),
	ALL(0x0d) = F(NOP, Eb),                         /* PREFETCHW */
	ALL(0x18) = F(NOP, Eb),                         /* PREFETCH hints */
	[0x19 * 4 ... 0x1f * 4 + 3] = F(NOP, Ev),       /* ENDBR, MPX without MPX */
	ALL(0x20) = FX(MOV_FROM_CR, FF_N, W(Rn), R(Cn)),
	ALL(0x21) = FX(MOV_FROM_DR, FF_N, W(Rn), R(Dn)),
	ALL(0x22) = FX(MOV_TO_CR, FF_N, W(Cn), R(Rn)),
	ALL(0x23) = FX(MOV_TO_DR, FF_N, W(Dn), R(Rn)),
	ALL(0x30) = F(WRMSR), ALL(0x31) = F(RDTSC), ALL(0x32) = F(RDMSR), ALL(0x33) = F(RDPMC),
	ALL(0x34) = FT(SYSENTER, SEP, 0), ALL(0x35) = FT(SYSEXIT, SEP, 0),
	[0x40 * 4 ... 0x4f * 4 + 3] = FT(CMOVCC, CMOV, 0, RW(Gv), R(Ev)),
	[0x80 * 4 ... 0x8f * 4 + 3] = FX(JCC, FF_F64, R(Jz)),
	[0x90 * 4 ... 0x9f * 4 + 3] = FX(SETCC, FF_BYTE, W(Eb)),
	ALL(0xa0) = FX(PUSH_SREG, FF_D64, R(FSREG)), ALL(0xa1) = FX(POP_SREG, FF_D64, W(FSREG)),
	ALL(0xa2) = F(CPUID),
	ALL(0xa3) = F(BT, R(Ev), R(Gv)),
	ALL(0xa4) = F(SHLD, RW(Ev), R(Gv), R(Ib)), ALL(0xa5) = F(SHLD, RW(Ev), R(Gv), R(CL_)),
	ALL(0xa8) = FX(PUSH_SREG, FF_D64, R(FSREG)), ALL(0xa9) = FX(POP_SREG, FF_D64, W(FSREG)),
	ALL(0xaa) = F(RSM),
	ALL(0xab) = F(BTS, RW(Ev), R(Gv)),
	ALL(0xac) = F(SHRD, RW(Ev), R(Gv), R(Ib)), ALL(0xad) = F(SHRD, RW(Ev), R(Gv), R(CL_)),
	PP(0xae, PP_NONE) = SELECT(MOD, ((BY_MOD { SELECT(REG, group15_mem), SELECT(REG, group15_reg) }))),
	PP(0xae, PP_66) = SELECT(REG, group15_66),
	PP(0xae, PP_F3) = SELECT(REG, group15_f3),
	ALL(0xaf) = F(IMUL2, RW(Gv), R(Ev)),
	ALL(0xb0) = FX(CMPXCHG, FF_BYTE, RW(Eb), R(Gb)), ALL(0xb1) = F(CMPXCHG, RW(Ev), R(Gv)),
	ALL(0xb2) = F(LSS, W(Gv), R(Mp)),
	ALL(0xb3) = F(BTR, RW(Ev), R(Gv)),
	ALL(0xb4) = F(LFS, W(Gv), R(Mp)), ALL(0xb5) = F(LGS, W(Gv), R(Mp)),
	ALL(0xb6) = F(MOVZX, W(Gv), R(Eb)), ALL(0xb7) = F(MOVZX, W(Gv), R(Ew)),
	PP(0xb8, PP_F3) = FT(POPCNT, POPCNT, 0, W(Gv), R(Ev)),
	ALL(0xb9) = F(UD, Gv, Ev),                      /* UD1 */
	ALL(0xba) = SELECT(REG, group8),
	ALL(0xbb) = F(BTC, RW(Ev), R(Gv)),
	PP(0xbc, PP_NONE) = F(BSF, RW(Gv), R(Ev)), PP(0xbc, PP_66) = F(BSF, RW(Gv), R(Ev)),
	PP(0xbc, PP_F2) = F(BSF, RW(Gv), R(Ev)),
	PP(0xbc, PP_F3) = FT(TZCNT, BMI1, FF_FALL, W(Gv), R(Ev)),
	PP(0xbd, PP_NONE) = F(BSR, RW(Gv), R(Ev)), PP(0xbd, PP_66) = F(BSR, RW(Gv), R(Ev)),
	PP(0xbd, PP_F2) = F(BSR, RW(Gv), R(Ev)),
	PP(0xbd, PP_F3) = FT(LZCNT, LZCNT, FF_FALL, W(Gv), R(Ev)),
	ALL(0xbe) = F(MOVSX, W(Gv), R(Eb)), ALL(0xbf) = F(MOVSX, W(Gv), R(Ew)),
	ALL(0xc0) = FX(XADD, FF_BYTE, RW(Eb), RW(Gb)), ALL(0xc1) = F(XADD, RW(Ev), RW(Gv)),
	PP(0xc3, PP_NONE) = FT(MOVNTI, SSE2, 0, W(My), R(Gy)),
	PP(0xc7, PP_NONE) = SELECT(REG, group9), PP(0xc7, PP_66) = SELECT(REG, group9_66),
	PP(0xc7, PP_F3) = SELECT(REG, group9_f3), PP(0xc7, PP_F2) = SELECT(REG, group9_f2),
	[0xc8 * 4 ... 0xcf * 4 + 3] = F(BSWAP, RW(Zv)),
	ALL(0xff) = F(UD, Gv, Ev),                      /* UD0 */

#define V(opcode, pp, name, feat, fl, kind) \
	PP(opcode, PP_##pp) = FV(name, feat, fl, F_##kind, K_##kind),
#define I(opcode, kind) \
	PP(opcode, PP_NONE) = MMX_FORM(M_##kind), \
	PP(opcode, PP_66) = FV(VEC, SSE2, 0, F_##kind, K_##kind),
#include "x86/decode_vec_0f.def"
	/* legacy encodings only, or of their own shape */
	PP(0x10, PP_F3) = SELECT(MOD, movss_load), PP(0x10, PP_F2) = SELECT(MOD, movsd_load),
	PP(0x11, PP_F3) = SELECT(MOD, movss_store), PP(0x11, PP_F2) = SELECT(MOD, movsd_store),
	PP(0x12, PP_NONE) = FV(VEC, SSE, 0, VEC_NORMAL, RW(V_(DQ)), R(W_(Q))),
	PP(0x12, PP_F2) = FV(VEC, SSE3, 0, VEC_NORMAL, W(V_(DQ)), R(W_(Q))),
	PP(0x16, PP_NONE) = FV(VEC, SSE, 0, VEC_NORMAL, RW(V_(DQ)), R(W_(Q))),
	PP(0x2a, PP_NONE) = MMX_FORM(RW(V_(DQ)), R(Qq)), PP(0x2a, PP_66) = MMX_FORM(W(V_(DQ)), R(Qq)),
	PP(0x2c, PP_NONE) = MMX_FORM(W(Pq), R(W_(Q))), PP(0x2c, PP_66) = MMX_FORM(W(Pq), R(W_(DQ))),
	PP(0x2d, PP_NONE) = MMX_FORM(W(Pq), R(W_(Q))), PP(0x2d, PP_66) = MMX_FORM(W(Pq), R(W_(DQ))),
	PP(0x60, PP_NONE) = MMX_FORM(RW(Pq), R(Qd)), PP(0x61, PP_NONE) = MMX_FORM(RW(Pq), R(Qd)),
	PP(0x62, PP_NONE) = MMX_FORM(RW(Pq), R(Qd)),
	PP(0x6e, PP_NONE) = FV(VEC, MMX, 0, VEC_NORMAL | VEC_MMX | VEC_GPR_RM, W(Pq), R(Ey)),
	PP(0x6f, PP_NONE) = MMX_FORM(W(Pq), R(Qq)),
	PP(0x70, PP_NONE) = MMX_FORM(W(Pq), R(Qq), R(Ib)),
	PP(0x71, PP_NONE) = SELECT(REG, group12_mmx), PP(0x71, PP_66) = SELECT(REG, group12_sse),
	PP(0x72, PP_NONE) = SELECT(REG, group12_mmx), PP(0x72, PP_66) = SELECT(REG, group12_sse),
	PP(0x73, PP_NONE) = SELECT(REG, group14_mmx), PP(0x73, PP_66) = SELECT(REG, group14_sse),
	PP(0x77, PP_NONE) = FT(EMMS, MMX, 0),
	PP(0x7e, PP_NONE) = FV(VEC, MMX, 0, VEC_NORMAL | VEC_MMX | VEC_GPR_RM, W(Ey), R(Pq)),
	PP(0x7f, PP_NONE) = MMX_FORM(W(Qq), R(Pq)),
	PP(0xc4, PP_NONE) = FV(VEC, SSE, 0, VEC_NORMAL | VEC_MMX | VEC_GPR_RM, RW(Pq), R(Ewd), R(Ib)),
	PP(0xc5, PP_NONE) = FV(VEC, SSE, 0, VEC_NORMAL | VEC_MMX | VEC_GPR_REG, W(Gd), R(Nq), R(Ib)),
	PP(0xd6, PP_F3) = MMX_FORM(W(V_(DQ)), R(Nq)), PP(0xd6, PP_F2) = MMX_FORM(W(Pq), R(U_(Q))),
	PP(0xd7, PP_NONE) = FV(VEC, SSE, 0, VEC_NORMAL | VEC_MMX | VEC_GPR_REG, W(Gd), R(Nq)),
	PP(0xe7, PP_NONE) = MMX_FORM(W(Mq), R(Pq)),
	PP(0xf7, PP_NONE) = FV(MASKMOVDQU, SSE, 0, VEC_NORMAL | VEC_MMX, R(Pq), R(Nq)),
	PP(0xf7, PP_66) = FV(MASKMOVDQU, SSE2, 0, VEC_NORMAL, R(V_(DQ)), R(U_(DQ))),
};
