/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Far transfers in long mode: call gates of 16 bytes, compatibility mode and
 * back, RETFQ, 16-byte LDT and TSS descriptors (SDM 3A 5.8.3, 7.2.3; JMP, CALL,
 * RET in SDM 2A/2B). */
#include "guest.h"

enum { S = SEL_FREE, G = SEL_FREE + 16, T = SEL_FREE + 32 };
struct { ulong ip; uint16_t sel; } __attribute__((packed)) target;
extern char landing[], landing32[];
ulong result;
__asm__(".pushsection .text\n"
	"landing: int $0x90\n"
	".code32\n"
	"landing32: mov $0x11, %eax; inc %eax; int $0x90\n"
	".code64\n"
	".popsection");

static void code(uint8_t type, uint8_t flags) { gdt[S / 8] = make_desc(0, 0xfffff, type, flags); }

static void gate(uint8_t type, uint16_t sel, uint64_t ip)
{
	gdt[G / 8] = make_gate(ip, sel, type, 0);
	gdt[G / 8 + 1] = ip >> 32;
}

static void landed(void)
{
	if (trap.vector == 0x90)
		say("  cs %lx ss %lx ax %lx\n", trap.cs & 0xffff, trap.ss & 0xffff, trap.ax & 0xff);
}

static void aim(uint16_t sel, void *ip)
{
	target.ip = (ulong)ip;
	target.sel = sel;
}

/* The default operand is 32 bits: m16:32; REX.W makes it m16:64. */
#define JMP(what, s, ip) do { aim(s, ip); TRY(what, "rex.w ljmp *target", 0x77); landed(); } while (0)
#define CALL(what, s) do { aim(s, landing); TRY(what, "rex.w lcall *target", 0x77); landed(); } while (0)
#define UCALL(what, s) do { aim(s, landing); TRY_USER(what, "rex.w lcall *target", 0x77); landed(); } while (0)

static void direct(void)
{
	JMP("JMP 64-bit code", SEL_CODE, landing);
	JMP("JMP 32-bit code", SEL_OTHER, landing32);
	JMP("JMP not canonical", SEL_CODE, (void *)0x800000000000);
	JMP("JMP 32-bit code, IP over 4G", SEL_OTHER, (void *)0x100000000);
	code(0x9b, 0xe);
	JMP("JMP code with L and D", S, landing);
	code(0x9b, 0x2);
	JMP("JMP 64-bit code without G", S, landing);
	JMP("JMP null", 0, landing);
	JMP("JMP TSS", SEL_TSS, landing);
	gdt[S / 8] = make_gate(0, SEL_TSS, 0x85, 0);
	JMP("JMP task gate", S, landing);
	gdt[S / 8] = make_gate((ulong)landing, SEL_CODE, 0x84, 0);
	JMP("JMP 16-bit call gate", S, landing);
	aim(SEL_CODE, landing);
	TRY("m16:32", "movl $landing, target; movw $8, target + 4; ljmp *target", 0x77);
	landed();
	CALL("CALL 64-bit code", SEL_CODE);
	TRY("CALL and RETFQ", "mov %%rsp, %%r12; movq $1f, target; movw $8, target + 8; rex.w lcall *target; jmp 2f; 1: lretq; 2: cmp %%rsp, %%r12; je 3f; ud2; 3:");
	TRY("compatibility mode and back", "ljmp *1f; 1: .long 2f; .word 0x38; .code32; 2: mov $-1, %%eax; .byte 0x40; ljmp $8, $3f; .code64; 3: mov %%rax, result");
	say("  rax %lx\n", result);
	TRY("RETFQ to a null SS at CPL 3", "pushq $0; pushq $user_stack; pushq $0x1b; pushq $landing; lretq");
	TRY("RETFQ to CPL 3", "pushq $0x23; pushq $user_stack; pushq $0x1b; pushq $landing; lretq", 0x77);
	landed();
	TRY("RETFQ not canonical", "pushq $8; movabs $0x800000000000, %%rbx; push %%rbx; lretq");
	TRY("RETF 32-bit operand to 32-bit code", "sub $8, %%rsp; movl $landing32, (%%rsp); movl $0x38, 4(%%rsp); lretl");
	landed();
}

