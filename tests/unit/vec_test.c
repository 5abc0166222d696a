/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every MMX, SSE and AVX encoding that the decoder knows, handler against host
 * CPU: registers, memory, MXCSR, flags, x87 state and exceptions.
 */
#include "fpu_fake.h"

enum { ROUNDS = 24, AREA = 4096, MIDDLE = AREA / 2 };
struct encoding { uint8_t code[16]; unsigned n; };

/* --- states */

static void random_lane(uint8_t *p)
{
	static const uint64_t special[] = {
		0, 0x8000000000000000, 0x3ff0000000000000, 0x7ff0000000000000, 0x7ff8000000000001,
		0x7ff0000000000001, 1, 0x000fffffffffffff, 0x7fefffffffffffff, 0x0010000000000000,
		0x3f8000003f800000, 0x7f8000007f800001, 0x7fc0000000000001, 0x0080000080800000,
		0x7f7fffffff7fffff, 0x00000001807fffff, 0x41e0000000000000, 0x4f0000004e000000,
	};
	uint64_t r = random64();

	le64_put(p, r & 3 ? random64() : special[(r >> 8) % ARRAY_SIZE(special)]);
	if (!(r >> 16 & 3))          /* moderate exponents: sums and products that round */
		le64_put(p, (le64_get(p) & 0x800fffffffffffff) | (0x3f0ull + (r >> 20 & 31)) << 52);
}

static void random_vectors(void *p, size_t n)
{
	for (size_t k = 0; k < n; k += 8)
		random_lane((uint8_t *)p + k);
}

static void random_state_of(struct native_state *s)
{
	uint64_t r = random64();

	memset(s, 0, sizeof(*s));
	random_x87(&s->xsave);
	random_vectors(s->xsave.xmm, sizeof(s->xsave.xmm));
	random_vectors(s->xsave.ymmh, sizeof(s->xsave.ymmh));
	s->xsave.mxcsr = (uint32_t)(r & 0xe07f) | (r >> 16 & 7 ? 0x1f80 : r >> 20 & 0x1f80);
	for (unsigned n = 0; n < 16; n++)
		s->gpr[n] = random64() >> (random64() & 63);
	s->gpr[RSI] = DATA + MIDDLE + (r >> 40 & 3 ? 0 : r >> 42 & 31);
	s->gpr[RDI] = DATA + MIDDLE + (r >> 48 & 31);
	s->gpr[RSP] = DATA + 6144;
	s->rflags = (r >> 32 & FL_STATUS) | FL_1 | FL_IF;
}

static uint64_t area_of_case;       /* an XSAVE area is wanted here */

/* A state component that neither the guest nor this host has enabled: the host takes
 * those that it has (AVX-512, MPX, PKRU) as the guest's would be, and each other one is #GP. */
static uint64_t no_component(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	uint64_t free = ~((uint64_t)high << 32 | low) & ~7ull;
	return free & -free;
}

/* FXSAVE and the XSAVE family over areas that are sound, damaged, misaligned. */
static void random_area(uint8_t *area)
{
	struct x86_xsave x;
	uint64_t r = random64();

	random_x87(&x);
	random_vectors(x.xmm, sizeof(x.xmm));
	random_vectors(x.ymmh, sizeof(x.ymmh));
	x.fcw = (uint16_t)random64();
	x.fsw = (uint16_t)random64();
	x.fip = r >> 20;
	x.fdp = r >> 18;
	x.fop = r & 0x7ff;
	x.mxcsr = (uint32_t)(r >> 30 & (r & 0x800 ? 0xffff : 0x1ffff));
	x.xstate_bv = (r >> 48 & 7) | (r & 0x8001000 ? 0 : no_component());
	x.xcomp_bv = r & 0x2000 ? 0 : (r & 0xc000 ? BIT(63) : 0) | (r >> 52 & 7) | (r & 0x20010000 ? 0 : no_component());
	if (!(r >> 56))
		x.header_reserved[r & 3] = 1;
	memcpy(area, &x, sizeof(x));
}

/* --- comparison */

static const char *difference(const struct native_state *s)
{
	const struct x86_xsave *a = &s->xsave, *b = &fake.cpu.xsave;

	if (memcmp(a->xmm, b->xmm, sizeof(a->xmm)))
		return "xmm";
	if (memcmp(a->ymmh, b->ymmh, sizeof(a->ymmh)))
		return "ymmh";
	if (a->mxcsr != b->mxcsr)
		return "mxcsr";
	if (memcmp(s->gpr, fake.cpu.gpr, sizeof(s->gpr)))
		return "general registers";
	if ((s->rflags ^ fake.cpu.rflags) & FL_STATUS)
		return "flags";
	if (a->fcw != b->fcw || a->fsw != b->fsw || a->ftw != b->ftw || memcmp(a->st, b->st, sizeof(a->st)))
		return "x87";
	return NULL;
}

