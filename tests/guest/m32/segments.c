/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment loads, limits and types in protected mode (SDM 3A 5.3 to 5.6; MOV,
 * POP, LxS, LAR, LSL, VERR, VERW, ARPL in SDM 2A/2B). */
#include "guest.h"

enum { S = SEL_FREE };
static volatile uint32_t *const desc_hi = (uint32_t *)&gdt[S / 8] + 1;
uint8_t buffer[65536] __attribute__((aligned(4096)));
uint64_t far_pointer;
ulong result;

/* Entry S becomes this; %esi is S when the code starts. */
static void set(uint32_t limit, uint8_t type, uint8_t flags)
{
	gdt[S / 8] = make_desc((ulong)buffer, limit, type, flags);
}

#define LOAD(what, sreg, sel) TRY(what, "mov %%eax, %%" sreg, sel)
#define WITH_FS(what, code) TRY(what, "mov %%eax, %%fs; " code, S)

static void loads(void)
{
	LOAD("DS null", "ds", 0);
	LOAD("DS null with RPL 3", "ds", 3);
	LOAD("SS null", "ss", 0);
	LOAD("DS beyond the GDT", "ds", 0x800);
	LOAD("SS beyond the GDT", "ss", 0x800);
	TRY("LLDT null", "lldt %%ax", 0);
	LOAD("DS from the missing LDT", "ds", 0x0c);
	set(0xffff, 0x13, 0);
	LOAD("DS data not present", "ds", S);
	LOAD("SS data not present", "ss", S);
	set(0xffff, 0x98, 0);
	LOAD("DS execute-only code", "ds", S);
	LOAD("SS execute-only code", "ss", S);
	set(0xffff, 0x9a, 0);
	LOAD("DS readable code", "ds", S);
	LOAD("SS readable code", "ss", S);
	set(0xffff, 0x90, 0);
	LOAD("DS read-only data", "ds", S);
	say("  accessed %x\n", *desc_hi >> 8 & 1);
	LOAD("SS read-only data", "ss", S);
	set(0xffff, 0x92, 0);
	LOAD("DS, RPL 3 > DPL 0", "ds", S | 3);
	say("  accessed %x\n", *desc_hi >> 8 & 1);
	LOAD("SS, RPL 3, CPL 0", "ss", S | 3);
	set(0xffff, 0xf2, 0);
	LOAD("DS, DPL 3", "ds", S | 3);
	LOAD("SS, DPL 3, CPL 0", "ss", S);
	set(0xffff, 0x82, 0);
	LOAD("DS system descriptor", "ds", S);
	set(0xffff, 0x9e, 0);
	LOAD("DS conforming code, RPL 3 over DPL 0", "ds", S | 3);
	LOAD("FS limit of table cuts the descriptor", "fs", 0x7f8);
	TRY("POP DS null", "pushl $0; pop %%ds");
	TRY("POP SS bad selector keeps ESP", "mov %%esp, %%ebx; pushl $0x800; pop %%ss");
	say("  esp moved %lu\n", trap.bx - trap.sp_);
	far_pointer = (uint64_t)S << 32 | 0x12345678;
	set(0xffff, 0x92, 0);
	TRY("LFS", "lfs far_pointer, %%eax; mov %%eax, result");
	say("  %lx accessed %x\n", result, *desc_hi >> 8 & 1);
	far_pointer = 0x800ull << 32 | 0x12345678;
	TRY("LGS bad selector keeps the register", "mov $0x77, %%eax; lgs far_pointer, %%eax");
	say("  eax %lx\n", trap.ax);
}

static void limits(void)
{
	set(0xfff, 0x92, 4);
	WITH_FS("byte at the limit", "mov %%fs:0xfff, %%al");
	WITH_FS("byte above the limit", "mov %%fs:0x1000, %%al");
	WITH_FS("dword across the limit", "mov %%fs:0xffd, %%eax");
	WITH_FS("dword up to the limit", "mov %%fs:0xffc, %%eax");
	WITH_FS("offset wraps", "mov %%fs:0xffffffff, %%ax");
	set(0xf, 0x92, 0xc);
	WITH_FS("page granularity, last byte", "mov %%fs:0xffff, %%al");
	WITH_FS("page granularity, one more", "mov %%fs:0x10000, %%al");
	set(0xfff, 0x96, 4);
	WITH_FS("expand-down, at the limit", "mov %%fs:0xfff, %%al");
	WITH_FS("expand-down, above the limit", "mov %%fs:0x1000, %%al");
	WITH_FS("expand-down, straddles", "mov %%fs:0xffe, %%eax");
	set(0xfff, 0x96, 0);
	WITH_FS("expand-down 16-bit, at 0xffff", "mov %%fs:0xffff, %%al");
	WITH_FS("expand-down 16-bit, above", "mov %%fs:0x10000, %%al");
	set(0xfff, 0x90, 4);
	WITH_FS("read of read-only", "mov %%fs:0, %%al");
	WITH_FS("write of read-only", "mov %%al, %%fs:0");
	WITH_FS("read-modify-write of read-only", "incl %%fs:0");
	set(0xfff, 0x9a, 4);
	WITH_FS("read of code", "mov %%fs:0, %%al");
	WITH_FS("write of code", "mov %%al, %%fs:0");
	TRY("read through CS", "mov %%cs:buffer, %%al");
	TRY("write through CS", "mov %%al, %%cs:buffer");
	TRY("null FS", "xor %%eax, %%eax; mov %%eax, %%fs; mov %%fs:0, %%al");
	set(0xfff, 0x92, 4);
	TRY("LEA knows no limit", "mov %%eax, %%fs; .byte 0x64; lea 0x123456, %%eax", S);
	set(0xfff, 0xf2, 4);
	TRY_USER("push below a stack: #SS", "mov %%eax, %%ss; mov $2, %%esp; push %%eax", S | 3);
	say("  esp %lx\n", trap.sp);
	TRY_USER("EBP-based access above SS's limit",
		 "mov %%eax, %%ss; mov $0x1000, %%ebp; mov (%%ebp), %%eax", S | 3);
	set(0xffff, 0xf2, 0);
	TRY_USER("16-bit stack, dword at 0xfffe", "mov %%eax, %%ss; mov $0x12340002, %%esp; pushl $5", S | 3);
	say("  sp %lx\n", trap.sp & 0xffff);
	TRY_USER("16-bit stack, word at 0", "mov %%eax, %%ss; mov $0x12340000, %%esp; pushw $5; mov %%esp, %%ecx", S | 3);
	say("  esp %lx\n", trap.cx);
}

