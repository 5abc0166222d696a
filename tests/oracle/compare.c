/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must be equal after a case; undefined flags. */
#include "oracle/oracle.h"
#include "memory/memory.h"
#include <stdio.h>

static unsigned shift_count(const struct x86_insn *i, const struct native_state *in)
{
	unsigned count = i->o[i->nops - 1].kind == OPK_IMM ? i->imm : in->gpr[RCX];

	return count & (i->opsize == 8 ? 63 : 31);
}

/*
 * Status flags that the SDM leaves undefined.  In the first instruction of a case
 * a shift count is known; later ones count as anything.
 */
uint32_t flags_undefined(const struct x86_insn *i, const struct native_state *in, unsigned steps)
{
	unsigned count;

	switch (i->op) {
	case OP_AND: case OP_OR: case OP_XOR: case OP_TEST: return FL_AF;
	case OP_MUL: case OP_IMUL1: case OP_IMUL2: return FL_SF | FL_ZF | FL_AF | FL_PF;
	case OP_DIV: case OP_IDIV: return FL_STATUS;
	case OP_SHL: case OP_SHR: case OP_SAR: case OP_SHLD: case OP_SHRD:
		count = steps ? 99 : shift_count(i, in);
		if (count == 0)
			return 0;
		return FL_AF | (count > 1 ? FL_OF : 0) | (count > i->opsize * 8 ? FL_STATUS : 0) |
		       (count == i->opsize * 8u ? FL_CF : 0);
	case OP_ROL: case OP_ROR: case OP_RCL: case OP_RCR:
		return (steps ? 99 : shift_count(i, in)) > 1 ? FL_OF : 0;
	case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC: return FL_OF | FL_SF | FL_AF | FL_PF;
	case OP_BSF: case OP_BSR: return FL_CF | FL_OF | FL_SF | FL_AF | FL_PF;
	case OP_TZCNT: case OP_LZCNT: return FL_OF | FL_SF | FL_AF | FL_PF;
	case OP_ANDN: return FL_AF | FL_PF;
	case OP_BLSI: case OP_BLSR: case OP_BZHI: return FL_AF | FL_PF;
	case OP_BLSMSK: return FL_AF | FL_PF;
	case OP_BEXTR: return FL_SF | FL_AF | FL_PF;
	case OP_AAA: case OP_AAS: return FL_OF | FL_SF | FL_ZF | FL_PF;
	case OP_AAM: case OP_AAD: return FL_OF | FL_AF | FL_CF;
	case OP_DAA: case OP_DAS: return FL_OF;
	}
	return 0;
}

/* A result that is undefined: the case proves nothing. */
static bool result_undefined(const struct oracle_case *c)
{
	for (unsigned n = 0; n < c->steps; n++) {
		const struct x86_insn *i = &c->step[n].insn;

		if ((i->op == OP_SHLD || i->op == OP_SHRD) && i->opsize == 2 &&
		    (n > 0 || shift_count(i, &c->in) > 16))
			return true;
		if (i->op == OP_BSWAP && i->opsize == 2)
			return true;
	}
	return false;
}

/* FNSTENV and FNSAVE write the addresses of host code: 6..27 of the image. */
void mask_environment(const struct oracle_case *c, uint8_t *host, uint8_t *guest)
{
	for (unsigned n = 0; n < c->steps; n++) {
		const struct x86_insn *i = &c->step[n].insn;

		if (i->op == OP_X87_ENV && i->o[0].access == OPA_W)
			memcpy(guest, host, DATA_SIZE);
	}
}

/*
 * What a fault leaves behind on this host and no manual promises.  Looked up
 * with the last instruction that ran.
 */
enum { LOOSE_CR2 = 1 /* the page counts */, LOOSE_MEMORY = 2, LOOSE_X87 = 4, LOOSE_FAULT = 8,
       LOOSE_MXCSR = 16 };
