/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one-byte opcode map (SDM 2D table A-2) and its groups. */
#include "x86/decode.h"

/* The six forms of ADD OR ADC SBB AND SUB XOR CMP from opcode `first` on. */
#define ARITHMETIC(first, name, dest) \
	[(first) + 0] = FX(name, FF_BYTE, dest(Eb), R(Gb)), \
	[(first) + 1] = F(name, dest(Ev), R(Gv)), \
	[(first) + 2] = FX(name, FF_BYTE, dest(Gb), R(Eb)), \
	[(first) + 3] = F(name, dest(Gv), R(Ev)), \
	[(first) + 4] = FX(name, FF_BYTE, dest(AL_), R(Ib)), \
	[(first) + 5] = F(name, dest(AX_V), R(Iz))

#define GROUP1(fl, dest, imm) GROUP { \
	FX(ADD, fl, RW(dest), R(imm)), FX(OR, fl, RW(dest), R(imm)), \
	FX(ADC, fl, RW(dest), R(imm)), FX(SBB, fl, RW(dest), R(imm)), \
	FX(AND, fl, RW(dest), R(imm)), FX(SUB, fl, RW(dest), R(imm)), \
	FX(XOR, fl, RW(dest), R(imm)), FX(CMP, fl, R(dest), R(imm)) }

/* /6 is undocumented, but SHL on every processor. */
#define GROUP2(fl, dest, count) GROUP { \
	FX(ROL, fl, RW(dest), R(count)), FX(ROR, fl, RW(dest), R(count)), \
	FX(RCL, fl, RW(dest), R(count)), FX(RCR, fl, RW(dest), R(count)), \
	FX(SHL, fl, RW(dest), R(count)), FX(SHR, fl, RW(dest), R(count)), \
	FX(SHL, fl, RW(dest), R(count)), FX(SAR, fl, RW(dest), R(count)) }

/* /1 is an undocumented alias of TEST. */
#define GROUP3(fl, dest, imm) GROUP { \
	FX(TEST, fl, R(dest), R(imm)), FX(TEST, fl, R(dest), R(imm)), \
	FX(NOT, fl, RW(dest)), FX(NEG, fl, RW(dest)), \
	FX(MUL, fl, R(dest)), FX(IMUL1, fl, R(dest)), \
	FX(DIV, fl, R(dest)), FX(IDIV, fl, R(dest)) }

static const struct x86_form group4[8] = {
	FX(INC, FF_BYTE, RW(Eb)), FX(DEC, FF_BYTE, RW(Eb)),
};
static const struct x86_form group5[8] = {
	F(INC, RW(Ev)), F(DEC, RW(Ev)),
	FX(CALL_IND, FF_F64, R(Ev)), F(CALL_FAR, R(Mp)),
	FX(JMP_IND, FF_F64, R(Ev)), F(JMP_FAR, R(Mp)),
	FX(PUSH, FF_D64, R(Ev)),
};
static const struct x86_form pop_ev[8] = { FX(POP, FF_D64, W(Ev)) };
static const struct x86_form mov_eb_ib[8] = { FX(MOV, FF_BYTE, W(Eb), R(Ib)) };
static const struct x86_form mov_ev_iz[8] = { F(MOV, W(Ev), R(Iz)) };
static const struct x86_form nop_xchg_pause[3] = {
	F(NOP), F(XCHG, RW(Zv), RW(AX_V)), F(PAUSE),
};
static const struct x86_form arpl_movsxd[2] = {
	FX(ARPL, FF_PROT, RW(Ew), R(Gw)), F(MOVSX, W(Gv), R(Ez)),
};

