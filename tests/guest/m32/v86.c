/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual-8086 mode: what is sensitive to IOPL, entry and exit, VME's virtual
 * interrupt flag and interrupt redirection (SDM 3A ch. 20).  Each piece of
 * 16-bit code ends with HLT, a #GP(0); a case shows what it left. */
#include "guest.h"

enum { CODE = 0x7000, HANDLER = 0x800, IVT_FLAGS = 0x900, VM = 0x20000, VIF = 0x80000,
       VIP = 0x100000, IF = 0x200, IOPL3 = 0x3000, TF = 0x100 };
uint32_t frame[9];
const void *volatile code_start, *volatile code_end;
static uint8_t *const redirection = tss + 104;

/* Enters at 0700:0000 with all segments 0700 and SP ff0. */
static void run(const char *what, uint32_t flags)
{
	__builtin_memset((void *)CODE, 0x90, 0x800);
	__builtin_memcpy((void *)CODE, code_start, code_end - code_start);
	for (unsigned i = 3; i < 9; i++)
		frame[i] = CODE >> 4;
	frame[0] = 0;
	frame[1] = CODE >> 4;
	frame[2] = flags | VM | 2;
	frame[3] = 0xff0;
	TRY_RUN("", "mov $frame, %%esp; xor %%eax, %%eax; iretl", "");
	say("%s: ", what);
	if (trap.vector == 13 && *(uint8_t *)(trap.cs * 16 + trap.ip) == 0xf4)
		say("end");
	else if (trap.vector < 32)
		say("#%lu(%lx) at %lx:%lx", trap.vector, trap.error, trap.cs, trap.ip);
	else
		say("int %lx", trap.vector);
	say(" ax %lx if %x vif %x tf %x sp %lx\n", trap.ax & 0xffff, (unsigned)!!(trap.flags & IF),
	    (unsigned)!!(trap.flags & VIF), (unsigned)!!(trap.flags & TF), trap.sp);
}

#define V86(what, flags, code) do { \
	__asm__(".pushsection .rodata\n771:\n.code16\n" code "\nhlt\n.code32\n772:\n.popsection\n" \
		"movl $771b, code_start; movl $772b, code_end"); \
	run(what, flags); } while (0)

static void plain(void)
{
	V86("IOPL 0: CLI", IF, "cli");
	V86("IOPL 0: STI", 0, "sti");
	V86("IOPL 0: PUSHF", 0, "pushf");
	V86("IOPL 0: POPF", 0, "pushw $2; popf");
	V86("IOPL 0: IRET", 0, "iret");
	V86("IOPL 0: INT 0x55", 0, "int $0x55");
	V86("IOPL 0: INT3", 0, "int3");
	V86("IOPL 0: UD2", 0, "ud2");
	V86("IOPL 0: IN", 0, "in $0x61, %al; xor %ax, %ax");
	V86("IOPL 0: LOCK is fine", 0, "lock incw 0x900");
	V86("IOPL 3: CLI", IF | IOPL3, "cli");
	V86("IOPL 3: STI", IOPL3, "sti");
	V86("IOPL 3: PUSHF", IOPL3, "pushf; pop %ax");
	V86("IOPL 3: PUSHFD hides VM", IOPL3, "pushfl; pop %ax; pop %ax");
	V86("IOPL 3: POPF keeps IOPL", IOPL3, "pushw $0x202; popf; pushf; pop %ax");
	V86("IOPL 3: IRET", IOPL3, "pushw $0x202; pushw $0x700; pushw $32; iret; .org 771b + 32; mov $7, %ax");
	V86("IOPL 3: INT 0x80", IOPL3, "int $0x80");
	say("  segments %lx %lx %lx %lx, handler's %lx %lx\n", trap.v86_es, trap.v86_ds, trap.v86_fs,
	    trap.v86_gs, trap_ds, trap_es);
	V86("IOPL 3: INT of DPL 0", IOPL3, "int $0x55");
}