static const struct { uint16_t op; uint8_t what; const char *reason; } on_fault[] = {
	{ OP_X87, LOOSE_CR2 | LOOSE_MEMORY, "10-byte stores over a page boundary happen in parts" },
	{ OP_X87_ENV, LOOSE_CR2 | LOOSE_MEMORY, "so do images" },
	{ OP_X87, LOOSE_FAULT, "FIST with an unmasked exception does not reach its memory" },
	{ OP_VEC_MASKMOV, LOOSE_CR2, "an element over a page boundary: its last byte" },
	{ OP_VEC, LOOSE_MXCSR, "VCVTPS2PH has its flags set before the store" },
	{ OP_MOVBE, LOOSE_CR2 | LOOSE_MEMORY, "with 66 and REX.W, byte by byte" },
	{ OP_VEC, LOOSE_X87, "MMX: TOP is cleared before the memory is reached" },
};

bool movbe_in_parts(const struct x86_insn *i)
{
	return i->op == OP_MOVBE && i->opsize == 8 && i->prefix & PFX_66;
}

static unsigned loose(const struct oracle_case *c, const struct native_state *s)
{
	const struct x86_insn *i = &c->step[0].insn;
	unsigned what = 0;

	for (unsigned n = 0; n < c->steps && c->step[n].at <= s->rip; n++)
		i = &c->step[n].insn;
	for (unsigned n = 0; n < ARRAY_SIZE(on_fault) && s->signal; n++)
		if (on_fault[n].op == i->op && (i->op != OP_MOVBE || movbe_in_parts(i)))
			what |= on_fault[n].what;
	return what;
}

#define DIFFER(...) return snprintf(text, size, __VA_ARGS__), false

/*
 * Two faults of one instruction, of which the manuals rank neither first: an
 * operand both misaligned and at a non-canonical stack address; VCVTPS2PH with
 * an unmasked exception to memory that faults.
 */
static bool either_fault(const struct native_state *h, const struct native_state *g)
{
	if (!h->signal || !g->signal || h->rip != g->rip)
		return false;
	return (h->trap == EXC_GP && g->trap == EXC_SS) ||
	       (h->trap == EXC_XM && (g->trap == EXC_PF || g->trap == EXC_GP || g->trap == EXC_SS));
}

/* A shift or rotate by a constant that is not 0 writes flags always. */
static bool constant_shift(const struct x86_insn *i)
{
	return i->op >= OP_ROL && i->op <= OP_SHRD && i->o[i->nops - 1].kind == OPK_IMM &&
	       i->imm & (i->opsize == 8 ? 63 : 31);
}

/* Flags that an instruction reads, exactly: by condition, by a constant count. */
static uint32_t flags_read(const struct x86_insn *i)
{
	static const uint32_t by_condition[8] = {
		FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF, FL_ZF | FL_SF | FL_OF,
	};

	if (i->op == OP_JCC || i->op == OP_SETCC || i->op == OP_CMOVCC)
		return by_condition[i->cond >> 1];
	if (i->op >= OP_ROL && i->op <= OP_SHRD)        /* by 0: neither read nor written */
		return i->op == OP_RCL || i->op == OP_RCR ? FL_CF : 0;
	return x86_op_info[i->op].flags_read;
}

/*
 * The translator leaves out status flags that the code behind a fault would
 * overwrite before anyone reads them; restarted, the code ends the same.
 */
static uint32_t flags_live_at(const struct oracle_case *c, uint64_t rip)
{
	uint32_t live = 0, overwritten = 0;

	if (rip >= c->n)        /* a branch cut to 16 bits went elsewhere */
		return 0;
	for (unsigned n = 0; n < c->steps; n++) {
		const struct x86_insn *i = &c->step[n].insn;
		const struct x86_op_info *info = &x86_op_info[i->op];

		if (c->step[n].at < rip)
			continue;
		live |= flags_read(i) & ~overwritten;
		if (!(info->props & OPP_CONDFLAGS) || constant_shift(i))
			overwritten |= info->flags_written;
	}
	return live | ~overwritten;
}

