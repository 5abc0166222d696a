/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FXSAVE, FXRSTOR and the XSAVE family for x87, SSE and AVX (SDM 1 10.5 and ch.
 * 13).  With AVX the only extended component, the standard and the compacted
 * format have the same layout: 512 legacy bytes, a header of 64, 256 bytes of
 * YMM halves.  Everything that will be written is probed first, everything that
 * is read is checked before it is used.
 */
#include "engine/interp/fpu.h"

enum { LEGACY = 512, HEADER = 64, AVX_AT = LEGACY + HEADER };
enum { X87_HEAD = 24, MXCSR_AT = 24, ST_AT = 32, XMM_AT = 160 };
#define COMPACTED BIT(63)

/* One range of the area, to or from a range of the CPU's image. */
struct piece { unsigned at, size; void *image; };
struct plan { struct piece piece[8]; unsigned n; };

static void plan_add(struct plan *p, unsigned at, unsigned size, void *image)
{
	p->piece[p->n++] = (struct piece){ at, size, image };
}

static void plan_write(struct vcpu *v, uint64_t lin, const struct plan *p)
{
	for (unsigned n = 0; n < p->n; n++)
		mmu_probe(v, lin + p->piece[n].at, p->piece[n].size, MMU_WRITE, v->mmu->mode);
	for (unsigned n = 0; n < p->n; n++)
		mmu_write(v, lin + p->piece[n].at, p->piece[n].image, p->piece[n].size, v->mmu->mode);
}

/* Registers 8..15 exist in 64-bit code only. */
static unsigned vector_bytes(const struct x86_cpu *c) { return cpu_code64(c) ? 256 : 128; }

static bool is_zero(const void *p, size_t n)
{
	const uint64_t *q = p;
	uint64_t any = 0;

	for (size_t k = 0; k < n / 8; k++)
		any |= q[k];
	return !any;
}

static bool x87_is_init(const struct x86_xsave *x)
{
	return x->fcw == 0x37f && !x->fsw && !x->ftw && !x->fop && !x->fip && !x->fdp &&
	       is_zero(x->st, sizeof(x->st));
}

uint64_t xsave_inuse(const struct x86_cpu *c)
{
	const struct x86_xsave *x = &c->xsave;
	unsigned bytes = vector_bytes(c);
	bool sse = x->mxcsr != MXCSR_DEFAULT || !is_zero(x->xmm, bytes);

	return (x87_is_init(x) ? 0 : XFEATURE_X87) | (sse ? XFEATURE_SSE : 0) |
	       (is_zero(x->ymmh, bytes) ? 0 : XFEATURE_AVX);
}

/* --- the pointer words: FIP and FDP are 64 bits wide with REX.W, else 32 and a
 * selector, which is 0 (see x87_env.c) */

static void put_head(const struct x86_xsave *x, bool wide, uint8_t head[X87_HEAD])
{
	memcpy(head, x, X87_HEAD);
	if (!wide) {
		le32_put(head + 12, 0);
		le32_put(head + 20, 0);
	}
}

static void get_head(struct x86_xsave *x, bool wide, const uint8_t head[X87_HEAD])
{
	memcpy(x, head, X87_HEAD);
	x->reserved0 = 0;
	x->fop &= 0x7ff;
	if (!wide) {
		x->fip &= 0xffffffff;
		x->fdp &= 0xffffffff;
	}
	x87_normalize(x);
}

static void get_st(struct x86_xsave *x, const uint8_t *st)
{
	memset(x->st, 0, sizeof(x->st));
	for (unsigned n = 0; n < 8; n++)
		memcpy(x->st[n], st + 16 * n, 10);
}

static bool wide(const struct x86_insn *i) { return i->rex & 8; }

/* --- FXSAVE, FXRSTOR */

static uint64_t fx_address(struct vcpu *v, const struct x86_insn *i, enum mmu_access access)
{
	uint64_t lin;

	if (v->cpu.cr0 & (CR0_EM | CR0_TS))
		cpu_raise(v, EXC_NM, false, 0);
	lin = op_linear(v, i, LEGACY, access);
	if (lin & 15)
		raise_gp(v, 0);
	return lin;
}

