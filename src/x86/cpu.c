/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Power-on values and the saved record of struct x86_cpu (cpu.h). */
#include "x86/cpu.h"

#include <string.h>

#include "base/state.h"
#include "x86/model.h"

static void reset_segments(struct x86_cpu *c)
{
	for (unsigned i = 0; i < 6; i++)
		c->seg[i] = (struct x86_seg){ .attr = SEG_P | SEG_S | SEG_W | SEG_A, .limit = 0xffff };
	c->seg[CS].sel = 0xf000;
	c->seg[CS].base = 0xffff0000;
	c->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A;
	c->ldtr = (struct x86_seg){ .attr = SEG_P | 2, .limit = 0xffff };
	c->tr = (struct x86_seg){ .attr = SEG_P | 11, .limit = 0xffff };
	c->gdtr = c->idtr = (struct x86_dtr){ .limit = 0xffff };
}

static void reset_fpu(struct x86_xsave *x)
{
	memset(x, 0, sizeof(*x));
	x->fcw = 0x40;
	x->mxcsr = 0x1f80;
	x->mxcsr_mask = 0xffff;
	x->xstate_bv = XFEATURE_X87 | XFEATURE_SSE;
}

/* SDM 3A table 10-1: INIT keeps FPU, MTRRs, TSC and most MSRs. */
void x86_cpu_reset(struct x86_cpu *c, const struct x86_model *model, bool init_only)
{
	struct x86_cpu old = *c;
	if (!init_only) {
		memset(c, 0, sizeof(*c));
		c->lapic = old.lapic;
		reset_fpu(&c->xsave);
		c->xcr0 = XFEATURE_X87;
		c->pat = 0x0007040600070406ull;
		c->misc_enable = 1 | 1u << 11 | 1u << 12;   /* fast strings; no BTS, no PEBS */
		c->mcg_ctl = ~0ull;
		c->kvm_poll = 1;
	}
	memset(c->gpr, 0, sizeof(c->gpr));
	c->gpr[RDX] = 0x600;                               /* family 6 */
	c->rip = 0xfff0;
	c->rflags = FL_1;
	reset_segments(c);
	c->cr0 = CR0_ET | (init_only ? old.cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
	c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
	memset(c->dr, 0, sizeof(c->dr));
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x400;
	c->cpl = c->int_shadow = c->nmi_blocked = 0;
	c->event = (struct x86_event){ 0 };
	c->activity = CPU_RUNNING;
}

static void xfer_seg(struct state *s, struct x86_seg *g)
{
	xfer_u16(s, &g->sel);
	xfer_u32_max(s, &g->attr, 0x1ffff);
	xfer_u32(s, &g->limit);
	xfer_u64(s, &g->base);
}

static void xfer_u64s(struct state *s, uint64_t *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		xfer_u64(s, &v[i]);
}

static void xfer_u32s(struct state *s, uint32_t *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		xfer_u32(s, &v[i]);
}

static void xfer_dtr(struct state *s, struct x86_dtr *d)
{
	xfer_u64(s, &d->base);
	xfer_u16(s, &d->limit);
}

static void xfer_lapic(struct state *s, struct x86_lapic *a)
{
	xfer_u32(s, &a->id);
	xfer_u64(s, &a->base);
	xfer_u32(s, &a->tpr);
	xfer_u32(s, &a->ldr);
	xfer_u32(s, &a->dfr);
	xfer_u32(s, &a->svr);
	xfer_u32(s, &a->esr);
	xfer_u32(s, &a->esr_pending);
	xfer_u32s(s, a->lvt, 7);
	xfer_u32(s, &a->icr_low);
	xfer_u32(s, &a->icr_high);
	xfer_u32s(s, a->isr, 8);
	xfer_u32s(s, a->tmr, 8);
	xfer_u32s(s, (uint32_t *)a->irr, 8);
	xfer_u32(s, &a->timer_initial);
	xfer_u32(s, &a->timer_divide);
	xfer_u64(s, &a->timer_start);
	xfer_u64(s, &a->tsc_deadline);
	xfer_u32s(s, (uint32_t *)&a->pending_nmi, 1);
	xfer_u32s(s, (uint32_t *)&a->pending_init, 1);
	xfer_u32s(s, (uint32_t *)&a->pending_sipi, 1);
}

static void xfer_msrs(struct state *s, struct x86_cpu *c)
{
	uint64_t *const list[] = {
		&c->efer, &c->star, &c->lstar, &c->cstar, &c->sfmask, &c->kernel_gs_base,
		&c->sysenter_cs, &c->sysenter_esp, &c->sysenter_eip, &c->pat, &c->tsc_aux,
		&c->tsc_adjust, &c->misc_enable, &c->spec_ctrl, &c->tsc_offset, &c->mtrr_def,
		&c->kvmclock_system, &c->kvmclock_wall, &c->kvm_async_pf, &c->kvm_steal,
		&c->kvm_eoi, &c->kvm_poll, &c->mcg_status, &c->mcg_ctl, &c->xcr0, &c->xss,
	};
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
		xfer_u64(s, list[i]);
	xfer_u64s(s, c->mtrr_fixed, 11);
	xfer_u64s(s, c->mtrr_base, 8);
	xfer_u64s(s, c->mtrr_mask, 8);
	xfer_u64s(s, &c->mc_bank[0][0], 16);
	xfer_u64s(s, c->pdpte, 4);
}

static void xfer_event(struct state *s, struct x86_event *e)
{
	xfer_u8_max(s, &e->pending, 1);
	xfer_u8_max(s, &e->type, 7);
	xfer_u8(s, &e->vector);
	xfer_u8_max(s, &e->has_error, 1);
	xfer_u32(s, &e->error);
	xfer_u64(s, &e->cr2);
}

static bool canonical(uint64_t a) { return (uint64_t)((int64_t)(a << 16) >> 16) == a; }

/* What would make host XRSTOR fault, or an engine believe the impossible. */
static bool check(const struct x86_cpu *c, struct state *s)
{
	const uint32_t attr_mode = SEG_L | SEG_DB;
	if ((c->cr0 & CR0_PG) && !(c->cr0 & CR0_PE))
		return state_fail(s, "CR0 has paging without protection");
	if ((c->efer & EFER_LMA) && !((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE)))
		return state_fail(s, "EFER.LMA without paging");
	if (c->efer & ~(uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
		return state_fail(s, "EFER has reserved bits");
	if ((c->seg[CS].attr & attr_mode) == attr_mode)
		return state_fail(s, "CS is both 64-bit and 32-bit");
	if (c->cpl > 3 || c->activity > CPU_SHUTDOWN || c->int_shadow > 2)
		return state_fail(s, "CPL, activity or interrupt shadow is out of range");
	if (c->xsave.mxcsr & 0xffff0000u || c->xsave.xcomp_bv || c->xsave.xstate_bv & ~7ull)
		return state_fail(s, "the XSAVE area is invalid");
	if (!(c->xcr0 & XFEATURE_X87) || c->xcr0 & ~7ull)
		return state_fail(s, "XCR0 is invalid");
	const uint64_t bases[] = { c->seg[FS].base, c->seg[GS].base, c->kernel_gs_base, c->lstar,
				   c->gdtr.base, c->idtr.base, c->sysenter_eip, c->sysenter_esp };
	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
		if (!canonical(bases[i]))
			return state_fail(s, "a base address is not canonical");
	return true;
}

bool x86_cpu_xfer(struct x86_cpu *c, struct state *s)
{
	xfer_u64s(s, c->gpr, 16);
	xfer_u64(s, &c->rip);
	xfer_u64_max(s, &c->rflags, 0x3fffff);
	for (unsigned i = 0; i < 6; i++)
		xfer_seg(s, &c->seg[i]);
	xfer_seg(s, &c->ldtr);
	xfer_seg(s, &c->tr);
	xfer_dtr(s, &c->gdtr);
	xfer_dtr(s, &c->idtr);
	xfer_u64(s, &c->cr0);
	xfer_u64(s, &c->cr2);
	xfer_u64(s, &c->cr3);
	xfer_u64(s, &c->cr4);
	xfer_u64s(s, c->dr, 8);
	xfer_msrs(s, c);
	xfer_bytes(s, &c->xsave, sizeof(c->xsave));
	xfer_u8(s, &c->activity);
	xfer_u8(s, &c->int_shadow);
	xfer_u32_max(s, &c->debug_pending, 0xffff);
	xfer_u8_max(s, &c->nmi_blocked, 1);
	xfer_u8(s, &c->cpl);
	xfer_event(s, &c->event);
	xfer_lapic(s, &c->lapic);
	xfer_u64(s, &(uint64_t){ 0 });       /* once a count of instructions */
	if (state_loading(s) && state_ok(s))
		check(c, s);
	return state_ok(s);
}