static void gates(void)
{
	gate(0x8c, SEL_CODE, (ulong)landing);
	CALL("CALL gate", G);
	JMP("JMP gate", G, landing);
	UCALL("CPL 3 CALL gate of DPL 0", G);
	gate(0xec, SEL_CODE, (ulong)landing);
	UCALL("CPL 3 CALL gate", G);
	say("  pushed cs %lx rsp %s ss %lx\n", ((ulong *)trap.sp)[1] & 0xffff,
	    ((ulong *)trap.sp)[2] == (ulong)user_stack ? "good" : "bad", ((ulong *)trap.sp)[3] & 0xffff);
	gate(0xec, SEL_OTHER, (ulong)landing);
	CALL("gate to 32-bit code", G);
	gate(0xec, SEL_CODE, 0x800000000000);
	CALL("gate to a hole", G);
	gate(0x6c, SEL_CODE, (ulong)landing);
	CALL("gate not present", G);
	gate(0xec, 0, (ulong)landing);
	CALL("gate to null", G);
	gate(0xec, SEL_CODE, (ulong)landing);
	gdt[G / 8 + 1] |= 0xcull << 40;
	CALL("gate with a type in its upper half", G);
	gdt[255] = make_gate((ulong)landing, SEL_CODE, 0xec, 0);
	CALL("gate cut off by the table's end", 255 * 8);
	gate(0xec, SEL_CODE, (ulong)landing);
	TRY_USER("CALL gate and RETFQ back", "movq $0, target; movw $0x60, target + 8; movq $1f, %%rbx;"
		 "mov %%bx, gdt + 0x60; shr $16, %%rbx; mov %%bx, gdt + 0x66; mov %%rsp, %%r12;"
		 "rex.w lcall *target; cmp %%rsp, %%r12; je 2f; ud2; 1: lretq; 2:");
	*(uint64_t *)(tss + 4) = 0x800000000000;
	trap_gate(12, 0x8e, 1);
	*(uint64_t *)(tss + 36) = (ulong)kernel_stack - 2048;
	UCALL("gate, RSP0 not canonical", G);
	trap_gate(12, 0x8e, 0);
}

static void tables(void)
{
	gdt[T / 8] = make_desc(0x1000, 0xff, D_LDT, 0);
	gdt[T / 8 + 1] = 0;
	TRY("LLDT", "lldt %%ax", T);
	gdt[T / 8 + 1] = 0x8000;
	TRY("LLDT base not canonical", "lldt %%ax", T);
	gdt[T / 8 + 1] = 0x0000100000000000;
	TRY("LLDT, type in the upper half", "lldt %%ax", T);
	gdt[T / 8] = make_desc(0x1000, 0x67, 0x89, 0);
	gdt[T / 8 + 1] = 0x10000;
	TRY("LTR base not canonical", "ltr %%ax", T);
	gdt[T / 8] = make_desc(0x1000, 0x67, 0x81, 0);
	gdt[T / 8 + 1] = 0;
	TRY("LTR 16-bit TSS", "ltr %%ax", T);
	TRY("LAR of the TSS", "lar %%eax, %%ecx; mov %%rcx, result; jz 1f; ud2; 1:", SEL_TSS);
	say("  %lx\n", result);
	TRY("LAR of a 16-bit TSS", "lar %%eax, %%ecx; jnz 1f; ud2; 1:", T);
	TRY("LSL", "lsl %%eax, %%ecx; mov %%rcx, result; jz 1f; ud2; 1:", SEL_TSS);
	say("  %lx\n", result);
	TRY("LSS", "mov %%rsp, result; .byte 0x48, 0x0f, 0xb2, 0x24, 0x25; .long far_sp; mov result, %%rsp");
	TRY("MOV FS loads a 32-bit base", "mov %%eax, %%fs; mov $0xc0000100, %%ecx; rdmsr; mov %%rax, result", S);
	say("  %lx\n", result);
	TRY("null FS zeroes the base", "xor %%eax, %%eax; mov %%eax, %%fs; mov $0xc0000100, %%ecx; rdmsr; mov %%rax, result");
	say("  %lx\n", result);
}

struct { ulong sp; uint16_t sel; } __attribute__((packed)) far_sp = { (ulong)kernel_stack, SEL_DATA };

int main(void)
{
	trap_gate(0x90, 0xee, 0);
	direct();
	gates();
	gdt[S / 8] = make_desc(0x87654321, 0xfff, 0x93, 0);
	tables();
	return 0;
}