static void privileged(void)
{
	V86("MOV from CR0", IOPL3, "mov %cr0, %eax");
	V86("LGDT", IOPL3, "lgdt 0x900");
	V86("LMSW", IOPL3, "lmsw %ax");
	V86("SMSW", IOPL3, "smsw %ax; xor %ax, %ax");
	V86("CLTS", IOPL3, "clts");
	V86("RDMSR", IOPL3, "rdmsr");
	V86("SLDT", IOPL3, "sldt %ax");
	V86("LAR", IOPL3, "lar %ax, %ax");
	V86("VERR", IOPL3, "verr %ax");
	V86("ARPL", IOPL3, ".byte 0x63, 0xc0");
	V86("word at ffff", IOPL3, "mov 0xffff, %ax");
	V86("stack word at ffff", IOPL3, "mov $0xffff, %bp; mov (%bp), %ax");
	V86("PUSH at SP 1", IOPL3, "mov $1, %sp; push %ax");
	V86("any segment value", IOPL3, "mov $0x0678, %ax; mov %ax, %ds; movw $0x5a5a, 0x10; mov $0, %ax; mov %ax, %es; mov %es:0x6790, %ax");
	V86("far JMP", IOPL3, "ljmp $0x6ff, $0x20; .org 771b + 16; mov $9, %ax");
	V86("far CALL and RET", IOPL3, "lcall $0x700, $0x10; mov $3, %ax; hlt; .org 771b + 16; lret");
}

static void vme(void)
{
	*(uint16_t *)(0x21 * 4) = HANDLER;
	*(uint16_t *)(0x21 * 4 + 2) = CODE >> 4;
	write_cr4(read_cr4() | 1);
	V86("VME: CLI", VIF, "cli");
	V86("VME: STI", 0, "sti");
	V86("VME: STI with VIP", VIP, "sti");
	V86("VME: CLI with VIP", VIP, "cli");
	V86("VME: PUSHF, VIF=0", IF, "pushf; pop %ax");
	V86("VME: PUSHF, VIF=1", VIF, "pushf; pop %ax");
	V86("VME: PUSHFD", VIF, "pushfl");
	V86("VME: POPF sets VIF", 0, "pushw $0x202; popf");
	V86("VME: POPF clears VIF", VIF, "pushw $0x2; popf");
	V86("VME: POPF with TF", 0, "pushw $0x102; popf");
	V86("VME: POPF IF with VIP", VIP, "pushw $0x202; popf");
	V86("VME: POPF no IF with VIP", VIP, "pushw $0x002; popf");
	V86("VME: POPFD", 0, "pushl $0x202; popfl");
	V86("VME: IRET sets VIF", 0, "pushw $0x202; pushw $0x700; pushw $32; iret; .org 771b + 32; mov $7, %ax");
	V86("VME: IRET with TF", 0, "pushw $0x102; pushw $0x700; pushw $0; iret");
	V86("VME: INT 0x21 redirected", VIF | IF,
	    "int $0x21; .org 771b + 0x700; .org 771b + 0x7fe; nop; nop; mov %sp, %bp; mov 4(%bp), %ax");
	V86("VME: INT 0x21 redirected, IOPL 3", IF | IOPL3,
	    "int $0x21; .org 771b + 0x7fe; nop; nop; mov %sp, %bp; mov 4(%bp), %ax");
	V86("VME: INT 0x21 and IRET", VIF,
	    "int $0x21; mov $6, %ax; hlt; .org 771b + 0x7fe; nop; nop; iret");
	redirection[0x80 / 8] = 1;
	V86("VME: INT 0x80 not redirected, IOPL 0", 0, "int $0x80");
	V86("VME: INT 0x80 not redirected, IOPL 3", IOPL3, "int $0x80");
	V86("VME: INT3 is never redirected", 0, "int3");
	write_cr4(read_cr4() & ~1ul);
}

/* Interrupts must lead to non-conforming code of DPL 0. */
static void gates(void)
{
	gdt[SEL_FREE / 8] = make_desc(0, 0xfffff, 0x9e, 0xc);
	idt[0x92] = make_gate(0x1000, SEL_FREE, 0xee, 0);
	V86("gate to conforming code", IOPL3, "int $0x92");
	idt[0x92] = make_gate(0x1000, SEL_UCODE, 0xee, 0);
	V86("gate to code of DPL 3", IOPL3, "int $0x92");
	TRY("IRET to v86, EIP over 64K", "push $0; push $0; push $0; push $0; push $0; push $0; push $0x20002; push $0; push $0x10000; iretl");
	write_cr4(read_cr4() | 2);
	user_flags = 2;
	TRY_USER("PVI: CLI", "cli");
	TRY_USER("PVI: STI", "sti; pushfl; popl %%eax");
	say("  vif %lx\n", trap.flags >> 19 & 1);
	user_flags = 0x100002;
	TRY_USER("PVI: STI with VIP", "sti");
	user_flags = 0x80002;
	TRY_USER("PVI: POPF leaves IF and VIF", "pushl $0x202; popfl");
	say("  if %lx vif %lx\n", trap.flags >> 9 & 1, trap.flags >> 19 & 1);
}

int main(void)
{
	plain();
	privileged();
	vme();
	gates();
	return 0;
}
