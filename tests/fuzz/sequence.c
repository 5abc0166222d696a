/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sound programs for the translator, in verify mode: random valid user-level
 * instructions on good pointers, joined by branches, loops and calls, so that
 * flags, registers and memory flow from block to block.  Byte 0 chooses the
 * code size, the rest seeds the generator.  A difference is a crash.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include "lib/fuzz.h"
#include "lib/rig.h"

#define CODE 0x8000u
#define DATA 0x50000u
#define STACK 0x70000u
#define COUNTER 0x60000u
#define FUNCTION 0x7000u
enum { RAM = 1 << 20, INSNS = 120, RELOAD = 8, RUNS = 2, RUN_US = 50000 };

static struct rig rig;
static bool made;
static uint64_t state;
static unsigned size;                 /* of code: 4 or 8 */
static uint8_t code[8192];
static unsigned at;                   /* offset of the next instruction */

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}

static bool one_in(unsigned n) { return rnd() % n == 0; }
static void put(unsigned byte) { code[at++] = (uint8_t)byte; }
static void put32(uint32_t v) { le32_put(code + at, v); at += 4; }

/* --- one random instruction */

/* Registers that hold pointers: only put_pointers() changes them. */
static bool reserved(unsigned reg)
{
	return reg == RBX || reg == RSP || reg == RBP || reg == RSI || reg == RDI;
}

static bool wanted(const struct x86_insn *i)
{
	uint16_t props = x86_op_info[i->op].props;

	if (props & (OPP_SYSTEM | OPP_BRANCH | OPP_IO | OPP_STRING))
		return false;
	switch (i->op) {
	case OP_LEAVE: case OP_ENTER: case OP_PUSHA: case OP_POPA: case OP_BOUND: case OP_XLAT:
	case OP_DIV: case OP_IDIV: case OP_AAM: case OP_UD: case OP_VEC_GATHER: case OP_STD:
	case OP_LDMXCSR: case OP_PUSH_SREG: case OP_CMPXCHG8B: case OP_CMPXCHG16B:
		return false;
	}
	if (i->seg == FS || i->seg == GS || i->base == X86_RIP || i->addrsize == 2)
		return false;
	for (unsigned n = 0; n < i->nops; n++) {
		const struct x86_operand *o = &i->o[n];
		if (o->kind == OPK_GPR && o->access & OPA_W && reserved(o->size == 1 ? o->reg & 3 : o->reg))
			return false;
		if (o->kind == OPK_MEM && (i->index != X86_NO_REG || i->base == X86_NO_REG || !reserved(i->base)))
			return false;
	}
	return true;
}

static unsigned random_bytes(uint8_t *b)
{
	unsigned n = 0, map = (unsigned)(rnd() % 16);

	if (one_in(5))
		b[n++] = 0x66;
	if (one_in(8))
		b[n++] = one_in(2) ? 0xf3 : 0xf2;
	if (one_in(24))
		b[n++] = 0xf0;
	if (map == 15) {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)(0xe0 | (1 + rnd() % 3));
		b[n++] = (uint8_t)(rnd() & (size == 8 ? 0xff : 0xbf));
	} else {
		if (size == 8 && one_in(2))
			b[n++] = (uint8_t)(0x40 | (rnd() & 13));
		if (map >= 9)
			b[n++] = 0x0f;
		if (map == 14)
			b[n++] = one_in(2) ? 0x38 : 0x3a;
	}
	b[n++] = (uint8_t)rnd();
	/* ModRM: a register, or memory at a pointer with a small displacement */
	if (one_in(2)) {
		static const uint8_t bases[] = { 3, 5, 6, 7 };
		b[n++] = (uint8_t)(0x40 | (rnd() & 0x38) | bases[rnd() % 4]);
		b[n++] = (uint8_t)(one_in(2) ? rnd() & 0xf0 : rnd());
	} else {
		b[n++] = (uint8_t)(0xc0 | (rnd() & 0x3f));
	}
	for (unsigned k = 0; k < 8; k++)
		b[n++] = (uint8_t)rnd();
	return n;
}

static void put_insn(void)
{
	uint8_t b[32];
	struct x86_insn i;

	for (unsigned tries = 0; tries < 200; tries++) {
		unsigned n = random_bytes(b);
		if (x86_decode(rig.m.model, size, false, b, n, &i) != X86_OK || !wanted(&i))
			continue;
		memcpy(code + at, b, i.len);
		at += i.len;
		return;
	}
	put(0x90);
}

/* --- what joins them */

static void put_pointers(void)
{
	static const uint8_t regs[] = { RBX, RBP, RSI, RDI };

	for (unsigned k = 0; k < 4; k++) {
		put(0xb8 | regs[k]);
		put32(DATA + 0x1000 * k + (unsigned)(rnd() % 4 ? 0 : rnd() & 0xfff));
	}
	put(0xbc);
	put32(STACK);
}