/* Offsets of the bytes that differ: before, on the host, ours. */
static void show_bytes(const char *what, const void *before, const void *native, const void *mine, size_t n)
{
	const uint8_t *b = before, *h = native, *m = mine;

	for (size_t k = 0, shown = 0; k < n && shown < 32; k++)
		if (h[k] != m[k] && ++shown)
			fprintf(stderr, "  %s+%zu: %02x -> %02x, ours %02x\n", what, k, b[k], h[k], m[k]);
}

struct outcome { struct native_state s; uint8_t before[AREA], native[AREA]; unsigned vector; };

/* What differs, or NULL. */
static const char *run_both(const struct encoding *e, const struct native_state *start, bool compat, struct outcome *o)
{
	uint8_t *data = (void *)DATA;
	struct x86_insn insn;

	o->s = *start;
	memcpy(data, o->before, AREA);
	native_run(&o->s, e->code, e->n, compat);
	memcpy(o->native, data, AREA);
	memcpy(data, o->before, AREA);
	fake_load(start, compat);
	o->vector = fake_run(e->code, e->n, compat, &insn);
	if (area_of_case && o->vector && o->vector == o->s.trap)
		return NULL;                 /* processors have loaded a part of it by then */
	if (o->vector != o->s.trap)
		return "exception";
	const char *what = difference(&o->s);
	return !what && memcmp(o->native, data, AREA) ? "memory" : what;
}

/* What is in its initial configuration counts as in use on some hosts once they have been interrupted
 * (SDM 1 13.6 lets them): such a case gets some more tries. */
enum { TRIES = 8 };

static void run_case(const struct encoding *e, const struct native_state *start, bool compat)
{
	static struct outcome o;
	const char *what;
	unsigned tries = 0;

	random_vectors(o.before, AREA);
	if (area_of_case)
		random_area(o.before + (area_of_case - DATA));
	do {
		if (!(what = run_both(e, start, compat, &o)))
			return;
	} while (start->init && ++tries < TRIES);
	for (unsigned n = 0; n < e->n; n++)
		fprintf(stderr, "%02x ", e->code[n]);
	fprintf(stderr, ": %s differs; native trap %u, ours %u; mxcsr before %04x native %04x ours %04x\n",
		what, o.s.trap, o.vector, start->xsave.mxcsr, o.s.xsave.mxcsr, fake.cpu.xsave.mxcsr);
	show_bytes("xsave", &start->xsave, &o.s.xsave, &fake.cpu.xsave, sizeof(o.s.xsave));
	show_bytes("gpr", start->gpr, o.s.gpr, fake.cpu.gpr, sizeof(o.s.gpr));
	show_bytes("memory", o.before, o.native, (void *)DATA, AREA);
	fail();
}

/* --- encodings */

static void put(struct encoding *e, unsigned byte) { e->code[e->n++] = (uint8_t)byte; }

static void put_tail(struct encoding *e, unsigned opcode, bool memory)
{
	uint64_t r = random64();

	put(e, opcode);
	put(e, memory ? (r & 0x38) | 6 : 0xc0 | (r & 0x3f));
	put(e, (unsigned)(r >> 8));          /* the immediate, if it has one */
}

static void put_legacy(struct encoding *e, unsigned map, unsigned pp, unsigned opcode, bool memory, bool compat)
{
	static const uint8_t mandatory[] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned rex = compat ? 0 : random64() & (memory ? 0xc : 0xd);

	e->n = 0;
	if (pp)
		put(e, mandatory[pp]);
	if (rex)
		put(e, 0x40 | rex);
	put(e, 0x0f);
	if (map > 1)
		put(e, map == 2 ? 0x38 : 0x3a);
	put_tail(e, opcode, memory);
}

static void put_vex(struct encoding *e, unsigned map, unsigned pp, unsigned opcode, bool memory, bool compat)
{
	uint64_t r = random64();
	unsigned vvvv = r & 1 ? 15 : r >> 1 & 15;

	e->n = 0;
	put(e, 0xc4);
	put(e, (compat ? 0xe0 : (r >> 8 & 0xa0) | (memory ? 0x60 : 0x40)) | map);
	put(e, (r >> 16 & 1) << 7 | (compat ? vvvv | 8 : vvvv) << 3 | (r >> 17 & 1) << 2 | pp);
	put_tail(e, opcode, memory);
}

/* Decodes to something of ours? Cuts the encoding to its length. */
static bool ours(struct encoding *e, bool compat)
{
	struct x86_insn i;

	if (x86_decode(fake.model, compat ? 4 : 8, false, e->code, e->n, &i) != X86_OK)
		return false;
	e->n = i.len;
	return i.op == OP_VEC || i.op == OP_VEC_FLAGS || i.op == OP_VEC_MASKMOV || i.op == OP_MASKMOVDQU ||
	       i.op == OP_VZEROUPPER || i.op == OP_VZEROALL || i.op == OP_EMMS || i.op == OP_STMXCSR ||
	       i.op == OP_LDMXCSR;
}

