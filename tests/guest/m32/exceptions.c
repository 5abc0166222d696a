/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every exception that an instruction can raise in protected mode, with its
 * error code (SDM 3A 6.15) and the saved EIP: faults at, traps after. */
#include "guest.h"

uint8_t page[4096] __attribute__((aligned(4096)));

static void where(void)
{
	say("  ip+%lu\n", trap.ip - trap_start);
}

int main(void)
{
	TRY("divide by zero", "xor %%ecx, %%ecx; div %%ecx");
	TRY("quotient too big", "mov $1, %%edx; mov $1, %%ecx; div %%ecx");
	TRY("INT3", "int3");
	where();
	TRY("INT 3 long form", "int $3");
	where();
	TRY("INTO, OF=0", "xor %%eax, %%eax; into");
	TRY("INTO, OF=1", "mov $0x7f, %%al; inc %%al; into");
	where();
	TRY("BOUND outside", "push $9; push $5; mov $3, %%eax; bound %%eax, (%%esp)");
	TRY("BOUND inside", "push $9; push $5; mov $7, %%eax; bound %%eax, (%%esp)");
	TRY("UD2", "ud2");
	where();
	TRY("LOCK on a register", ".byte 0xf0, 0x01, 0xc8");
	TRY("MOV to CS", ".byte 0x8e, 0xc8");
	TRY("CR1", ".byte 0x0f, 0x20, 0xc8");
	TRY("CR5", ".byte 0x0f, 0x20, 0xe8");
	TRY("16 bytes", ".fill 15, 1, 0x66; nop");
	TRY("15 bytes", ".fill 14, 1, 0x66; nop");
	write_cr0(read_cr0() | 8);
	TRY("FPU with TS", "fnop");
	TRY("FWAIT with TS, MP=0", "fwait");
	write_cr0(read_cr0() | 2);
	TRY("FWAIT with TS, MP=1", "fwait");
	write_cr0((read_cr0() & ~8ul) | 4);
	TRY("FPU with EM", "fnop");
	TRY("SSE with EM", "xorps %%xmm0, %%xmm0");
	write_cr0(read_cr0() & ~4ul);
	TRY("SSE without OSFXSR", "xorps %%xmm0, %%xmm0");
	write_cr0(read_cr0() | 0x20);
	TRY("x87 exception, unmasked", "fninit; pushl $0x373; fldcw (%%esp); fldz; fld1; fdiv %%st(1), %%st; fwait");
	TRY("fninit", "fninit");
	write_cr4(read_cr4() | 0x600);
	TRY("SIMD exception, unmasked", "pushl $0x1f00; ldmxcsr (%%esp); xorps %%xmm0, %%xmm0; divps %%xmm0, %%xmm0");
	TRY("MXCSR reserved bit", "pushl $0x11f80; ldmxcsr (%%esp)");
	TRY("MOVAPS not aligned", "movaps page + 1, %%xmm0");
	TRY("INT 0x55 (present, DPL 0)", "int $0x55");
	TRY_USER("INT 0x55 from CPL 3", "int $0x55");
	TRY_USER("INT3 from CPL 3", "int3");
	TRY_USER("HLT from CPL 3", "hlt");
	TRY_USER("CLI from CPL 3", "cli");
	TRY_USER("IN from CPL 3, bitmap allows", "in $0x61, %%al");
	TRY_USER("CR0 from CPL 3", "mov %%cr0, %%eax");
	TRY_USER("CR1 from CPL 3: #UD goes first", ".byte 0x0f, 0x20, 0xc8");
	TRY_USER("RDMSR from CPL 3", "rdmsr");
	TRY_USER("LGDT from CPL 3", "lgdt gdtr");
	TRY_USER("SGDT from CPL 3", "sgdt page");
	TRY_USER("CLTS from CPL 3", "clts");
	TRY_USER("INVLPG from CPL 3", "invlpg page");
	write_cr0(read_cr0() | 0x40000);
	TRY("misaligned with AM and AC at CPL 0", "pushf; orl $0x40000, (%%esp); popf; mov page + 1, %%eax");
	user_flags = 0x40002;
	TRY_USER("misaligned with AM and AC at CPL 3", "mov page + 1, %%eax");
	TRY_USER("misaligned word", "mov page + 1, %%ax");
	TRY_USER("aligned", "mov page + 4, %%eax");
	return 0;
}
