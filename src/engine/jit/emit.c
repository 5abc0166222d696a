/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The assembler; see emit.h. */
#include <string.h>
#include "engine/jit/emit.h"

/* Room for one, or NULL. */
static inline uint8_t *room(struct emit *e)
{
	if (__builtin_expect(e->end - e->p >= AT_ONCE, 1))
		return e->p;
	e->full = true;
	return NULL;
}

void emit_bytes(struct emit *e, const void *bytes, unsigned n)
{
	if (e->end - e->p < n) {
		e->full = true;
		return;
	}
	memcpy(e->p, bytes, n);
	e->p += n;
}

void emit_copy(struct emit *e, const uint8_t bytes[AT_ONCE], unsigned n)
{
	uint8_t *p = room(e);

	if (!p)
		return;
	memcpy(p, bytes, AT_ONCE);
	e->p = p + n;
}

void emit_word(struct emit *e, uint64_t bytes, unsigned n)
{
	uint8_t *p = room(e);

	if (!p)
		return;
	memcpy(p, &bytes, 8);
	e->p = p + n;
}

void emit32(struct emit *e, uint32_t v) { emit_word(e, v, 4); }
void emit64(struct emit *e, uint64_t v) { emit_word(e, v, 8); }

static inline uint8_t *put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
	return p + 4;
}

void emit_modrm_reg(struct emit *e, unsigned reg, unsigned rm)
{
	emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static unsigned scale_bits(unsigned scale)
{
	return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
}

static inline uint8_t *put_modrm_mem(uint8_t *p, unsigned reg, const struct emem *m)
{
	unsigned r = (reg & 7) << 3, index = 4 << 3;

	if (m->index != EREG_NONE)
		index = scale_bits(m->scale) << 6 | (m->index & 7) << 3;
	if (m->base == EREG_NONE) {         /* SIB without base: disp32, never RIP-relative */
		*p++ = (uint8_t)(r | 4);
		*p++ = (uint8_t)(index | 5);
		return put32(p, (uint32_t)m->disp);
	}
	unsigned b = m->base & 7;
	bool sib = m->index != EREG_NONE || b == 4;
	unsigned mod = m->disp == 0 && b != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
	*p++ = (uint8_t)(mod << 6 | r | (sib ? 4 : b));
	if (sib)
		*p++ = (uint8_t)(index | b);
	if (mod == 1)
		*p++ = (uint8_t)m->disp;
	return mod == 2 ? put32(p, (uint32_t)m->disp) : p;
}

void emit_modrm_mem(struct emit *e, unsigned reg, const struct emem *m)
{
	uint8_t *p = room(e);

	if (p)
		e->p = put_modrm_mem(p, reg, m);
}

static inline uint8_t *put_rex(uint8_t *p, unsigned size, unsigned reg, unsigned index, unsigned rm)
{
	unsigned rex = (size == 8) << 3 | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;

	if (rex || size == 1)
		*p++ = (uint8_t)(0x40 | rex);
	return p;
}

static inline uint8_t *put_opcode(uint8_t *p, unsigned map, unsigned opcode)
{
	if (map)
		*p++ = 0x0f;
	if (map == 2)
		*p++ = 0x38;
	else if (map == 3)
		*p++ = 0x3a;
	*p++ = (uint8_t)opcode;
	return p;
}

void emit_rr(struct emit *e, unsigned size, unsigned map, unsigned opcode, unsigned reg, unsigned rm)
{
	uint8_t *p = room(e);

	if (!p)
		return;
	if (size == 2)
		*p++ = 0x66;
	p = put_rex(p, size, reg, 0, rm);
	p = put_opcode(p, map, opcode);
	*p++ = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7));
	e->p = p;
}

/* The word of GS at an address. */
static inline uint8_t *put_gs(uint8_t *p, unsigned size, unsigned opcode, unsigned reg, int32_t disp)
{
	*p++ = 0x65;
	p = put_rex(p, size, reg, 0, 0);
	*p++ = (uint8_t)opcode;
	*p++ = (uint8_t)(4 | (reg & 7) << 3);
	*p++ = 0x25;
	return put32(p, (uint32_t)disp);
}