/* [COUNTER]: the ModRM and what follows. */
static void put_counter(unsigned reg)
{
	put(reg << 3 | (size == 8 ? 4 : 5));
	if (size == 8)
		put(0x25);
	put32(COUNTER);
}

static void put_string(void)
{
	static const uint8_t ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };

	put(0xb9);
	put32((uint32_t)(rnd() % 300));
	if (one_in(4))
		put(0x66);
	put(one_in(3) ? 0xf2 : 0xf3);
	if (size == 8 && one_in(3))
		put(0x48);
	put(ops[rnd() % sizeof(ops)]);
	put_pointers();
}

static void put_some(unsigned depth, unsigned count);

/* Jcc over a few; a loop of a few, three times; a call. */
static void put_flow(unsigned depth)
{
	unsigned start, kind = (unsigned)(rnd() % 4);

	if (kind == 0) {
		put(0xe8);
		put32(FUNCTION - (CODE + at + 4));
	} else if (kind == 1 && depth < 2) {
		put(0xc7);
		put_counter(0);
		put32(3);
		start = at;
		put_some(2, 6);
		put(0x83);
		put_counter(5);
		put(1);
		put(0x0f);
		put(0x85);                       /* JNZ */
		put32(start - (at + 4));
	} else {
		put(0x0f);
		put(0x80 | (rnd() & 15));
		start = at;
		put32(0);
		put_some(depth + 1, (unsigned)(rnd() % 4));
		le32_put(code + start, at - (start + 4));
	}
}

static void put_some(unsigned depth, unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		if (depth < 2 && one_in(8))
			put_flow(depth);
		else if (one_in(24))
			put_string();
		else
			put_insn();
		if (k % RELOAD == RELOAD - 1)
			put_pointers();
	}
}

static void put_program(void)
{
	at = 0;
	put_pointers();
	put_some(0, INSNS);
	put(0xf4);                               /* HLT */
}

/* --- running */

/* A store may hit a loop's counter: such a program is stopped. */
static void on_alarm(int sig)
{
	vcpu_request(rig.v, REQ_STOP);
}

static void unmake(void) { rig_destroy(&rig); }

static void make(void)
{
	static uint8_t stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };
	static char verify[] = "verify";
	static struct machine_config config = { .engine_options = verify };

	rig_config = &config;
	rig_create(&rig, &engine_jit, "max", RAM);
	sigaltstack(&ss, NULL);          /* translated code keeps the guest's RSP in RSP */
	sigaction(SIGVTALRM, &sa, NULL);
	atexit(unmake);
	made = true;
}

static void run(void)
{
	static const uint8_t function[] = { 0x50, 0x01, 0xc8, 0x11, 0xd0, 0x58, 0xc3 };
	struct itimerval on = { .it_value.tv_usec = RUN_US }, off = { 0 };
	struct x86_cpu *c = &rig.v->cpu;

	x86_cpu_reset(c, rig.m.model, false);
	if (size == 8)
		rig_long_mode(&rig);
	else
		rig_protected_mode(&rig);
	c->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	c->xcr0 = XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX;
	for (unsigned r = 0; r < 16; r++)
		c->gpr[r] = rnd() >> (rnd() & 63) & (size == 8 ? ~0ull : 0xffffffff);
	for (unsigned n = 0; n < 0x8000; n += 8) {
		uint64_t word = one_in(3) ? 0 : rnd();
		memory_write(rig.m.memory, DATA + n, &word, 8);
	}
	rig_code(&rig, FUNCTION, function, sizeof(function));
	rig_code(&rig, CODE, code, at);
	rig.m.engine->state_set(rig.v);
	atomic_store(&rig.v->requests, 0);
	setitimer(ITIMER_VIRTUAL, &on, NULL);
	if (rig_run(&rig, CODE) == EXIT_ERROR) {
		fprintf(stderr, "%s\n", rig.v->error.text);
		abort();
	}
	setitimer(ITIMER_VIRTUAL, &off, NULL);
}

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= 64)
		return 0;
	memset(buf, (int)n + 1, 17);
	return 17;
}

void fuzz_one(const uint8_t *data, size_t n)
{
	if (!made)
		make();
	if (n < 2)
		return;
	size = data[0] & 1 ? 8 : 4;
	state = 0x9e3779b97f4a7c15u;
	for (size_t k = 1; k < n; k++)
		state = (state ^ data[k]) * 0x100000001b3u;
	state |= 1;
	put_program();
	for (unsigned k = 0; k < RUNS; k++)
		run();
}
