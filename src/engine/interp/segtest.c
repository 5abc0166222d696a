/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at descriptors without loading them: LAR LSL VERR VERW ARPL (SDM
 * 2A/2B; SDM 3A 5.10).  They answer in ZF and never fault on what they find.
 */
#include "engine/interp/ops.h"
#include "engine/interp/sys.h"

static void set_zf(struct vcpu *v, bool on)
{
	v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)FL_ZF) | (on ? FL_ZF : 0);
}

static void require_protected(struct vcpu *v)
{
	if (cpu_real_mode(&v->cpu) || cpu_vm86(&v->cpu))
		raise_ud(v);
}

/* Descriptor of `sel`, if there is one that this privilege may see. */
static bool visible(struct vcpu *v, uint16_t sel, struct x86_seg *s, uint64_t *raw)
{
	if (sel_null(sel) || !desc_read(v, sel, raw))
		return false;
	*s = desc_seg(sel, *raw);
	if (seg_is_conforming(s))
		return true;
	return v->cpu.cpl <= seg_dpl(s) && sel_rpl(sel) <= seg_dpl(s);
}

/* System types LAR and LSL know, a bit each (tables 3-55 and 3-58 of SDM 2A). */
enum { LAR_LEGACY = 0x1a3e, LAR_LONG = 0x1a04, LSL_LEGACY = 0x0a0e, LSL_LONG = 0x0a04 };

static bool known_type(const struct vcpu *v, const struct x86_seg *s, unsigned legacy, unsigned lng)
{
	unsigned types = cpu_long_mode(&v->cpu) ? lng : legacy;

	return (s->attr & SEG_S) || (types >> (s->attr & SEG_TYPE) & 1);
}

void op_LAR(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_seg s;
	uint64_t raw;
	bool ok;

	require_protected(v);
	ok = visible(v, op_get(v, i, 1), &s, &raw) && known_type(v, &s, LAR_LEGACY, LAR_LONG);
	if (ok)
		op_set(v, i, 0, raw >> 32 & 0x00f0ff00);
	set_zf(v, ok);
}

void op_LSL(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_seg s;
	uint64_t raw;
	bool ok;

	require_protected(v);
	ok = visible(v, op_get(v, i, 1), &s, &raw) && known_type(v, &s, LSL_LEGACY, LSL_LONG);
	if (ok)
		op_set(v, i, 0, s.limit);
	set_zf(v, ok);
}

void op_VERR(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_seg s;
	uint64_t raw;

	require_protected(v);
	set_zf(v, visible(v, op_get(v, i, 0), &s, &raw) && seg_is_readable(&s));
}

void op_VERW(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_seg s;
	uint64_t raw;

	require_protected(v);
	set_zf(v, visible(v, op_get(v, i, 0), &s, &raw) && seg_is_writable(&s));
}

void op_ARPL(struct vcpu *v, const struct x86_insn *i)
{
	uint16_t dst, src;

	require_protected(v);
	dst = op_get(v, i, 0);
	src = op_get(v, i, 1);
	if (sel_rpl(dst) < sel_rpl(src))
		op_set(v, i, 0, (dst & ~3u) | sel_rpl(src));
	set_zf(v, sel_rpl(dst) < sel_rpl(src));
}