const struct x86_form x86_forms_one[256] = {
	ARITHMETIC(0x00, ADD, RW), ARITHMETIC(0x08, OR, RW),
	ARITHMETIC(0x10, ADC, RW), ARITHMETIC(0x18, SBB, RW),
	ARITHMETIC(0x20, AND, RW), ARITHMETIC(0x28, SUB, RW),
	ARITHMETIC(0x30, XOR, RW), ARITHMETIC(0x38, CMP, R),
	[0x06] = FX(PUSH_SREG, FF_I64, R(FSREG)), [0x07] = FX(POP_SREG, FF_I64, W(FSREG)),
	[0x0e] = FX(PUSH_SREG, FF_I64, R(FSREG)),
	[0x16] = FX(PUSH_SREG, FF_I64, R(FSREG)), [0x17] = FX(POP_SREG, FF_I64, W(FSREG)),
	[0x1e] = FX(PUSH_SREG, FF_I64, R(FSREG)), [0x1f] = FX(POP_SREG, FF_I64, W(FSREG)),
	[0x27] = FX(DAA, FF_I64), [0x2f] = FX(DAS, FF_I64),
	[0x37] = FX(AAA, FF_I64), [0x3f] = FX(AAS, FF_I64),
	[0x40 ... 0x47] = FX(INC, FF_I64, RW(Zv)),
	[0x48 ... 0x4f] = FX(DEC, FF_I64, RW(Zv)),
	[0x50 ... 0x57] = FX(PUSH, FF_D64, R(Zv)),
	[0x58 ... 0x5f] = FX(POP, FF_D64, W(Zv)),
	[0x60] = FX(PUSHA, FF_I64), [0x61] = FX(POPA, FF_I64),
	[0x62] = FX(BOUND, FF_I64, R(Gv), R(Ma)),
	[0x63] = SELECT(C64, arpl_movsxd),
	[0x68] = FX(PUSH, FF_D64, R(Iz)),
	[0x69] = F(IMUL2, W(Gv), R(Ev), R(Iz)),
	[0x6a] = FX(PUSH, FF_D64, R(sIb)),
	[0x6b] = F(IMUL2, W(Gv), R(Ev), R(sIb)),
	[0x6c] = FX(INS, FF_BYTE), [0x6d] = FX(INS, FF_MAX4),
	[0x6e] = FX(OUTS, FF_BYTE), [0x6f] = FX(OUTS, FF_MAX4),
	[0x70 ... 0x7f] = FX(JCC, FF_F64, R(Jb)),
	[0x80] = SELECT(REG, (GROUP1(FF_BYTE, Eb, Ib))),
	[0x81] = SELECT(REG, (GROUP1(0, Ev, Iz))),
	[0x82] = SELECT(REG, (GROUP1(FF_BYTE | FF_I64, Eb, Ib))),
	[0x83] = SELECT(REG, (GROUP1(0, Ev, sIb))),
	[0x84] = FX(TEST, FF_BYTE, R(Eb), R(Gb)), [0x85] = F(TEST, R(Ev), R(Gv)),
	[0x86] = FX(XCHG, FF_BYTE, RW(Eb), RW(Gb)), [0x87] = F(XCHG, RW(Ev), RW(Gv)),
	[0x88] = FX(MOV, FF_BYTE, W(Eb), R(Gb)), [0x89] = F(MOV, W(Ev), R(Gv)),
	[0x8a] = FX(MOV, FF_BYTE, W(Gb), R(Eb)), [0x8b] = F(MOV, W(Gv), R(Ev)),
	[0x8c] = F(MOV_SREG_STORE, W(Ewv), R(Sw)),
	[0x8d] = F(LEA, W(Gv), M),
	[0x8e] = F(MOV_SREG_LOAD, W(Sw), R(Ew)),
	[0x8f] = SELECT(REG, pop_ev),
	[0x90] = SELECT(NOP, nop_xchg_pause),
	[0x91 ... 0x97] = F(XCHG, RW(Zv), RW(AX_V)),
	[0x98] = F(CBW), [0x99] = F(CWD),
	[0x9a] = FX(CALL_FAR, FF_I64, R(Ap)),
	[0x9b] = F(FWAIT),
	[0x9c] = FX(PUSHF, FF_D64), [0x9d] = FX(POPF, FF_D64),
	[0x9e] = SELECT(C64, ((const struct x86_form[2]) { F(SAHF), FT(SAHF, LAHF_LM, 0) })),
	[0x9f] = SELECT(C64, ((const struct x86_form[2]) { F(LAHF), FT(LAHF, LAHF_LM, 0) })),
	[0xa0] = FX(MOV, FF_BYTE, W(AL_), R(Ob)), [0xa1] = F(MOV, W(AX_V), R(Ov)),
	[0xa2] = FX(MOV, FF_BYTE, W(Ob), R(AL_)), [0xa3] = F(MOV, W(Ov), R(AX_V)),
	[0xa4] = FX(MOVS, FF_BYTE), [0xa5] = F(MOVS),
	[0xa6] = FX(CMPS, FF_BYTE), [0xa7] = F(CMPS),
	[0xa8] = FX(TEST, FF_BYTE, R(AL_), R(Ib)), [0xa9] = F(TEST, R(AX_V), R(Iz)),
	[0xaa] = FX(STOS, FF_BYTE), [0xab] = F(STOS),
	[0xac] = FX(LODS, FF_BYTE), [0xad] = F(LODS),
	[0xae] = FX(SCAS, FF_BYTE), [0xaf] = F(SCAS),
	[0xb0 ... 0xb7] = FX(MOV, FF_BYTE, W(Zb), R(Ib)),
	[0xb8 ... 0xbf] = F(MOV, W(Zv), R(Iv)),
	[0xc0] = SELECT(REG, (GROUP2(FF_BYTE, Eb, Ib))),
	[0xc1] = SELECT(REG, (GROUP2(0, Ev, Ib))),
	[0xc2] = FX(RET, FF_F64, R(Iw)), [0xc3] = FX(RET, FF_F64),
	[0xc4] = FX(LES, FF_I64, W(Gv), R(Mp)), [0xc5] = FX(LDS, FF_I64, W(Gv), R(Mp)),
	[0xc6] = SELECT(REG, mov_eb_ib), [0xc7] = SELECT(REG, mov_ev_iz),
	[0xc8] = FX(ENTER, FF_D64, R(Iw), R(Ib)), [0xc9] = FX(LEAVE, FF_D64),
	[0xca] = F(RET_FAR, R(Iw)), [0xcb] = F(RET_FAR),
	[0xcc] = F(INT3), [0xcd] = F(INT, R(Ib)), [0xce] = FX(INTO, FF_I64), [0xcf] = F(IRET),
	[0xd0] = SELECT(REG, (GROUP2(FF_BYTE, Eb, I1))),
	[0xd1] = SELECT(REG, (GROUP2(0, Ev, I1))),
	[0xd2] = SELECT(REG, (GROUP2(FF_BYTE, Eb, CL_))),
	[0xd3] = SELECT(REG, (GROUP2(0, Ev, CL_))),
	[0xd4] = FX(AAM, FF_I64, R(Ib)), [0xd5] = FX(AAD, FF_I64, R(Ib)),
	[0xd6] = FX(SALC, FF_I64), [0xd7] = FX(XLAT, FF_BYTE),
	[0xd8 ... 0xdf] = { .select = SEL_X87 },
	[0xe0] = FX(LOOPNE, FF_F64, R(Jb)), [0xe1] = FX(LOOPE, FF_F64, R(Jb)),
	[0xe2] = FX(LOOP, FF_F64, R(Jb)), [0xe3] = FX(JCXZ, FF_F64, R(Jb)),
	[0xe4] = FX(IN, FF_BYTE, W(AL_), R(Ib)), [0xe5] = FX(IN, FF_MAX4, W(AX_Z), R(Ib)),
	[0xe6] = FX(OUT, FF_BYTE, R(Ib), R(AL_)), [0xe7] = FX(OUT, FF_MAX4, R(Ib), R(AX_Z)),
	[0xe8] = FX(CALL, FF_F64, R(Jz)), [0xe9] = FX(JMP, FF_F64, R(Jz)),
	[0xea] = FX(JMP_FAR, FF_I64, R(Ap)), [0xeb] = FX(JMP, FF_F64, R(Jb)),
	[0xec] = FX(IN, FF_BYTE, W(AL_), R(DX_)), [0xed] = FX(IN, FF_MAX4, W(AX_Z), R(DX_)),
	[0xee] = FX(OUT, FF_BYTE, R(DX_), R(AL_)), [0xef] = FX(OUT, FF_MAX4, R(DX_), R(AX_Z)),
	[0xf1] = F(INT1), [0xf4] = F(HLT), [0xf5] = F(CMC),
	[0xf6] = SELECT(REG, (GROUP3(FF_BYTE, Eb, Ib))),
	[0xf7] = SELECT(REG, (GROUP3(0, Ev, Iz))),
	[0xf8] = F(CLC), [0xf9] = F(STC), [0xfa] = F(CLI), [0xfb] = F(STI),
	[0xfc] = F(CLD), [0xfd] = F(STD),
	[0xfe] = SELECT(REG, group4), [0xff] = SELECT(REG, group5),
};