static void every_encoding(bool vex, bool compat)
{
	struct native_state s;
	struct encoding e;
	unsigned cases = 0;

	native_signals();
	for (unsigned k = 0; k < 3 * 4 * 256 * 2 * ROUNDS; k++) {
		unsigned opcode = k & 255, pp = k >> 8 & 3, memory = k >> 10 & 1, map = 1 + (k >> 11) % 3;

		if (map == 1 && (opcode == 0x38 || opcode == 0x3a))
			continue;            /* escapes to the other maps: the tail would be an opcode */
		if (vex)
			put_vex(&e, map, pp, opcode, memory, compat);
		else
			put_legacy(&e, map, pp, opcode, memory, compat);
		if (!ours(&e, compat))
			continue;
		random_state_of(&s);
		run_case(&e, &s, compat);
		cases++;
	}
	assert_true(cases > 1000);
}

static void test_legacy(void **state) { every_encoding(false, false); }
static void test_vex(void **state) { every_encoding(true, false); }
static void test_legacy32(void **state) { every_encoding(false, true); }
static void test_vex32(void **state) { every_encoding(true, true); }

#ifdef __SANITIZE_ADDRESS__
enum { SHADOWED = true };
#else
enum { SHADOWED = false };
#endif

/* VPGATHER*, VGATHER*: indices that stay in the data, and some that do not. */
static void test_gather(void **state)
{
	struct native_state s;
	struct encoding e;

	if (SHADOWED)
		skip();                 /* wild indices would meet the sanitizer's own memory */
	native_signals();
	for (unsigned k = 0; k < 4000; k++) {
		uint64_t r = random64();

		e.n = 0;
		put(&e, 0xc4);
		put(&e, (r & 0xe0) | 2);
		put(&e, r >> 8 & 0xfd & ~2u);
		e.code[2] |= 1;
		put(&e, 0x90 + (k & 3));
		put(&e, 4 | (r >> 16 & 0x38));
		put(&e, (r >> 24 & 0xf8) | RSI);
		e.code[1] |= 0x20;               /* the base is RSI, not R14 */
		random_state_of(&s);
		for (unsigned n = 0; n < 16; n++)
			for (unsigned b = 0; b < 16; b += 8) {
				uint64_t bound = r >> 60 ? 0x3f : 0xffff;

				le64_put(s.xsave.xmm[n] + b, random64() & (bound << 32 | bound));
				le64_put(s.xsave.ymmh[n] + b, random64() & (bound << 32 | bound));
				if (random64() & 1)      /* mask bits; small negative qword indices */
					s.xsave.xmm[n][b + 3] |= 0x80;
				if (!(k & 1) || random64() & 1)
					continue;
				le64_put(s.xsave.xmm[n] + b, -(random64() & bound));
				le64_put(s.xsave.ymmh[n] + b, -(random64() & bound));
			}
		run_case(&e, &s, false);
	}
}

static void xsave_case(const struct encoding *e, bool compat)
{
	static struct native_state start;
	uint64_t r = random64();

	random_state_of(&start);
	start.gpr[RAX] = r & 0x8000000000000007;
	start.gpr[RDX] = r >> 8 & 0xf;
	start.gpr[RSI] = DATA + 1024 + (r >> 16 & 31 ? 0 : r >> 24 & 63);
	start.xsave.fop = r >> 32 & 0x7ff;
	start.xsave.fip = random64() >> 17;
	start.xsave.fdp = random64() >> 17;
	if (r >> 44 & 1)
		memset(start.xsave.xmm, 0, sizeof(start.xsave.xmm));
	if (r >> 45 & 1)
		memset(start.xsave.ymmh, 0, sizeof(start.xsave.ymmh));
	if (r >> 46 & 1) {
		memset(&start.xsave, 0, 24);
		memset(start.xsave.st, 0, sizeof(start.xsave.st));
		start.xsave.fcw = 0x37f;
	}
	if (r >> 47 & 1)
		start.xsave.mxcsr = MXCSR_DEFAULT;
	area_of_case = start.gpr[RSI];
	fake_load(&start, compat);
	start.init = ~xsave_inuse(&fake.cpu);
	run_case(e, &start, compat);
}

static void test_xsave(void **state)
{
	static const uint8_t forms[][2] = {
		{ 0xae, 0x06 }, { 0xae, 0x0e }, { 0xae, 0x26 }, { 0xae, 0x2e }, { 0xae, 0x36 }, { 0xc7, 0x26 },
	};

	native_signals();
	for (unsigned k = 0; k < 30000; k++) {
		struct encoding e = { .n = 0 };
		bool compat = k & 1;

		if (!compat && k & 2)
			put(&e, 0x48);
		put(&e, 0x0f);
		put(&e, forms[k % 6][0]);
		put(&e, forms[k % 6][1]);
		xsave_case(&e, compat);
	}
	area_of_case = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_legacy), cmocka_unit_test(test_vex), cmocka_unit_test(test_legacy32),
		cmocka_unit_test(test_vex32), cmocka_unit_test(test_gather),
		cmocka_unit_test(test_xsave),
	};

	return cmocka_run_group_tests(tests, fake_setup, NULL);
}
