/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shapes of vector instructions.  A row V(opcode, pp, op, feature, flags, kind)
 * of the decode_vec_*.def tables stands for two encodings: the legacy SSE one,
 * whose first operand is also a source, and the VEX one, which has that source
 * apart.  K_ is the legacy operand list, X_ the VEX one, F_ the vform.
 *
 * Names: P packed (whole vectors), D and Q scalars of 4 and 8 bytes; 3 means
 * destination, source, source in VEX; I an immediate; S a store; G and E a
 * general register in ModRM.reg and ModRM.rm.
 */
#ifndef X86_DECODE_KINDS_H
#define X86_DECODE_KINDS_H

#include "x86/decode.h"

#define FV(name, feat, fl, shape, ...) \
	{ .op = OP_##name, .flags = (fl), .feature = FEAT_##feat, .vform = (shape), \
	  .o = { __VA_ARGS__ } }

#define K_P3 RW(V_(X)), R(W_(X))
#define X_P3 W(V_(X)), R(H_(X)), R(W_(X))
#define F_P3 VEC_NORMAL
#define K_P3I K_P3, R(Ib)
#define X_P3I X_P3, R(Ib)
#define F_P3I VEC_NORMAL
#define K_P2 W(V_(X)), R(W_(X))
#define X_P2 K_P2
#define F_P2 VEC_NORMAL
#define K_P2I W(V_(X)), R(W_(X)), R(Ib)
#define X_P2I K_P2I
#define F_P2I VEC_NORMAL
#define K_P2S W(W_(X)), R(V_(X))
#define X_P2S K_P2S
#define F_P2S VEC_NORMAL
#define K_PM W(V_(X)), R(Mx)
#define X_PM K_PM
#define F_PM VEC_NORMAL
#define K_PMS W(Mx), R(V_(X))
#define X_PMS K_PMS
#define F_PMS VEC_NORMAL
/* Shift counts: always 16 bytes. */
#define K_SHIFT RW(V_(X)), R(W_(DQ))
#define X_SHIFT W(V_(X)), R(H_(X)), R(W_(DQ))
#define F_SHIFT VEC_NORMAL
#define K_D3 RW(V_(DQ)), R(W_(D))
#define X_D3 W(V_(DQ)), R(H_(DQ)), R(W_(D))
#define F_D3 VEC_NORMAL
#define K_Q3 RW(V_(DQ)), R(W_(Q))
#define X_Q3 W(V_(DQ)), R(H_(DQ)), R(W_(Q))
#define F_Q3 VEC_NORMAL
#define K_D3I K_D3, R(Ib)
#define X_D3I X_D3, R(Ib)
#define F_D3I VEC_NORMAL
#define K_Q3I K_Q3, R(Ib)
#define X_Q3I X_Q3, R(Ib)
#define F_Q3I VEC_NORMAL
/* Compares into EFLAGS. */
#define K_DCMP R(V_(DQ)), R(W_(D))
#define X_DCMP K_DCMP
#define F_DCMP VEC_NORMAL
#define K_QCMP R(V_(DQ)), R(W_(Q))
#define X_QCMP K_QCMP
#define F_QCMP VEC_NORMAL
#define K_PCMP R(V_(X)), R(W_(X))
#define X_PCMP K_PCMP
#define F_PCMP VEC_NORMAL
/* A source narrower than the destination, and the other way round. */
#define K_HALF W(V_(X)), R(W_(XH))
#define X_HALF K_HALF
#define F_HALF VEC_NORMAL
#define K_QUARTER W(V_(X)), R(W_(XQ))
#define X_QUARTER K_QUARTER
#define F_QUARTER VEC_NORMAL
#define K_EIGHTH W(V_(X)), R(W_(XE))
#define X_EIGHTH K_EIGHTH
#define F_EIGHTH VEC_NORMAL
#define K_NARROW W(V_(DQ)), R(W_(X))
#define X_NARROW K_NARROW
#define F_NARROW VEC_NORMAL
/* 8 bytes, the rest of the register zeroed; 8 bytes of memory into a half. */
#define K_Q2 W(V_(DQ)), R(W_(Q))
#define X_Q2 K_Q2
#define F_Q2 VEC_NORMAL
#define K_Q2S W(W_(Q)), R(V_(DQ))
#define X_Q2S K_Q2S
#define F_Q2S VEC_NORMAL
#define K_QM3 RW(V_(DQ)), R(Mq)
#define X_QM3 W(V_(DQ)), R(H_(DQ)), R(Mq)
#define F_QM3 VEC_NORMAL
#define K_QMS W(Mq), R(V_(DQ))
#define X_QMS K_QMS
#define F_QMS VEC_NORMAL
/* General registers. */
#define K_EY3 RW(V_(DQ)), R(Ey)
#define X_EY3 W(V_(DQ)), R(H_(DQ)), R(Ey)
#define F_EY3 (VEC_NORMAL | VEC_GPR_RM)
#define K_EY2 W(V_(DQ)), R(Ey)
#define X_EY2 K_EY2
#define F_EY2 (VEC_NORMAL | VEC_GPR_RM)
#define K_EY2S W(Ey), R(V_(DQ))
#define X_EY2S K_EY2S
#define F_EY2S (VEC_NORMAL | VEC_GPR_RM)
#define K_EY3I K_EY3, R(Ib)
#define X_EY3I X_EY3, R(Ib)
#define F_EY3I (VEC_NORMAL | VEC_GPR_RM)
#define K_EB3I RW(V_(DQ)), R(Ebd), R(Ib)
#define X_EB3I W(V_(DQ)), R(H_(DQ)), R(Ebd), R(Ib)
#define F_EB3I (VEC_NORMAL | VEC_GPR_RM)
#define K_EW3I RW(V_(DQ)), R(Ewd), R(Ib)
#define X_EW3I W(V_(DQ)), R(H_(DQ)), R(Ewd), R(Ib)
#define F_EW3I (VEC_NORMAL | VEC_GPR_RM)
#define K_EYSI W(Ey), R(V_(DQ)), R(Ib)
#define X_EYSI K_EYSI
#define F_EYSI (VEC_NORMAL | VEC_GPR_RM)
#define K_EBSI W(Ebd), R(V_(DQ)), R(Ib)
#define X_EBSI K_EBSI
#define F_EBSI (VEC_NORMAL | VEC_GPR_RM)
#define K_EWSI W(Ewd), R(V_(DQ)), R(Ib)
#define X_EWSI K_EWSI
#define F_EWSI (VEC_NORMAL | VEC_GPR_RM)
#define K_EDSI W(Ed), R(V_(DQ)), R(Ib)
#define X_EDSI K_EDSI
#define F_EDSI (VEC_NORMAL | VEC_GPR_RM)
#define K_GYD W(Gy), R(W_(D))
#define X_GYD K_GYD
#define F_GYD (VEC_NORMAL | VEC_GPR_REG)
#define K_GYQ W(Gy), R(W_(Q))
#define X_GYQ K_GYQ
#define F_GYQ (VEC_NORMAL | VEC_GPR_REG)
#define K_GMASK W(Gd), R(U_(X))
#define X_GMASK K_GMASK
#define F_GMASK (VEC_NORMAL | VEC_GPR_REG)
#define K_GEXTR W(Gd), R(U_(DQ)), R(Ib)
#define X_GEXTR K_GEXTR
#define F_GEXTR (VEC_NORMAL | VEC_GPR_REG)
/* String compares. */
#define K_STR R(V_(DQ)), R(W_(DQ)), R(Ib)
#define X_STR K_STR

/* MMX: M_ is the operand list of a shape in MMX registers. */
#define M_P3 RW(Pq), R(Qq)
#define M_P2 W(Pq), R(Qq)
#define M_SHIFT M_P3
#define MMX_FORM(...) FV(VEC, MMX, 0, VEC_NORMAL | VEC_MMX, __VA_ARGS__)

#endif
