/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile instruction streams for the interpreter (one by one) and for the
 * translator (in verify mode: a difference is a crash), in every mode, at both
 * privilege levels, with exceptions delivered through whatever the guest's
 * tables happen to hold.  Byte 0 chooses engine and mode, 1 to 8 seed the
 * registers, the rest is code.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include "base/log.h"
#include "lib/fuzz.h"
#include "lib/rig.h"

#define CODE 0x8000ull
enum { RAM = 1 << 20, HEADER = 9, STEPS = 200, CODE_MAX = 4096, RUN_US = 3000 };
enum { MODE = 7, USER = 8, ONES = 16, TRANSLATE = 32 };

static struct rig rigs[2], *rig;
static bool made;

/* Samples: one stream a kind of instruction, so that mutations stay near them. */
static const struct { uint8_t mode; const char *code; size_t n; } streams[] = {
#define S(mode, code) { mode, code, sizeof(code) - 1 }
	S(2, "\x48\x01\xd8\x48\x89\x03\xf0\x0f\xb1\x0b\x48\xf7\xe1\x0f\xa2\x50\x58\xc3"),
	S(2, "\xf3\xa4\xf3\x48\xab\xf2\xae\xf3\xa6\x66\xa5\xac\x6c\x6e\xe4\x60\xe6\x80"),
	S(2, "\x0f\x28\x03\x66\x0f\xef\xc0\xf2\x0f\x58\x03\xc5\xfd\x6f\x03\xc4\xe2\x7d\x18\x03\x0f\xae\x03\x0f\xae\x0b"),
	S(2, "\xd9\x03\xd8\xc1\xdd\x33\xdd\x23\xdb\x2b\xdf\xe0\x9b\xd9\x3b\xd9\x2b\xdb\xe3"),
	S(2, "\x0f\x22\xd8\x0f\x20\xc0\x0f\x22\xe0\x0f\x30\x0f\x32\x0f\x01\x1b\x0f\x01\x3b\x0f\x00\xd8\xcf\x48\xcf"),
	S(2, "\x0f\x05\x0f\x07\x0f\x34\x0f\x35\xcd\x80\xcc\x0f\x0b\x0f\x01\xf8\x0f\x01\xd1\x0f\xc7\x23\x0f\xc7\x1b"),
	S(0, "\x8e\xd8\x8e\xd0\x9a\x00\x00\x00\x08\xea\x10\x80\x00\x00\xcd\x10\xcf\x0f\x01\x16\x00\x00\x0f\x22\xc0"),
	S(1, "\x8e\xd8\x0f\x00\xd0\x9a\x00\x80\x00\x00\x08\x00\xcb\xcf\xc8\x10\x00\x03\xc9\x62\x03\x63\x03\x0f\x02\x03"),
	S(3, "\x9c\x9d\xfa\xfb\xf4\xcd\x21\xcf\x60\x61\xd4\x0a\x27\x37\xc4\x03"),
	S(4, "\xc4\xe2\x69\x90\x04\x1e\xc4\xe2\x6d\x2c\x03\x66\x0f\x3a\x63\xc1\x0c\x0f\xc7\x23\x0f\xc7\x1b\x0f\xae\x2b"),
};

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	unsigned s = n / 2;

	if (s >= ARRAY_SIZE(streams))
		return 0;
	memset(buf, (int)n * 17, HEADER);
	buf[0] = streams[s].mode | (n & 1 ? TRANSLATE : 0);
	memcpy(buf + HEADER, streams[s].code, streams[s].n);
	return HEADER + streams[s].n;
}

static void set_registers(struct x86_cpu *c, uint64_t seed)
{
	for (unsigned r = 0; r < 16; r++) {
		seed = seed * 0x5851f42d4c957f2dull + 1;
		c->gpr[r] = seed >> (seed >> 59);
	}
	/* pointers that mostly hit: a page of data, the stack, the code */
	c->gpr[RBX] = 0x10000 + (seed & 0xfff);
	c->gpr[RSI] = CODE + (seed >> 12 & 0xfff);
	c->gpr[RDI] = 0x11000 + (seed >> 24 & 0xfff);
	c->gpr[RSP] = 0x20000;
	c->gpr[RCX] &= 0xff;
}