#define ASK(what, code, sel) do { \
	result = 0x5555; \
	TRY_RUN(TRY_LOAD_ARG "mov $0x77, %%ecx; ", code "; mov %%ecx, result; jz 1f; movl $0xdead, result; 1:", "", sel); \
	if (trap.vector == ~0ul) say("%s: %lx\n", what, result); else report(what); } while (0)

static void ask_one(const char *what, uint32_t sel)
{
	say("%s\n", what);
	ASK(" LAR", "lar %%eax, %%ecx", sel);
	ASK(" LSL", "lsl %%eax, %%ecx", sel);
	ASK(" VERR", "verr %%ax", sel);
	ASK(" VERW", "verw %%ax", sel);
}

static void ask(void)
{
	ask_one("null", 0);
	ask_one("beyond", 0x800);
	set(0x12345, 0xf2, 0xc);
	ask_one("data, DPL 3", S);
	set(0x12345, 0x90, 0x4);
	ask_one("data, read-only", S);
	ask_one("data, RPL 3 > DPL", S | 3);
	set(0x12345, 0x10, 0x4);
	ask_one("data, not present", S);
	set(0x12345, 0x98, 0x4);
	ask_one("code, execute-only", S);
	set(0x12345, 0x9e, 0x4);
	ask_one("code, conforming, RPL 3", S | 3);
	for (unsigned t = 0; t < 16; t++) {
		say("system type %x\n", t);
		set(0x67, 0x80 | t, 0);
		ASK(" LAR", "lar %%eax, %%ecx", S);
		ASK(" LSL", "lsl %%eax, %%ecx", S);
	}
	TRY("ARPL raises", "mov $0x10, %%ecx; mov $0x13, %%edx; arpl %%dx, %%cx; mov %%ecx, result; jz 1f; ud2; 1:");
	say("  %lx\n", result);
	TRY("ARPL leaves", "mov $0x13, %%ecx; mov $0x10, %%edx; arpl %%dx, %%cx; mov %%ecx, result; jnz 1f; ud2; 1:");
	say("  %lx\n", result);
}

static void tables(void)
{
	TRY("LLDT null", "lldt %%ax", 0);
	TRY("LLDT of a data segment", "lldt %%ax", SEL_DATA);
	TRY("LLDT in the LDT", "lldt %%ax", S | 4);
	set(0x17, 0x02, 0);
	TRY("LLDT not present", "lldt %%ax", S);
	set(0x17, 0x82, 0);
	TRY("LLDT", "lldt %%ax; sldt %%ebx; mov %%ebx, result", S);
	say("  sldt %lx\n", result);
	*(uint64_t *)(buffer + 8) = make_desc(0, 0xfffff, D_DATA, 0xc);
	LOAD("DS from the LDT", "ds", 0x0c);
	LOAD("DS past the LDT", "ds", 0x1c);
	LOAD("DS, LDT entry 0 is no null selector", "ds", 0x04);
	LOAD("DS, LDT entry 2 not present, no data", "ds", 0x14);
	TRY("LTR null", "ltr %%ax", 0);
	TRY("LTR busy", "ltr %%ax", SEL_TSS);
	TRY("LTR beyond", "ltr %%ax", 0x800);
	set(0x67, 0x09, 0);
	TRY("LTR not present", "ltr %%ax", S);
	gdt[SEL_TSS / 8] &= ~(2ull << 40);
	TRY("LTR", "ltr %%ax; str %%ebx; mov %%ebx, result", SEL_TSS);
	say("  str %lx busy %x\n", result, (unsigned)(gdt[SEL_TSS / 8] >> 41) & 1);
	TRY("SGDT", "sgdt buffer");
	say("  limit %x same base %x\n", *(uint16_t *)buffer, *(uint32_t *)(buffer + 2) == (ulong)gdt);
	write_cr4(read_cr4() | 0x800);
	TRY_USER("SGDT, UMIP", "sgdt buffer");
	TRY_USER("SIDT, UMIP", "sidt buffer");
	TRY_USER("SLDT, UMIP", "sldt %%eax");
	TRY_USER("STR, UMIP", "str %%eax");
	TRY_USER("SMSW, UMIP", "smsw %%eax");
	TRY("SMSW at CPL 0, UMIP", "smsw %%eax");
	write_cr4(read_cr4() & ~0x800ul);
	TRY_USER("SMSW", "smsw %%eax");
	TRY_USER("CPL 3 loads DS with DPL 0", "mov %%eax, %%ds", SEL_DATA);
	TRY_USER("CPL 3 loads SS with DPL 0", "mov $0x10, %%eax; mov %%eax, %%ss");
	TRY_USER("CPL 3 VERR of DPL 0", "mov $0x10, %%eax; verr %%ax; jnz 1f; ud2; 1:");
}

int main(void)
{
	loads();
	limits();
	ask();
	tables();
	return 0;
}