static bool registers_equal(const struct oracle_case *c, const struct native_state *h,
			    const struct native_state *g, char *text, size_t size)
{
	static const char names[16][4] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	uint32_t flags = (FL_STATUS | FL_DF) & ~c->undefined_flags;

	if (either_fault(h, g))
		return true;
	if (h->signal ? !g->signal || h->trap != g->trap : g->signal != 0)
		DIFFER("exception: host %d, engine %d (-1: none)", h->signal ? (int)h->trap : -1,
		       g->signal ? (int)g->trap : -1);
	if (h->rip != g->rip)
		DIFFER("rip: host +%lx, engine +%lx", h->rip, g->rip);
	if (h->signal && h->trap == EXC_PF && h->fault_address != g->fault_address &&
	    (!(loose(c, h) & LOOSE_CR2) || (h->fault_address ^ g->fault_address) > PAGE_MASK))
		DIFFER("cr2: host %lx, engine %lx", h->fault_address, g->fault_address);
	for (unsigned n = 0; n < (c->mode == 8 ? 16 : 8); n++) {
		uint64_t mask = c->mode == 8 ? ~0ull : 0xffffffff;

		if ((h->gpr[n] & mask) != (g->gpr[n] & mask))
			DIFFER("%s: host %lx, engine %lx", names[n], h->gpr[n], g->gpr[n]);
	}
	if (h->signal)          /* what comes before the fault counts */
		flags = (FL_STATUS | FL_DF) & ~(c->steps == 1 ? 0 : c->undefined_once);
	if (h->signal && c->lazy_flags && c->steps > 1)
		flags &= flags_live_at(c, h->rip);
	if ((h->rflags ^ g->rflags) & flags)
		DIFFER("flags: host %lx, engine %lx", h->rflags & flags, g->rflags & flags);
	return true;
}

static bool vectors_equal(const struct x86_xsave *h, const struct x86_xsave *g, bool any_mxcsr,
			  char *text, size_t size)
{
	if (h->mxcsr != g->mxcsr && !any_mxcsr)
		DIFFER("mxcsr: host %x, engine %x", h->mxcsr, g->mxcsr);
	for (unsigned n = 0; n < 16; n++)
		if (memcmp(h->xmm[n], g->xmm[n], 16) || memcmp(h->ymmh[n], g->ymmh[n], 16))
			DIFFER("ymm%u: host %016lx %016lx %016lx %016lx, engine %016lx %016lx %016lx %016lx", n,
			       le64_get(h->ymmh[n] + 8), le64_get(h->ymmh[n]),
			       le64_get(h->xmm[n] + 8), le64_get(h->xmm[n]),
			       le64_get(g->ymmh[n] + 8), le64_get(g->ymmh[n]),
			       le64_get(g->xmm[n] + 8), le64_get(g->xmm[n]));
	return true;
}

static bool x87_equal(const struct x86_xsave *h, const struct x86_xsave *g, char *text, size_t size)
{
	if (h->fcw != g->fcw || h->fsw != g->fsw || h->ftw != g->ftw)
		DIFFER("x87: host cw %x sw %x tw %x, engine cw %x sw %x tw %x", h->fcw, h->fsw, h->ftw,
		       g->fcw, g->fsw, g->ftw);
	for (unsigned n = 0; n < 8; n++)
		if (memcmp(h->st[n], g->st[n], 10))
			DIFFER("st%u: host %04x %016lx, engine %04x %016lx", n, le16_get(h->st[n] + 8),
			       le64_get(h->st[n]), le16_get(g->st[n] + 8), le64_get(g->st[n]));
	return true;
}

static bool data_equal(const uint8_t *h, const uint8_t *g, char *text, size_t size)
{
	unsigned n = 0;

	if (memcmp(h, g, DATA_SIZE) == 0)
		return true;
	while (h[n] == g[n])
		n++;
	DIFFER("memory %llx: host %016lx, engine %016lx", DATA_BASE + n, le64_get(h + (n & ~7u)),
	       le64_get(g + (n & ~7u)));
}

bool outcomes_equal(const struct oracle_case *c, const struct outcome *host, const struct outcome *guest,
		    char *text, size_t size)
{
	const struct native_state *h = &host->state, *g = &guest->state;

	if (result_undefined(c))
		return true;
	if (g->signal && (!h->signal || h->rip != g->rip) && loose(c, g) & LOOSE_FAULT)
		return true;
	if (!registers_equal(c, h, g, text, size) || 
	    !vectors_equal(&h->xsave, &g->xsave, loose(c, h) & LOOSE_MXCSR, text, size) ||
	    (!(loose(c, h) & LOOSE_X87) && !x87_equal(&h->xsave, &g->xsave, text, size)))
		return false;
	return loose(c, h) & LOOSE_MEMORY || data_equal(host->data, guest->data, text, size);
}
