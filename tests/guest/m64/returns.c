/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls of user code and where they return to, run often enough for a translator to pair
 * them: the address on the stack alone decides, whatever has become of it, of the code there
 * and of its mapping meanwhile (SDM 2A RET, 3A 4.10.4, 8.1.3). */
#include "mapped.h"
#include "ticks.h"

frame stack[8];

/* Two pages of code, a function each 128 bytes; EDX adds up. */
__asm__(".section .rodata\n.balign 4096\ncode_first:"
	" call 1f\n call code_second\n add $0x10, %edx\n ret\n1: inc %edx\n ret\n"
	" .org code_first + 0x80\n call 1f\n inc %edx\n add $3, %edx\n ret\n1: addq $2, (%rsp)\n ret\n"
	" .org code_first + 0x100\n push $7\n call 1f\n add $1, %edx\n ret\n1: add 8(%rsp), %edx\n ret $8\n"
	" .org code_first + 0x180\n call 1f\n1: pop %rax\n lea 1b(%rip), %rcx\n xor %rax, %rcx\n add %ecx, %edx\n inc %edx\n ret\n"
	" .org code_first + 0x200\n mov %rsp, %rbp\n lea stack+0x7000, %rsp\n mov $1500, %ecx\n call 1f\n mov %rbp, %rsp\n ret\n"
	"1: dec %ecx\n jz 2f\n call 1b\n2: inc %edx\n ret\n"
	" .org code_first + 0x280\n mov %rsp, %rbp\n call 1f\n add $100, %edx\n1: call 2f\n add $100, %edx\n2: call 3f\n add $100, %edx\n"
	"3: inc %edx\n mov %rbp, %rsp\n ret\n"
	" .org code_first + 0x300\n lea 1f(%rip), %rax\n push %rax\n ret\n add $100, %edx\n1: inc %edx\n ret\n"
	" .org code_first + 0x380\n call 1f\n2: mov $16, %eax\n add %eax, %edx\n ret\n1: incb 2b + 1(%rip)\n ret\n"
	" .org code_first + 0x400\n lea 1f(%rip), %rax\n call *%rax\n inc %edx\n stc\n call 2f\n adc $0, %edx\n ret\n"
	"1: add $0x10, %edx\n ret\n2: ret\n"
	" .org code_first + 0x480\n call code_second + 0x80\n mov $0xa1, %eax\n add %eax, %edx\n ret\n"
	" .org code_first + 0x500\n1: call 1f\n1: pop %rax\n cmpl $0, enough\n jne 2f\n call 1b\n2: ret\n"
	" .org code_first + 0x580\n call 1f\n ret\n1: cmpl $0, enough\n jne 2f\n subq $5, (%rsp)\n2: ret\n"
	" .org code_first + 0x600\n lea stack+0x7000, %rdi\n xchg %rsp, %rdi\n lea 1f(%rip), %rax\n push %rax\n xchg %rsp, %rdi\n call 2f\n"
	" inc %edx\n ret\n1: add $0x10, %edx\n xchg %rsp, %rdi\n ret\n2: inc %edx\n xchg %rsp, %rdi\n ret\n"
	" .org code_first + 0x680\n .rept 30\n cmpl $0, enough\n jne 2f\n call 1f\n call 1f\n2: ret\n1:\n .endr\n ret\n"
	" .org code_first + 4096\n"
	"code_second: add $0x100, %edx\n ret\n"
	" .org code_second + 0x80\n cmp $1, %r15d\n jne 1f\n hlt\n1: inc %edx\n ret\n"
	" .org code_second + 4096\n .text\n");

static void addresses(void)
{
	DRIVE("in turn", "0", "5000");
	DRIVE("behind the next instruction", "0x80", "5000");
	DRIVE("RET n", "0x100", "5000");
	DRIVE("to the next instruction", "0x180", "5000");
	DRIVE("deep", "0x200", "50");
	DRIVE("over several calls", "0x280", "5000");
	DRIVE("of no call", "0x300", "5000");
	DRIVE("to changed code", "0x380", "3000");
	DRIVE("by a register, flags", "0x400", "5000");
	DRIVE("on another stack", "0x600", "5000");
}

static uint64_t meanwhile;
static bool by_cr3;

/* HLT: the caller's page goes elsewhere. */
static bool remap(struct trap *t)
{
	if (t->vector != 13)
		return false;
	pt[0] = meanwhile;
	if (by_cr3)
		write_cr3(read_cr3());
	else
		invlpg((void *)TOP);
	t->ip++;
	return true;
}

static void mapping(const char *what, const frame f, uint64_t rights)
{
	meanwhile = (ulong)f | rights;
	DRIVE(what, "0x480", "3000");
	if (trap.vector == 14)
		say("  %lx at %lx\n", trap_cr2 - TOP, trap.ip - TOP);
	set(0, first, P | W | U);
}

static void mappings(void)
{
	trap_hook = remap;
	for (unsigned n = 0; n < 2; n++) {
		by_cr3 = n;
		mapping("the same page", first, P | W | U);
		mapping("another page", third, P | W | U);
		mapping("not present", first, 0);
		mapping("supervisor", first, P);
		mapping("another page", third, P | W | U);
	}
	trap_hook = NULL;
}

#define TO(what, value) do { \
	TRY_USER("to " what, "movabs $" value ", %%rax; push %%rax; ret"); \
	say("  %lx, CR2 %lx, %ld\n", trap.vector == 13 ? 0 : trap.ip, trap.vector == 13 ? 0 : trap_cr2, trap.sp - (ulong)user_stack); } while (0)

static void faults(void)
{
	for (unsigned n = 0; n < 2; n++) {
		TO("what is not canonical", "0x4000000000000000");
		TO("the last byte", "0xffffffffffffffff");
		TO("the first byte", "0");
	}
}

/* They end when the timer has ticked often enough. */
#define WAIT(what, where, first) do { \
	ticks_begin(first); \
	DRIVE(what, where, "1"); \
	say("  %s\n", ticks_end()); } while (0)

static void interrupts(void)
{
	ticks_prepare();
	user_flags |= 0x200;
	WAIT("a loop of calls", "0x500", TICK_COUNT);
	WAIT("a loop of returns", "0x580", TICK_COUNT);
	WAIT("a tree of calls", "0x680", 300000000);   /* of 30 levels, hot by then */
}

int main(void)
{
	map(TOP);
	copy(first, code_first, 4096);
	copy(second, code_second, 4096);
	copy(third, code_first, 4096);
	third[0x486] = 0xb2;
	pt[0] = (ulong)first | P | W | U;
	pt[1] = (ulong)second | P | U;
	write_cr3(read_cr3());
	addresses();
	mappings();
	faults();
	interrupts();
	return 0;
}