void op_FXSAVE(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = fx_address(v, i, MMU_WRITE);
	uint32_t mxcsr[2] = { c->xsave.mxcsr, MXCSR_WRITABLE };
	uint8_t head[X87_HEAD];
	struct plan p = { .n = 0 };

	put_head(&c->xsave, wide(i), head);
	plan_add(&p, 0, X87_HEAD, head);
	plan_add(&p, MXCSR_AT, 8, mxcsr);
	plan_add(&p, ST_AT, sizeof(c->xsave.st), c->xsave.st);
	if (c->cr4 & CR4_OSFXSR)
		plan_add(&p, XMM_AT, vector_bytes(c), c->xsave.xmm);
	plan_write(v, lin, &p);
}

void op_FXRSTOR(struct vcpu *v, const struct x86_insn *i)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = fx_address(v, i, MMU_READ);
	uint8_t area[LEGACY];
	uint32_t mxcsr;

	mmu_read(v, lin, area, sizeof(area), v->mmu->mode);
	mxcsr = le32_get(area + MXCSR_AT);
	if (c->cr4 & CR4_OSFXSR) {
		if (mxcsr & ~MXCSR_WRITABLE)
			raise_gp(v, 0);
		c->xsave.mxcsr = mxcsr;
		memcpy(c->xsave.xmm, area + XMM_AT, vector_bytes(c));
	}
	get_head(&c->xsave, wide(i), area);
	get_st(&c->xsave, area + ST_AT);
}

/* --- XSAVE and its variants */

static uint64_t xsave_address(struct vcpu *v, const struct x86_insn *i, enum mmu_access access)
{
	uint64_t lin;

	if (!(v->cpu.cr4 & CR4_OSXSAVE))
		raise_ud(v);
	if (v->cpu.cr0 & CR0_TS)
		cpu_raise(v, EXC_NM, false, 0);
	if ((i->op == OP_XSAVES || i->op == OP_XRSTORS) && v->cpu.cpl)
		raise_gp(v, 0);
	lin = op_linear(v, i, AVX_AT, access);
	if (lin & 63)
		raise_gp(v, 0);
	return lin;
}

/* The requested-feature bitmap (SDM 1 13.6). */
static uint64_t requested(const struct x86_cpu *c, uint64_t allowed)
{
	return allowed & ((c->gpr[RDX] & 0xffffffff) << 32 | (c->gpr[RAX] & 0xffffffff));
}

static void plan_save(struct plan *p, struct x86_cpu *c, uint64_t components, uint8_t *head)
{
	struct x86_xsave *x = &c->xsave;

	if (components & XFEATURE_X87) {
		plan_add(p, 0, X87_HEAD, head);
		plan_add(p, ST_AT, sizeof(x->st), x->st);
	}
	if (components & XFEATURE_SSE)
		plan_add(p, XMM_AT, vector_bytes(c), x->xmm);
	if (components & XFEATURE_AVX)
		plan_add(p, AVX_AT, vector_bytes(c), x->ymmh);
}

/* XSAVE and XSAVEOPT (SDM 1 13.7, 13.9): only XSTATE_BV of the header is written. */
static void save_standard(struct vcpu *v, const struct x86_insn *i, bool optimize)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = xsave_address(v, i, MMU_WRITE);
	uint64_t rfbm = requested(c, c->xcr0), inuse = xsave_inuse(c) & rfbm;
	uint64_t bv = mmu_load(v, lin + LEGACY, 8, v->mmu->mode);
	uint32_t mxcsr[2] = { c->xsave.mxcsr, MXCSR_WRITABLE };
	uint8_t head[X87_HEAD];
	struct plan p = { .n = 0 };

	bv = (bv & ~rfbm) | inuse;
	put_head(&c->xsave, wide(i), head);
	plan_save(&p, c, optimize ? inuse : rfbm, head);
	if (rfbm & (XFEATURE_SSE | XFEATURE_AVX))
		plan_add(&p, MXCSR_AT, 8, mxcsr);
	plan_add(&p, LEGACY, 8, &bv);
	plan_write(v, lin, &p);
}

/* XSAVEC and XSAVES (SDM 1 13.10, 13.11): components in their initial
 * configuration are left out. */
static void save_compacted(struct vcpu *v, const struct x86_insn *i, uint64_t allowed)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = xsave_address(v, i, MMU_WRITE);
	uint64_t rfbm = requested(c, allowed), saved = xsave_inuse(c) & rfbm;
	uint64_t header[2];
	uint32_t mxcsr[2] = { c->xsave.mxcsr, MXCSR_WRITABLE };
	uint8_t head[X87_HEAD];
	struct plan p = { .n = 0 };

	header[0] = saved;
	header[1] = rfbm | COMPACTED;
	put_head(&c->xsave, wide(i), head);
	plan_save(&p, c, saved, head);
	if (saved & XFEATURE_SSE)
		plan_add(&p, MXCSR_AT, 8, mxcsr);
	plan_add(&p, LEGACY, sizeof(header), header);
	plan_write(v, lin, &p);
}

