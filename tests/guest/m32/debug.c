/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug registers, single-step, RF, and how MOV SS holds them back (SDM 3B
 * ch. 17; SDM 3A 6.8.3).  Each #DB is noted: DR6, EIP from the start, RF. */
#include "guest.h"

static void write_dr(unsigned n, ulong v)
{
	switch (n) {
	case 0: __asm__ volatile("mov %0, %%dr0" :: "r"(v)); break;
	case 1: __asm__ volatile("mov %0, %%dr1" :: "r"(v)); break;
	case 6: __asm__ volatile("mov %0, %%dr6" :: "r"(v)); break;
	case 7: __asm__ volatile("mov %0, %%dr7" :: "r"(v)); break;
	}
}

static struct { ulong dr6, ip, rf; } hits[16];
static unsigned nhits;
static bool resume_rf;       /* a breakpoint's handler sets RF */
ulong stop;                  /* single-step: the handler clears TF after so many */
uint8_t data[64] __attribute__((aligned(64)));
extern char point[], point2[];

static bool note(struct trap *t)
{
	if (t->vector != 1)
		return false;
	if (nhits < 16) {
		hits[nhits].dr6 = trap_dr6 & 0xe00f;
		hits[nhits].ip = t->ip - trap_start;
		hits[nhits++].rf = t->flags >> 16 & 1;
	}
	write_dr(6, 0);
	if (resume_rf)
		t->flags |= 0x10000;
	if (nhits >= stop)
		t->flags &= ~0x100ul;
	return true;
}

static void show(const char *what)
{
	write_dr(7, 0x400);
	report(what);
	for (unsigned i = 0; i < nhits; i++)
		say("  dr6 %lx ip+%lu rf %lu\n", hits[i].dr6, hits[i].ip, hits[i].rf);
}

#define STEP(what, n, code) do { \
	nhits = 0; stop = n; \
	TRY_RUN("mov %%ss, %%ebx; pushfl; orl $0x100, (%%esp); popfl; ", code, ""); show(what); } while (0)

static void single_step(void)
{
	STEP("single-step: after each instruction", 3, "nop; nop; nop; nop");
	STEP("POPF clearing TF still traps once", 9, "pushl $2; popfl; nop; nop");
	STEP("MOV SS holds the trap back", 3, "nop; mov %%ebx, %%ss; nop; nop; nop");
	STEP("POP SS holds the trap back", 3, "push %%ss; pop %%ss; nop; nop; nop");
	STEP("MOV DS is no shadow", 3, "nop; mov %%ebx, %%ds; nop; nop");
	STEP("REP: after each iteration", 4, "mov $3, %%ecx; mov $data, %%edi; rep stosb; nop; nop");
	STEP("a fault has no trap of its own", 9, "ud2");
	STEP("CLI, STI are no shadow for it", 3, "cli; nop; nop; nop");
	STEP("INT n: no trap inside the handler", 9, "int $0x90");
	STEP("JMP", 2, "jmp 1f; nop; nop; 1: nop; nop");
	TRY_RUN("", "pushl $0x102; popfl; nop; nop", "");
	nhits = 0;
	stop = 1;
	STEP("ICEBP", 1, ".byte 0xf1; nop");
	STEP("HLT ends at once", 1, "hlt; nop");
	STEP("PUSHF shows TF", 1, "pushfl; popl %%eax");
}

static void run_breakpoints(const char *what, ulong dr7)
{
	nhits = 0;
	stop = 0;
	write_dr(6, 0);
	write_dr(7, dr7 | 0x400);
	TRY_RUN("", "nop\n point: nop\n nop\n point2: movl $5, data\n nop", "");
	show(what);
}

static void instruction(void)
{
	resume_rf = true;
	write_dr(0, (ulong)point);
	write_dr(1, (ulong)point2);
	run_breakpoints("instruction, L0", 1);
	run_breakpoints("instruction, G0", 2);
	run_breakpoints("instruction, off", 0);
	run_breakpoints("both", 5);
	write_dr(1, (ulong)data);
	run_breakpoints("instruction and write of a dword", 5 | 0xd << 20);
	write_dr(0, (ulong)point);
	write_dr(1, (ulong)point);
	run_breakpoints("two at one place", 5);
	resume_rf = false;
	nhits = 0;
	write_dr(7, 0x401);
	/* RF set by IRET: the breakpoint is passed over once */
	TRY_RUN("", "pushl $0x10002; pushl %%cs; pushl $point3; iretl; point3: nop; nop", "");
	show("IRET with RF to an instruction breakpoint");
}

