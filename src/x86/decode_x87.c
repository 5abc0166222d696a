/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x87 escapes D8..DF (SDM 2D tables ).  Only the memory operand
 * is listed: which stack registers take part follows from the ModRM byte, and
 * the engines run the host's own instruction.
 */
#include "x86/decode.h"

#define MEM4(access) F(X87, access(Md))
#define MEM8(access) F(X87, access(Mq))
#define MEM2(access) F(X87, access(Mw))
#define ARITH(m) { m, m, m, m, m, m, m, m }
#define INVALID { 0 }

static const struct x86_form memory[8][8] = {
	ARITH(MEM4(R)),
	{ MEM4(R), INVALID, MEM4(W), MEM4(W),
	  F(X87_ENV, R(Menv)), MEM2(R), F(X87_ENV, W(Menv)), MEM2(W) },
	ARITH(MEM4(R)),
	{ MEM4(R), MEM4(W), MEM4(W), MEM4(W), INVALID, F(X87, R(Mt)), INVALID, F(X87, W(Mt)) },
	ARITH(MEM8(R)),
	{ MEM8(R), MEM8(W), MEM8(W), MEM8(W),
	  F(X87_ENV, R(Msave)), INVALID, F(X87_ENV, W(Msave)), MEM2(W) },
	ARITH(MEM2(R)),
	{ MEM2(R), MEM2(W), MEM2(W), MEM2(W),
	  F(X87, R(Mt)) /* FBLD */, MEM8(R), F(X87, W(Mt)) /* FBSTP */, MEM8(W) },
};

static const struct x86_form reg_plain = F(X87), reg_none = { 0 };
static const struct x86_form reg_cmov = FT(X87_CMOV, CMOV, 0), reg_flags = FT(X87_FLAGS, CMOV, 0);
static const struct x86_form reg_fnstsw = F(FNSTSW_AX);

/* Valid register forms: one bit an rm for each [escape][reg].  Undocumented
 * aliases that every processor runs (DC D0, DD C8, DE D0, DF C0...) are in. */
static const uint8_t valid[8][8] = {
	{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	{ 0xff, 0xff, 0x01, 0xff, 0x33, 0x7f, 0xff, 0xff },
	{ 0xff, 0xff, 0xff, 0xff, 0x00, 0x02, 0x00, 0x00 },
	{ 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	{ 0xff, 0xff, 0xff, 0x02, 0xff, 0xff, 0xff, 0xff },
	{ 0xff, 0xff, 0xff, 0xff, 0x01, 0xff, 0xff, 0x00 },
};

const struct x86_form *x86_form_x87(uint8_t opcode, uint8_t modrm)
{
	unsigned esc = opcode & 7, reg = modrm >> 3 & 7, rm = modrm & 7;

	if (modrm < 0xc0)
		return &memory[esc][reg];
	if (!(valid[esc][reg] >> rm & 1))
		return &reg_none;
	if ((esc == 2 || esc == 3) && reg < 4)
		return &reg_cmov;
	if ((esc == 3 || esc == 7) && (reg == 5 || reg == 6))
		return &reg_flags;
	return esc == 7 && reg == 4 ? &reg_fnstsw : &reg_plain;
}