void emit_rm(struct emit *e, unsigned size, unsigned map, unsigned opcode, unsigned reg, struct emem m)
{
	uint8_t *p = room(e);

	if (!p)
		return;
	if (m.gs && !map && size >= 4 && m.base == EREG_NONE && m.index == EREG_NONE) {
		e->p = put_gs(p, size, opcode, reg, m.disp);
		return;
	}
	if (m.gs)
		*p++ = 0x65;
	if (size == 2)
		*p++ = 0x66;
	p = put_rex(p, size, reg, m.index == EREG_NONE ? 0 : m.index, m.base == EREG_NONE ? 0 : m.base);
	p = put_opcode(p, map, opcode);
	e->p = put_modrm_mem(p, reg, &m);
}

void emit_mov(struct emit *e, unsigned size, unsigned dst, unsigned src)
{
	emit_rr(e, size, 0, size == 1 ? 0x8a : 0x8b, dst, src);
}

void emit_load(struct emit *e, unsigned size, unsigned dst, struct emem m)
{
	if (size <= 2)
		emit_rm(e, 4, 1, size == 1 ? 0xb6 : 0xb7, dst, m);
	else
		emit_rm(e, size, 0, 0x8b, dst, m);
}

void emit_store(struct emit *e, unsigned size, struct emem m, unsigned src)
{
	emit_rm(e, size, 0, size == 1 ? 0x88 : 0x89, src, m);
}

void emit_mov_imm(struct emit *e, unsigned dst, uint64_t imm)
{
	if (imm == (uint32_t)imm) {
		uint64_t mov = (0xb8 | (dst & 7)) | imm << 8;
		bool high = dst >> 3;
		emit_word(e, high ? 0x41 | mov << 8 : mov, 5u + high);
	} else if (imm == (uint64_t)(int64_t)(int32_t)imm) {
		emit_rr(e, 8, 0, 0xc7, 0, dst);
		emit32(e, (uint32_t)imm);
	} else {
		emit_word(e, 0x48 | dst >> 3 | (0xb8 | (dst & 7)) << 8, 2);
		emit64(e, imm);
	}
}

void emit_store_imm32(struct emit *e, unsigned size, struct emem m, int32_t imm)
{
	emit_rm(e, size, 0, 0xc7, 0, m);
	emit32(e, (uint32_t)imm);
}

void emit_lea(struct emit *e, unsigned size, unsigned dst, struct emem m)
{
	if (size == 8 && m.base != EREG_NONE && m.index == EREG_NONE && !m.disp) {
		if (dst != m.base)
			emit_mov(e, 8, dst, m.base);
		return;
	}
	emit_rm(e, size, 0, 0x8d, dst, m);
}

void emit_alu(struct emit *e, unsigned size, unsigned op, unsigned dst, unsigned src)
{
	emit_rr(e, size, 0, op << 3 | (size == 1 ? 2 : 3), dst, src);
}

void emit_alu_imm(struct emit *e, unsigned size, unsigned op, unsigned dst, int32_t imm)
{
	bool small = imm == (int8_t)imm;
	emit_rr(e, size, 0, size == 1 ? 0x80 : small ? 0x83 : 0x81, op, dst);
	if (size == 1 || small)
		emit8(e, (uint8_t)imm);
	else
		emit32(e, (uint32_t)imm);
}

void emit_alu_load(struct emit *e, unsigned size, unsigned op, unsigned dst, struct emem m)
{
	emit_rm(e, size, 0, op << 3 | (size == 1 ? 2 : 3), dst, m);
}

void emit_alu_mem_imm(struct emit *e, unsigned size, unsigned op, struct emem m, int32_t imm)
{
	bool small = imm == (int8_t)imm;
	emit_rm(e, size, 0, size == 1 ? 0x80 : small ? 0x83 : 0x81, op, m);
	if (size == 1 || small)
		emit8(e, (uint8_t)imm);
	else if (size == 2)
		emit_word(e, (uint16_t)imm, 2);
	else
		emit32(e, (uint32_t)imm);
}

void emit_shift_imm(struct emit *e, unsigned size, unsigned ext, unsigned dst, unsigned count)
{
	emit_rr(e, size, 0, 0xc1, ext, dst);
	emit8(e, count);
}

