/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single-step and breakpoints in 64-bit mode: over SYSCALL, SYSRET, SYSENTER,
 * IRETQ and INT n; 8-byte data breakpoints; a breakpoint that MOV SS carries into
 * the kernel (SDM 3B 17.2, 17.3; SDM 3A 6.8.3). */
#include "guest.h"

static struct { ulong dr6, ip, cpl; } hits[8];
static unsigned nhits, stop;
uint8_t data[64] __attribute__((aligned(64)));
extern char entry[], point[];
__asm__(".pushsection .text\n"
	"entry: nop; nop; int $0x90\n"
	".popsection");

static void write_dr(unsigned n, ulong v)
{
	switch (n) {
	case 0: __asm__ volatile("mov %0, %%dr0" :: "r"(v)); break;
	case 6: __asm__ volatile("mov %0, %%dr6" :: "r"(v)); break;
	case 7: __asm__ volatile("mov %0, %%dr7" :: "r"(v)); break;
	}
}

static bool note(struct trap *t)
{
	if (t->vector != 1)
		return false;
	if (nhits < 8) {
		hits[nhits].dr6 = trap_dr6 & 0xe00f;
		hits[nhits].ip = t->ip;
		hits[nhits].cpl = t->cs & 3;
	}
	nhits++;
	write_dr(6, 0);
	if (nhits >= stop)
		t->flags &= ~0x100ul;
	return true;
}

static void show(const char *what)
{
	write_dr(7, 0x400);
	report(what);
	for (unsigned i = 0; i < nhits && i < 8; i++) {
		bool kernel = hits[i].ip - (ulong)entry < 16;

		say("  dr6 %lx %s+%lu cpl %lu\n", hits[i].dr6, kernel ? "entry" : "ip",
		    hits[i].ip - (kernel ? (ulong)entry : trap_start), hits[i].cpl);
	}
	nhits = 0;
}

#define STEP(what, n, code) do { stop = n; TRY_RUN(TRY_LOAD_ARG, code, ""); show(what); } while (0)
#define USTEP(what, n, code) do { stop = n; TRY_RUN(TRY_TO_USER, code, "int $0x80"); show(what); } while (0)

static void fast_calls(void)
{
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	gdt[SEL_FREE / 8] = gdt[SEL_UDATA / 8];
	gdt[SEL_FREE / 8 + 1] = gdt[SEL_UCODE / 8];
	wrmsr(0xc0000081, 8ull << 32 | (uint64_t)(SEL_FREE - 8) << 48);
	wrmsr(0xc0000082, (ulong)entry);
	wrmsr(0xc0000084, 0x100);
	user_flags = 0x102;
	USTEP("SYSCALL, SFMASK clears TF: no trap in the kernel", 9, "nop; syscall");
	wrmsr(0xc0000084, 0);
	USTEP("SYSCALL, TF stays: trap at the entry", 3, "nop; syscall");
	STEP("SYSRET sets TF: trap before the first instruction", 2,
	     "mov $1f, %%ecx; mov $0x102, %%r11d; sysretq; 1: nop; nop; int $0x80");
	wrmsr(0x174, 8);
	wrmsr(0x175, (ulong)kernel_stack - 4096);
	wrmsr(0x176, (ulong)entry);
	USTEP("SYSENTER does not clear TF", 3, "nop; sysenter");
	USTEP("INT n does", 9, "nop; int $0x90");
	user_flags = 2;
}

static void iretq(void)
{
	STEP("IRETQ sets TF: trap after one instruction", 2,
	     "mov %%rsp, %%r12; pushq $0x10; push %%r12; pushq $0x102; pushq $8; pushq $1f; iretq; 1: nop; nop; nop");
	STEP("POPFQ sets TF: after the next", 2, "pushq $0x102; popfq; nop; nop; nop");
	STEP("TF over a 64-bit REP", 3, "mov $2, %%ecx; mov $data, %%edi; pushq $0x102; popfq; rep stosb; nop");
}

static void breakpoints(void)
{
#define DATA(what, dr7, code) do { stop = 0; write_dr(6, 0); write_dr(7, (dr7) | 0x401); \
	TRY_RUN(TRY_LOAD_ARG, code, ""); show(what); } while (0)
	write_dr(0, (ulong)data + 8);
	DATA("8 bytes, last one", 0x9 << 16, "movb $1, data + 15; nop");
	DATA("8 bytes, one behind", 0x9 << 16, "movb $1, data + 16; nop");
	DATA("16-byte store over it", 0x9 << 16, "movq $0, data; cmpxchg16b data; nop");
	write_dr(0, 0x900000000000);
	DATA("a hole may be watched", 0x9 << 16, "nop");
	write_dr(0, (ulong)data);
	*(volatile uint16_t *)data = SEL_DATA;
	DATA("MOV SS hit, then INT n: at the handler", 0xf << 16, "mov data, %%ss; int $0x91");
	*(volatile uint16_t *)data = SEL_UDATA;
	DATA("nothing is left", 0xf << 16, "nop; nop");
	user_flags = 2;
	stop = 0;
	write_dr(7, 0x401 | 0xf << 16);
	TRY_RUN(TRY_TO_USER, "mov data, %%ss; syscall", "");
	show("CPL 3: MOV SS hit, then SYSCALL");
}

int main(void)
{
	trap_gate(0x90, 0xee, 0);
	idt[0x91 * 2] = make_gate((ulong)entry, SEL_CODE, 0xee, 0);
	idt[0x91 * 2 + 1] = 0;
	trap_hook = note;
	fast_calls();
	iretq();
	breakpoints();
	return 0;
}