void op_XSAVE(struct vcpu *v, const struct x86_insn *i) { save_standard(v, i, false); }
void op_XSAVEOPT(struct vcpu *v, const struct x86_insn *i) { save_standard(v, i, true); }
void op_XSAVEC(struct vcpu *v, const struct x86_insn *i) { save_compacted(v, i, v->cpu.xcr0); }
void op_XSAVES(struct vcpu *v, const struct x86_insn *i)
{ save_compacted(v, i, v->cpu.xcr0 | v->cpu.xss); }

/* --- XRSTOR, XRSTORS */

/* SDM 1 13.8 and 13.12: is the header one that may be loaded? */
static bool header_ok(const struct vcpu *v, const uint8_t *header, uint64_t allowed, bool supervisor)
{
	uint64_t bv = le64_get(header), comp = le64_get(header + 8);

	if (comp & COMPACTED)
		return x86_has(v->model, FEAT_XSAVEC) && !(comp & ~COMPACTED & ~allowed) &&
		       !(bv & ~(comp & ~COMPACTED)) && is_zero(header + 16, HEADER - 16);
	return !supervisor && !(bv & ~allowed) && !comp && !le64_get(header + 16);
}

static void restore_x87(struct x86_cpu *c, const uint8_t *area, bool load, bool is_wide)
{
	static const uint8_t init[XMM_AT] = { 0x7f, 0x03 };

	get_head(&c->xsave, is_wide, load ? area : init);
	get_st(&c->xsave, (load ? area : init) + ST_AT);
}

static void restore_vectors(const struct x86_cpu *c, void *image, const uint8_t *from, bool load)
{
	if (load)
		memcpy(image, from, vector_bytes(c));
	else
		memset(image, 0, vector_bytes(c));
}

static void restore(struct vcpu *v, const struct x86_insn *i, uint64_t allowed, bool supervisor)
{
	struct x86_cpu *c = &v->cpu;
	uint64_t lin = xsave_address(v, i, MMU_READ), rfbm = requested(c, allowed), bv;
	uint8_t area[AVX_AT + 256] __attribute__((aligned(16)));
	uint32_t mxcsr;
	bool compacted, load_mxcsr;

	mmu_read(v, lin + LEGACY, area + LEGACY, HEADER, v->mmu->mode);
	if (!header_ok(v, area + LEGACY, allowed, supervisor))
		raise_gp(v, 0);
	bv = le64_get(area + LEGACY);
	compacted = le64_get(area + LEGACY + 8) & COMPACTED;
	mmu_read(v, lin, area, LEGACY, v->mmu->mode);
	if (rfbm & bv & XFEATURE_AVX)
		mmu_read(v, lin + AVX_AT, area + AVX_AT, vector_bytes(c), v->mmu->mode);
	/* The standard form loads MXCSR whatever XSTATE_BV says (SDM 1 13.8.1). */
	load_mxcsr = compacted ? rfbm & bv & XFEATURE_SSE : rfbm & (XFEATURE_SSE | XFEATURE_AVX);
	mxcsr = load_mxcsr ? le32_get(area + MXCSR_AT) : MXCSR_DEFAULT;
	if (mxcsr & ~MXCSR_WRITABLE)
		raise_gp(v, 0);

	if (load_mxcsr || (compacted && rfbm & XFEATURE_SSE))
		c->xsave.mxcsr = mxcsr;
	if (rfbm & XFEATURE_X87)
		restore_x87(c, area, bv & XFEATURE_X87, wide(i));
	if (rfbm & XFEATURE_SSE)
		restore_vectors(c, c->xsave.xmm, area + XMM_AT, bv & XFEATURE_SSE);
	if (rfbm & XFEATURE_AVX)
		restore_vectors(c, c->xsave.ymmh, area + AVX_AT, bv & XFEATURE_AVX);
}

void op_XRSTOR(struct vcpu *v, const struct x86_insn *i) { restore(v, i, v->cpu.xcr0, false); }
void op_XRSTORS(struct vcpu *v, const struct x86_insn *i)
{ restore(v, i, v->cpu.xcr0 | v->cpu.xss, true); }