static void user_mode(struct x86_cpu *c)
{
	c->cpl = 3;
	for (unsigned s = ES; s <= GS; s++) {
		c->seg[s].attr |= 3 << SEG_DPL_SHIFT;
		c->seg[s].sel |= 3;
	}
}

/* 0 real, 1 protected, 2 long, 3 virtual-8086, 4 long with AVX, 5 compatibility;
 * USER: CPL 3; ONES: descriptor tables hold no zeroes. */
static void set_mode(uint8_t mode)
{
	struct x86_cpu *c = &rig->v->cpu;

	x86_cpu_reset(c, rig->m.model, false);
	if ((mode & MODE) == 2 || (mode & MODE) == 4 || (mode & MODE) == 5)
		rig_long_mode(rig);
	else if (mode & MODE)
		rig_protected_mode(rig);
	if ((mode & MODE) == 5)
		c->seg[CS].attr = (c->seg[CS].attr & ~(uint32_t)SEG_L) | SEG_DB;
	if ((mode & MODE) == 4) {
		c->cr4 |= CR4_OSXSAVE | CR4_FSGSBASE;
		c->xcr0 = 7;
	}
	if ((mode & MODE) == 3)
		c->rflags |= FL_VM;
	if (mode & USER || (mode & MODE) == 3)
		user_mode(c);
	c->idtr = (struct x86_dtr){ mode & ONES ? 0x30000 : 0x8000, 0xfff };
	c->gdtr = (struct x86_dtr){ mode & ONES ? 0x30000 : 0x8000, 0xfff };
	if (mode & ONES)
		memset(rig_ram(rig, 0x30000), 0xee, 0x1000);      /* read as data only */
	if (!(mode & MODE)) {
		c->seg[CS].base = c->seg[CS].sel = 0;
		c->idtr.base = 0x8000;
	}
}

/* RAM goes through the front door, so that cached code is dropped. */
static void clear_ram(void)
{
	static const uint8_t zero[RAM];

	memory_write(rig->m.memory, 0, zero, RAM);
}

static void on_alarm(int sig)
{
	vcpu_request(rig->v, REQ_STOP);
}

static void unmake(void)
{
	rig_destroy(&rigs[1]);
	rig_destroy(&rigs[0]);
}

static void make(void)
{
	static char verify[] = "verify";
	static struct machine_config config = { .engine_options = verify };
	static uint8_t stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };

	rig_create(&rigs[0], &engine_interp, "max", RAM);
	rig_config = &config;
	rig_create(&rigs[1], &engine_jit, "max", RAM);
	sigaltstack(&ss, NULL);          /* translated code keeps the guest's RSP in RSP */
	sigaction(SIGVTALRM, &sa, NULL);
	atexit(unmake);
	made = true;
}

static void single_steps(struct vcpu *v)
{
	v->debug.single_step = true;
	for (unsigned n = 0; n < STEPS; n++) {
		atomic_store(&v->requests, 0);
		if (rig->m.engine->run(v) != EXIT_DEBUG)
			return;
	}
}

/* For a while, or to its end. */
static void translate(struct vcpu *v)
{
	struct itimerval on = { .it_value.tv_usec = RUN_US }, off = { 0 };

	setitimer(ITIMER_VIRTUAL, &on, NULL);
	if (rig->m.engine->run(v) == EXIT_ERROR) {
		fprintf(stderr, "%s\n", v->error.text);
		abort();
	}
	setitimer(ITIMER_VIRTUAL, &off, NULL);
	atomic_store(&v->requests, 0);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct vcpu *v;

	if (!made)
		make();
	if (size <= HEADER)
		return;
	rig = &rigs[!!(data[0] & TRANSLATE)];
	v = rig->v;
	clear_ram();
	set_mode(data[0]);
	set_registers(&v->cpu, le64_get(data + 1));
	rig_code(rig, CODE, data + HEADER, (unsigned)MIN(size - HEADER, (size_t)CODE_MAX));
	v->cpu.rip = CODE;
	rig->m.engine->state_set(v);
	atomic_store(&v->requests, 0);
	if (data[0] & TRANSLATE)
		translate(v);
	else
		single_steps(v);
}
