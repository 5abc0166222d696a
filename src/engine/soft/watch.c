/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watched data: DR0..DR3 and a debugger's watchpoints.  Pages with one never get
 * a TLB tag for data, so all accesses to them pass here.
 */
#include "engine/interp/interp.h"
#include "engine/soft/walk.h"

enum { HIT_WRITE = 2, HIT_READ, HIT_ACCESS };

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a - b < blen || b - a < alen;
}

bool watch_page(const struct vcpu *v, uint64_t lin)
{
	for (unsigned i = 0; i < v->debug.count; i++)
		if (v->debug.point[i].kind >= HIT_WRITE &&
		    overlaps(lin & ~PAGE_MASK, PAGE_SIZE, v->debug.point[i].addr,
			     v->debug.point[i].len))
			return true;
	return v->cpu.dr[7] & 0xff && debug_page_watched(v, lin);
}

void watch_access(struct vcpu *v, uint64_t lin, unsigned size, bool write)
{
	for (unsigned i = 0; i < v->debug.count; i++) {
		unsigned kind = v->debug.point[i].kind;
		if (kind < HIT_WRITE || (kind == HIT_WRITE && !write) || (kind == HIT_READ && write) ||
		    !overlaps(lin, size, v->debug.point[i].addr, v->debug.point[i].len))
			continue;
		v->debug.hit = true;
		v->debug.hit_kind = (uint8_t)kind;
		v->debug.hit_addr = v->debug.point[i].addr;
	}
	if (v->cpu.dr[7] & 0xff)
		debug_access(v, lin, size, write);
}
