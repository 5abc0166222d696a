/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flags by the host's own instructions: exact, the undefined ones too.  LAHF and
 * SETO move them out of the processor, ADD and SAHF in: a fraction of the cost
 * of PUSHF and POPF.
 */
#ifndef ENGINE_INTERP_FLAGS_H
#define ENGINE_INTERP_FLAGS_H

#include "engine/interp/operand.h"

/* Around an instruction in asm that leaves rAX alone. */
#define FLAGS_OUT "lahf\n\tseto %%al"
#define FLAGS_IN "addb $0x7f, %%al\n\tsahf\n\t"

static always_inline uint64_t flags_from_ax(uint32_t ax)
{
	return (ax >> 8 & 0xd5) | (uint64_t)(ax & 1) << 11;
}
static always_inline uint32_t flags_to_ax(uint64_t flags)
{
	return (uint32_t)((flags & 0xd5) << 8 | (flags >> 11 & 1));
}

/* a = a OP b; flags out only. */
#define FLAGS_BINARY(type, insn, a, b, flags) ({ \
	type a_ = (type)(a); uint32_t ax_; \
	asm(insn " %2, %1\n\t" FLAGS_OUT : "=&a"(ax_), "+r"(a_) : "r"((type)(b)) : "cc"); \
	*(flags) = flags_from_ax(ax_); (uint64_t)a_; })
/* The same with all flags in. */
#define FLAGS_BINARY_IN(type, insn, a, b, flags) ({ \
	type a_ = (type)(a); uint32_t ax_ = flags_to_ax(*(flags)); \
	asm(FLAGS_IN insn " %2, %1\n\t" FLAGS_OUT : "+&a"(ax_), "+r"(a_) : "r"((type)(b)) : "cc"); \
	*(flags) = flags_from_ax(ax_); (uint64_t)a_; })
/* a = OP a. */
#define FLAGS_UNARY(type, insn, a, flags) ({ \
	type a_ = (type)(a); uint32_t ax_ = flags_to_ax(*(flags)); \
	asm(FLAGS_IN insn " %1\n\t" FLAGS_OUT : "+&a"(ax_), "+r"(a_) : : "cc"); \
	*(flags) = flags_from_ax(ax_); (uint64_t)a_; })
/* a = a OP cl. */
#define FLAGS_SHIFT(type, insn, a, n, flags) ({ \
	type a_ = (type)(a); uint32_t ax_ = flags_to_ax(*(flags)); \
	asm(FLAGS_IN insn " %%cl, %1\n\t" FLAGS_OUT \
	    : "+&a"(ax_), "+r"(a_) : "c"((uint8_t)(n)) : "cc"); \
	*(flags) = flags_from_ax(ax_); (uint64_t)a_; })
/* The same where the count is not zero and no flag goes in. */
#define FLAGS_SHIFT_OUT(type, insn, a, n, flags) ({ \
	type a_ = (type)(a); uint32_t ax_; \
	asm(insn " %%cl, %1\n\t" FLAGS_OUT : "=&a"(ax_), "+r"(a_) : "c"((uint8_t)(n)) : "cc"); \
	*(flags) = flags_from_ax(ax_); (uint64_t)a_; })
/* a = a:b OP cl. */
#define FLAGS_DOUBLE(type, insn, a, b, n, flags) ({ \
	type a_ = (type)(a); uint32_t ax_ = flags_to_ax(*(flags)); \
	asm(FLAGS_IN insn " %%cl, %3, %1\n\t" FLAGS_OUT \
	    : "+&a"(ax_), "+r"(a_) : "c"((uint8_t)(n)), "r"((type)(b)) : "cc"); \
	*(flags) = flags_from_ax(ax_); (uint64_t)a_; })

/* One function over the four operand sizes. */
#define BY_SIZE(size, macro, insn, ...) \
	((size) == 8 ? macro(uint64_t, insn "q", __VA_ARGS__) : \
	 (size) == 4 ? macro(uint32_t, insn "l", __VA_ARGS__) : \
	 (size) == 2 ? macro(uint16_t, insn "w", __VA_ARGS__) : \
		       macro(uint8_t, insn "b", __VA_ARGS__))
#define BY_SIZE_NOT_BYTE(size, macro, insn, ...) \
	((size) == 8 ? macro(uint64_t, insn "q", __VA_ARGS__) : \
	 (size) == 4 ? macro(uint32_t, insn "l", __VA_ARGS__) : \
		       macro(uint16_t, insn "w", __VA_ARGS__))

#endif
