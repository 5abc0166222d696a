/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors: reading them from GDT and LDT, taking them apart, and the two
 * bits the processor writes back (accessed, busy).  SDM 3A 3.4.5, 3.5, 5.8.3,
 * 7.2.  All accesses are implicit supervisor accesses (SDM 3A 4.6.1).
 */
#include "engine/interp/sys.h"

/* Linear address of n bytes at `sel`'s place in its table; false: outside. */
static bool desc_address(const struct vcpu *v, uint16_t sel, unsigned skip, unsigned n, uint64_t *lin)
{
	const struct x86_cpu *c = &v->cpu;
	uint64_t base = c->gdtr.base, limit = c->gdtr.limit;
	uint64_t offset = (sel & 0xfff8u) + skip;

	if (sel & 4) {
		if (c->ldtr.attr & SEG_UNUSABLE)
			return false;
		base = c->ldtr.base;
		limit = c->ldtr.limit;
	}
	*lin = base + offset;
	if (!cpu_long_mode(c))
		*lin = (uint32_t)*lin;
	return offset + n - 1 <= limit;
}

bool desc_read(struct vcpu *v, uint16_t sel, uint64_t *raw)
{
	uint64_t lin;

	if (!desc_address(v, sel, 0, 8, &lin))
		return false;
	*raw = mmu_load(v, lin, 8, MMU_SUPER);
	return true;
}

bool desc_read_upper(struct vcpu *v, uint16_t sel, uint64_t *raw)
{
	uint64_t lin;

	if (!desc_address(v, sel, 8, 8, &lin))
		return false;
	*raw = mmu_load(v, lin, 8, MMU_SUPER);
	return !(*raw >> 40 & 0x1f);     /* SDM 3A figure 5-8: type of the upper half is 0 */
}

struct x86_seg desc_seg(uint16_t sel, uint64_t raw)
{
	uint32_t limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
	struct x86_seg s = {
		.sel = sel,
		.attr = raw >> 40 & 0xf0ff,
		.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
	};

	s.limit = s.attr & SEG_G ? limit << 12 | 0xfff : limit;
	return s;
}

bool desc_system_base(struct vcpu *v, uint16_t sel, struct x86_seg *s)
{
	uint64_t upper;

	if (!cpu_long_mode(&v->cpu))
		return true;
	if (!desc_read_upper(v, sel, &upper))
		return false;
	s->base |= upper << 32;
	return canonical(s->base);
}

/* Set or clear bits of the type byte, atomically where it is plain RAM. */
static void desc_change_type(struct vcpu *v, uint64_t lin, uint8_t set, uint8_t clear)
{
	uint8_t *p = mmu_rmw_pointer(v, lin, 1, MMU_SUPER);

	if (!p) {
		uint64_t type = mmu_load(v, lin, 1, MMU_SUPER);
		mmu_store(v, lin, (type | set) & ~(uint64_t)clear, 1, MMU_SUPER);
	} else if (set) {
		__atomic_fetch_or(p, set, __ATOMIC_SEQ_CST);
	} else {
		__atomic_fetch_and(p, (uint8_t)~clear, __ATOMIC_SEQ_CST);
	}
}

void desc_set_accessed(struct vcpu *v, struct x86_seg *s)
{
	uint64_t lin;

	if ((s->attr & SEG_A) || !(s->attr & SEG_S))
		return;
	if (desc_address(v, s->sel, 5, 1, &lin))
		desc_change_type(v, lin, SEG_A, 0);
	s->attr |= SEG_A;
}

void desc_set_busy(struct vcpu *v, uint16_t sel, bool busy)
{
	uint64_t lin;

	if (desc_address(v, sel, 5, 1, &lin))
		desc_change_type(v, lin, busy ? 2 : 0, busy ? 0 : 2);
}

struct gate gate_decode(uint64_t lo, uint64_t hi, unsigned type)
{
	bool wide = type & 8;            /* 32- and 64-bit gates have offset 31..16 */

	return (struct gate) {
		.sel = lo >> 16,
		.type = type,
		.dpl = lo >> 45 & 3,
		.count = lo >> 32 & 0x1f,
		.present = lo >> 47 & 1,
		.offset = (lo & 0xffff) | (wide ? lo >> 32 & 0xffff0000 : 0) | hi << 32,
	};
}
