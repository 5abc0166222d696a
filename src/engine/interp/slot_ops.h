/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of slots share: going on, addresses, conditions. */
#ifndef ENGINE_INTERP_SLOT_OPS_H
#define ENGINE_INTERP_SLOT_OPS_H

#include "engine/interp/flags.h"
#include "engine/interp/slot.h"

#define NEXT return s[1].fn(v, s + 1)

/* The function for common forms, or NULL. */
slot_fn *slot_data(const struct x86_insn *i);
slot_fn *slot_flow(const struct x86_insn *i);     /* stack and branches of the code's size */

enum addressing { BASE, INDEXED, RELATIVE, ABSOLUTE, ADDRESSINGS };

static always_inline uint64_t slot_address(const struct vcpu *v, const struct islot *s,
					   enum addressing form)
{
	const struct x86_insn *i = &s->insn;
	uint64_t a = (uint64_t)i->disp;
	if (form == RELATIVE)
		a += v->insn_rip + s->offset + i->len;
	if (form == BASE || form == INDEXED)
		a += v->cpu.gpr[i->base];
	if (form == INDEXED)
		a += v->cpu.gpr[i->index] * i->scale;
	return a & s->mask;
}

/* Host address, or NULL: no tag, or it crosses into the next page (whose number
 * cannot be this entry's). */
static always_inline uint8_t *slot_host(const struct vcpu *v, uint64_t lin, unsigned size, bool write)
{
	const struct tlb_entry *e = &v->mmu->data[tlb_index(lin) + (write ? (unsigned)TLB_STORES : 0)];
	if (unlikely((write ? e->write : e->read) != ((lin + size - 1) & ~PAGE_MASK)))
		return NULL;
	return (uint8_t *)(uintptr_t)(lin + (uint64_t)e->addend);
}

static always_inline bool condition(uint64_t f, unsigned cc)
{
	bool less = !(f & FL_SF) != !(f & FL_OF);
	bool r = cc >> 1 == 0 ? !!(f & FL_OF) : cc >> 1 == 1 ? f & FL_CF : cc >> 1 == 2 ? !!(f & FL_ZF) :
		 cc >> 1 == 3 ? !!(f & (FL_CF | FL_ZF)) : cc >> 1 == 4 ? !!(f & FL_SF) :
		 cc >> 1 == 5 ? !!(f & FL_PF) : cc >> 1 == 6 ? less : less || f & FL_ZF;
	return r ^ (cc & 1);
}

#define CONDITIONS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

#endif