/* SDM 2B NOP. */
void emit_nops(struct emit *e, unsigned n)
{
	static const uint8_t nop[9][9] = {
		{ 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0x00 }, { 0x0f, 0x1f, 0x40 }, { 0x0f, 0x1f, 0x44 },
		{ 0x66, 0x0f, 0x1f, 0x44 }, { 0x0f, 0x1f, 0x80 }, { 0x0f, 0x1f, 0x84 }, { 0x66, 0x0f, 0x1f, 0x84 },
	};

	for (; n > 9; n -= 9)
		emit_bytes(e, nop[8], 9);
	if (n)
		emit_bytes(e, nop[n - 1], n);
}

/* Skylake to Comet Lake, and Cascade Lake. */
bool emit_lines_matter(uint32_t signature)
{
	static const uint8_t models[] = { 0x4e, 0x55, 0x5e, 0x8e, 0x9e, 0xa5, 0xa6, 0xae };
	unsigned family = signature >> 8 & 15, model = (signature >> 4 & 15) | (signature >> 12 & 0xf0);

	return family == 6 && memchr(models, (int)model, sizeof(models));
}

void emit_in_line(struct emit *e, unsigned n)
{
	unsigned at = (unsigned)((uintptr_t)e->p % LINE);

	if (e->lines && at + n >= LINE)
		emit_nops(e, LINE - at);
}

void emit_align_guarded_call(struct emit *e)
{
	emit_nops(e, (unsigned)-((uintptr_t)e->p + GUARD_BYTES - 4) % 8);
}

/* A jump that is bound later: its opcode, of n bytes. */
static uint8_t *emit_open(struct emit *e, unsigned opcode, unsigned n)
{
	emit_word(e, opcode, n + 4);
	return e->full ? NULL : e->p - 4;
}

uint8_t *emit_jcc_here(struct emit *e, unsigned cc)
{
	return emit_open(e, 0x0f | (0x80 | cc) << 8, 2);
}

uint8_t *emit_jcc(struct emit *e, unsigned cc)
{
	emit_in_line(e, 6);
	return emit_jcc_here(e, cc);
}

uint8_t *emit_jmp(struct emit *e)
{
	emit_in_line(e, 5);
	return emit_open(e, 0xe9, 1);
}

uint8_t *emit_call(struct emit *e)
{
	return emit_open(e, 0xe8, 1);
}

void emit_bind(struct emit *e, uint8_t *rel32)
{
	int32_t d;

	if (!rel32)
		return;
	d = (int32_t)(e->p - (rel32 + 4));
	memcpy(rel32, &d, 4);
}

uint8_t *emit_jcc_short(struct emit *e, unsigned cc)
{
	emit_in_line(e, 2);
	emit_word(e, 0x70 | cc, 2);
	return e->full ? NULL : e->p - 1;
}

void emit_bind_short(struct emit *e, uint8_t *rel8)
{
	if (rel8)
		*rel8 = (uint8_t)(e->p - (rel8 + 1));
}

void emit_jmp_to(struct emit *e, const uint8_t *rx_target)
{
	emit_word(e, 0xe9 | (uint64_t)(uint32_t)(rx_target - (emit_here(e) + 5)) << 8, 5);
}

void emit_jmp_mem(struct emit *e, struct emem m) { emit_in_line(e, 8); emit_rm(e, 4, 0, 0xff, 4, m); }
void emit_jmp_reg(struct emit *e, unsigned reg) { emit_rr(e, 4, 0, 0xff, 4, reg); }
void emit_call_reg(struct emit *e, unsigned reg) { emit_rr(e, 4, 0, 0xff, 2, reg); }

/* The immediate lies at + 8, the rel32 at + 14. */
static bool guard_fits(const struct emit *e)
{
	unsigned at = (unsigned)((uintptr_t)e->p % LINE);

	return at % 8 >= 2 && at % 8 <= 4 && !(e->lines && at + GUARD_BYTES + 6 >= LINE);
}

void emit_align_guard(struct emit *e)
{
	unsigned n = 0;

	for (struct emit at = *e; !guard_fits(&at); at.p++)
		n++;
	emit_nops(e, n);
}

void emit_align_patch(struct emit *e, unsigned opcode_bytes)
{
	emit_in_line(e, opcode_bytes + 4);
	unsigned at = (unsigned)(((uintptr_t)e->p + opcode_bytes) % 8);

	if (at > 4)
		emit_nops(e, 8 - at);
}
