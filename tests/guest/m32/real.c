/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real-address mode: segments and their 64K limits, unreal mode, the IVT, far
 * transfers, 32-bit operands, what exists and what does not (SDM 3A ch. 20; SDM
 * 2A/2B, "Real-Address Mode Exceptions").  Pieces of 16-bit code run at
 * 0700:0000; INT 0x20 or an exception brings them back through the IVT. */
#include "guest.h"

enum { CODE = 0x7000, STUBS = 0x6000, LOW = 0x5000 };

/* Copied to LOW: from protected to real mode and back. Linear = offset + LOW. */
extern char low_start[], low_end[], low_stub[];
__asm__(".pushsection .text\n"
	"low_start:\n"
	"	pushal\n"
	"	mov %esp, saved_esp\n"
	"	lidt (ivt - low_start + 0x5000)\n"
	"	ljmp $0x38, $(1f - low_start + 0x5000)\n"
	"	.code16\n"
	"1:	mov $0x40, %ax\n"                /* 64K limits */
	"	mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov %ax, %fs; mov %ax, %gs\n"
	"	cmpl $0, %edi; je 2f\n"
	"	mov $0x10, %ax; mov %ax, %fs\n"  /* unreal: FS keeps 4G */
	"2:	mov %cr0, %eax; and $~1, %al; mov %eax, %cr0\n"
	"	ljmp $0, $(3f - low_start + 0x5000)\n"
	"3:	xor %ax, %ax; mov %ax, %fs; mov %ax, %gs\n"
	"	mov $0x700, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
	"	mov $0xff0, %sp\n"
	"	xor %eax, %eax; xor %ebx, %ebx; xor %ecx, %ecx; xor %edx, %edx; xor %ebp, %ebp\n"
	"	ljmp $0x700, $0\n"
	/* every vector's stub pushes its number and comes here */
	"low_stub:\n"
	"	mov %cs, %cs:(seen_cs - low_start + 0x5000)\n"
	"	mov %eax, %cs:(seen_ax - low_start + 0x5000)\n"
	"	pop %ax; mov %ax, %cs:(seen_vector - low_start + 0x5000)\n"
	"	mov %sp, %cs:(seen_sp - low_start + 0x5000)\n"
	"	xor %ax, %ax; mov %ax, %ds\n"
	"	pop (seen_frame - low_start + 0x5000)\n"
	"	pop (seen_frame - low_start + 0x5002)\n"
	"	pop (seen_frame - low_start + 0x5004)\n"
	"	mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
	"	ljmpl $8, $(4f - low_start + 0x5000)\n"
	"	.code32\n"
	"4:	mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
	"	mov saved_esp, %esp\n"
	"	lidt idtr\n"
	"	popal\n"
	"	ret\n"
	"ivt:	.word 0x3ff; .long 0\n"
	"seen_cs: .word 0\n"
	"seen_vector: .word 0\n"
	"seen_sp: .word 0\n"
	"seen_frame: .word 0, 0, 0\n"
	"	.balign 4\n"
	"seen_ax: .long 0\n"
	"low_end:\n"
	".popsection");
extern char seen_vector[], seen_sp[], seen_frame[], seen_ax[];
uint32_t saved_esp;
const void *volatile code_start, *volatile code_end;

static uint16_t seen(const char *what, unsigned n)
{
	return ((uint16_t *)(LOW + (what - low_start)))[n];
}

static void setup(void)
{
	uint8_t *stub = (uint8_t *)STUBS;
	uint32_t *ivt = NULL;

	__asm__("" : "+r"(ivt));                  /* address 0 is an array here */
	__builtin_memcpy((void *)LOW, low_start, low_end - low_start);
	for (unsigned i = 0; i < 256; i++, stub += 8) {
		stub[0] = 0x6a;                   /* push imm8 */
		stub[1] = i;
		stub[2] = 0xe9;                   /* jmp rel16 */
		*(uint16_t *)(stub + 3) = LOW + (low_stub - low_start) - (STUBS + i * 8 + 5);
		ivt[i] = STUBS + i * 8;
	}
}

static void run(const char *what, bool unreal)
{
	__builtin_memset((void *)CODE, 0x90, 0x1000);
	__builtin_memcpy((void *)CODE, code_start, code_end - code_start);
	__asm__ volatile("call *%0" :: "r"(LOW), "D"((uint32_t)unreal) : "memory", "cc");
	say("%s: ", what);
	if ((uint8_t)seen(seen_vector, 0) == 0x20)
		say("end");
	else
		say("#%u at %x:%x", seen(seen_vector, 0) & 0xff, seen(seen_frame, 1), seen(seen_frame, 0));
	say(" eax %x sp %x\n", seen(seen_ax, 0) | (unsigned)seen(seen_ax, 1) << 16, seen(seen_sp, 0));
}