static void data_breakpoints(void)
{
#define DATA(what, dr7, code) do { \
	nhits = 0; write_dr(6, 0); write_dr(7, (dr7) | 0x401); \
	TRY_RUN("", code, ""); show(what); } while (0)
	write_dr(0, (ulong)data + 4);
	DATA("write, 4 bytes: hit", 0xd << 16, "movl $1, data + 4; nop");
	DATA("write, read does not hit", 0xd << 16, "movl data + 4, %%eax; nop");
	DATA("access, read hits", 0xf << 16, "movl data + 4, %%eax; nop");
	DATA("access, instruction fetch does not", 0xf << 16, "nop");
	DATA("write, byte 3 of 4", 0xd << 16, "movb $1, data + 7; nop");
	DATA("write, just behind", 0xd << 16, "movb $1, data + 8; nop");
	DATA("write, overlaps from below", 0xd << 16, "movl $1, data + 1; nop");
	DATA("write, 1 byte", 0x1 << 16, "movb $1, data + 5; movb $1, data + 4; nop");
	DATA("write, 2 bytes", 0x5 << 16, "movb $1, data + 6; movb $1, data + 5; nop");
	DATA("RMW hits once", 0xf << 16, "incl data + 4; nop");
	DATA("REP STOSB hits in the middle", 0x1 << 16, "mov $8, %%ecx; mov $data, %%edi; rep stosb; nop");
	DATA("push", 0xd << 16, "mov %%esp, %%ebx; mov $data + 8, %%esp; push %%eax; mov %%ebx, %%esp; nop");
	DATA("MOV SS with a hit: after the next one", 0xf << 16, "movl $0x10, data + 4; mov data + 4, %%ss; nop; nop");
	DATA("faulting write does not hit", 0xd << 16, "mov $0x800, %%ecx; lock; .byte 0x0f, 0x0b");
	write_dr(0, 0x61);
	write_cr4(read_cr4() | 8);
	DATA("I/O, DE=1", 0x2 << 16, "in $0x61, %%al; nop");
	DATA("I/O other port", 0x2 << 16, "in $0x64, %%al; nop");
	write_cr4(read_cr4() & ~8ul);
}

static void registers(void)
{
	write_dr(7, 0x400);
	trap_hook = NULL;
	TRY("DR7 with GD, read of DR0", "mov $0x2400, %%eax; mov %%eax, %%dr7; mov %%dr0, %%ebx");
	say("  dr6 %lx rf %lx\n", trap_dr6 & 0xe00f, trap.flags >> 16 & 1);
	TRY("GD is clear in the handler", "mov %%dr7, %%eax; test $0x2000, %%eax; jz 1f; ud2; 1:");
	TRY("DR4 is DR6", "xor %%eax, %%eax; mov %%eax, %%dr6; mov %%dr4, %%eax; mov %%eax, data");
	say("  %x\n", *(uint32_t *)data);
	TRY("DR5 is DR7", "mov %%dr5, %%eax; mov %%eax, data");
	say("  %x\n", *(uint32_t *)data);
	write_cr4(read_cr4() | 8);
	TRY("DR4 with DE", "mov %%dr4, %%eax");
	TRY("DR5 with DE", "mov %%eax, %%dr5");
	write_cr4(read_cr4() & ~8ul);
	TRY("DR6 fixed bits", "mov $0xffffffff, %%eax; mov %%eax, %%dr6; mov %%dr6, %%eax; mov %%eax, data");
	say("  %x\n", *(uint32_t *)data);
	TRY("DR7 fixed bits", "mov $0, %%eax; mov %%eax, %%dr7; mov %%dr7, %%eax; mov %%eax, data");
	say("  %x\n", *(uint32_t *)data);
	TRY_USER("CPL 3 reads DR0", "mov %%dr0, %%eax");
	TRY("INT 1", "int $1");
	TRY_USER("CPL 3 INT 1", "int $1");
	TRY_USER("CPL 3 ICEBP", ".byte 0xf1");
}

int main(void)
{
	trap_gate(0x90, 0xee, 0);
	trap_hook = note;
	single_step();
	instruction();
	data_breakpoints();
	registers();
	return 0;
}
