/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables, printing and the end of guest test programs; see guest.h. */
#include "guest.h"

extern char trap_stubs[], trap_stack[];
void lib_setup(void);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
void trap_unexpected(void) __attribute__((noreturn));

uint64_t gdt[256];
struct dtr gdtr = { sizeof(gdt) - 1, (ulong)gdt };
#ifdef __x86_64__
uint64_t idt[512];
uint8_t tss[104 + 8192 + 1] __attribute__((aligned(16)));
#else
uint64_t idt[256];
uint8_t tss[104 + 32 + 8192 + 1] __attribute__((aligned(16)));
#endif
struct dtr idtr = { sizeof(idt) - 1, (ulong)idt };

volatile struct trap trap;
volatile ulong trap_ds, trap_es, trap_cr2, trap_dr6, trap_count, trap_resume, trap_sp, trap_bp, trap_start;
bool (*trap_hook)(struct trap *t);
ulong user_flags = 2, try_arg;

uint64_t make_desc(uint32_t base, uint32_t limit, uint8_t type, uint8_t flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

uint64_t make_gate(ulong offset, uint16_t sel, uint8_t type, uint8_t count)
{
	return (offset & 0xffff) | (uint64_t)sel << 16 | (uint64_t)count << 32 |
	       (uint64_t)type << 40 | (uint64_t)(offset >> 16 & 0xffff) << 48;
}

void trap_gate(unsigned vector, uint8_t type, unsigned ist)
{
	ulong stub = (ulong)trap_stubs + vector * 16;

#ifdef __x86_64__
	idt[vector * 2] = make_gate(stub, SEL_CODE, type, ist);
	idt[vector * 2 + 1] = stub >> 32;
#else
	idt[vector] = make_gate(stub, SEL_CODE, type, 0);
#endif
}

static void setup_tss(void)
{
	ulong top = (ulong)trap_stack;

#ifdef __x86_64__
	*(uint64_t *)(tss + 4) = top;
	*(uint16_t *)(tss + 102) = sizeof(tss);
	gdt[SEL_TSS / 8] = make_desc((ulong)tss, 103, D_TSS, 0);
	gdt[SEL_TSS / 8 + 1] = 0;
#else
	*(uint32_t *)(tss + 4) = top;
	*(uint32_t *)(tss + 8) = SEL_DATA;
	*(uint16_t *)(tss + 102) = 104 + 32;       /* all ports allowed, all INT n redirected */
	tss[sizeof(tss) - 1] = 0xff;
	gdt[SEL_TSS / 8] = make_desc((ulong)tss, sizeof(tss) - 1, D_TSS, 0);
#endif
}

void lib_setup(void)
{
	bool lng = sizeof(ulong) == 8;

	outb(0x21, 0xff);            /* whatever a loader left in the 8259s */
	outb(0xa1, 0xff);
	gdt[SEL_CODE / 8] = make_desc(0, 0xfffff, D_CODE, lng ? 0xa : 0xc);
	gdt[SEL_DATA / 8] = make_desc(0, 0xfffff, D_DATA, 0xc);
	gdt[SEL_UCODE / 8] = make_desc(0, 0xfffff, D_CODE | D_DPL3, lng ? 0xa : 0xc);
	gdt[SEL_UDATA / 8] = make_desc(0, 0xfffff, D_DATA | D_DPL3, 0xc);
	gdt[SEL_OTHER / 8] = make_desc(0, lng ? 0xfffff : 0xffff, D_CODE, lng ? 0xc : 0);
	gdt[SEL_DATA16 / 8] = make_desc(0, 0xffff, D_DATA, 0);
	gdt[SEL_UOTHER / 8] = make_desc(0, lng ? 0xfffff : 0xffff, D_CODE | D_DPL3, lng ? 0xc : 0);
	setup_tss();
	for (unsigned i = 0; i < 256; i++)
		trap_gate(i, i == 3 || i == 4 || i == 0x80 ? 0xee : 0x8e, 0);
}

/* The compiler asks for these. */
void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((char *)to)[i] = c;
	return to;
}

static void put(char c)
{
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, c);
}

static void put_number(ulong v, unsigned base, unsigned digits)
{
	char buf[24];
	unsigned n = 0;

	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v || n < digits);
	while (n)
		put(buf[--n]);
}

void say(const char *fmt, ...)
{
	va_list ap;
	bool lng;
	ulong v;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		lng = *++fmt == 'l';
		fmt += lng;
		if (*fmt == 's') {
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put(*s);
			continue;
		}
		v = lng ? va_arg(ap, ulong) : va_arg(ap, unsigned);
		if (*fmt == 'c')
			put(v);
		else
			put_number(v, *fmt == 'x' ? 16 : 10, 1);
	}
	va_end(ap);
}

static const char *const names[] = {
	"DE", "DB", "NMI", "BP", "OF", "BR", "UD", "NM", "DF", "9", "TS", "NP", "SS", "GP", "PF", "15",
	"MF", "AC", "MC", "XM",
};

static bool has_error(unsigned vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

static void say_trap(void)
{
	if (trap.vector >= sizeof(names) / sizeof(names[0]))
		say("int 0x%lx", trap.vector);
	else if (has_error(trap.vector))
		say("#%s(%lx)", names[trap.vector], trap.error);
	else
		say("#%s", names[trap.vector]);
}

void report(const char *what)
{
	say("%s: ", what);
	if (trap.vector == ~0ul || trap.vector == 0x80) {
		say("ok\n");
		return;
	}
	say_trap();
	if (trap.vector == 14)
		say(" cr2=%lx", trap_cr2);
	say("\n");
}

void trap_unexpected(void)
{
	say("UNEXPECTED ");
	say_trap();
	say(" at %lx:%lx cr2=%lx\n", trap.cs, trap.ip, trap_cr2);
	quit(1);
}

void quit(int status)
{
	outb(0xf4, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}