#define REAL_(what, unreal, code) do { \
	__asm__(".pushsection .rodata\n771:\n.code16\n" code "\nint $0x20\n.code32\n772:\n.popsection\n" \
		"movl $771b, code_start; movl $772b, code_end"); \
	run(what, unreal); } while (0)
#define REAL(what, code) REAL_(what, false, code)

static void segments(void)
{
	REAL("MOV", "mov $0x1234, %ax; mov %ax, %ds; mov %ds, %ax");
	REAL("segment base", "movl $0x55aa1234, 0x900; mov $0x710, %ax; mov %ax, %es; mov %es:0x800, %eax");
	REAL("word at 0xffff", "mov 0xffff, %ax");
	REAL("byte at 0xffff", "mov $1, %ax; mov 0xffff, %bl");
	REAL("dword at 0xfffd", "mov 0xfffd, %eax");
	REAL("32-bit offset over the limit", "mov $0x10000, %ebx; mov (%ebx), %al");
	REAL_("the same in unreal mode", true, "mov $0x107000, %ebx; mov %fs:(%ebx), %al; xor %ax, %ax; mov %ax, %fs; mov %fs:(%ebx), %al; mov $7, %eax");
	REAL("stack word at 0xffff", "mov $0xffff, %bp; mov (%bp), %ax");
	REAL("write through CS", "movw $0x77, %cs:0x900; mov 0x900, %ax");
	REAL("LDS", "movl $0x12345678, 0x900; lds 0x900, %bx; mov %ds, %ax");
	REAL("IP over the limit", "mov $0x10000, %eax; jmp *%eax");
}

static void transfers(void)
{
	REAL("far JMP", "ljmp $0x710, $0x20; .org 771b + 0x120; mov %cs, %ax");
	REAL("far CALL, RET", "lcall $0x700, $0x20; mov $5, %ax; int $0x20; .org 771b + 0x20; lret");
	REAL("far RET 2", "push %ax; push %cs; push $0x20; lret $2; .org 771b + 0x20; mov %sp, %ax");
	REAL("32-bit far CALL pushes 8 bytes", "lcalll $0x700, $0x20; .org 771b + 0x20; mov %sp, %ax");
	REAL("IRET", "pushf; push %cs; push $0x20; iret; .org 771b + 0x20; mov %sp, %ax");
	REAL("IRETD", "pushl $0x40002; pushl $0x700; pushl $0x20; iretl; .org 771b + 0x20; pushfl; pop %eax");
	REAL("INT clears IF and TF, pushes FLAGS", "pushw $0x202; popf; int $0x21");
	say("  flags %x\n", seen(seen_frame, 2));
	REAL("INT3", "int3");
	REAL("INTO", "mov $0x7f, %al; inc %al; into");
	REAL("BOUND", "movl $0x00090005, 0x900; mov $3, %ax; bound %ax, 0x900");
	REAL("divide", "xor %cx, %cx; div %cl");
	REAL("POPF may set IOPL and IF", "pushw $0x3202; popf; pushf; pop %ax; cli");
}

static void what_exists(void)
{
	REAL("LLDT", "lldt %ax");
	REAL("LTR", "ltr %ax");
	REAL("SLDT", "sldt %ax");
	REAL("VERR", "verr %ax");
	REAL("ARPL", ".byte 0x63, 0xc0");
	REAL("LAR", "lar %ax, %ax");
	REAL("SYSENTER", "sysenter");
	REAL("SYSCALL", "syscall");
	REAL("VEX", ".byte 0xc5, 0xf8, 0x77");
	REAL("SGDT", "sgdt 0x900; mov 0x900, %ax");
	REAL("SMSW", "smsw %ax; and $1, %eax");
	REAL("MOV CR0", "mov %cr0, %eax; and $1, %eax");
	REAL("CLTS", "clts");
	REAL("RDMSR", "mov $0x10, %cx; rdmsr; xor %eax, %eax");
	REAL("unknown MSR", "mov $0x12345, %ecx; rdmsr");
	REAL("CR0.PG without PE", "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0");
	REAL("LOCK NOP", "lock; nop");
	REAL("32-bit registers", "mov $0x12345678, %ebx; lea 1(%ebx,%ebx,2), %eax");
	REAL("vector beyond the IVT: #GP", "lidt %cs:1f - 771b; int $0x21; 1: .word 0x7f; .long 0");
	REAL("single-step", "pushw $0x102; popf; nop; nop");
}

int main(void)
{
	setup();
	segments();
	transfers();
	what_exists();
	return 0;
}
