/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 64-bit mode: what is invalid there, canonical addresses, control registers,
 * EFER, MSRs, SYSCALL and SYSENTER (SDM 2A/2B; SDM 3A 2.5, 5.8.7). */
#include "guest.h"

ulong result, far_ip;
uint8_t page[4096] __attribute__((aligned(4096)));
extern char syscall_entry[], back[];
__asm__(".pushsection .text\n"
	"syscall_entry: mov %rcx, result; mov %r11, far_ip; int $0x90\n"
	".popsection");

static void invalid(void)
{
	TRY("PUSH ES", ".byte 0x06");
	TRY("POP DS", ".byte 0x1f");
	TRY("DAA", ".byte 0x27");
	TRY("AAA", ".byte 0x37");
	TRY("PUSHA", ".byte 0x60");
	TRY("BOUND is an EVEX prefix", ".byte 0x62, 0x01, 0x01, 0x01, 0, 0, 0, 0");
	TRY("82 group", ".byte 0x82, 0xc0, 1");
	TRY("CALL far direct", ".byte 0x9a, 0, 0, 0, 0, 0, 0");
	TRY("LES is a VEX prefix", ".byte 0xc4, 0x00, 0x00, 0x00, 0, 0");
	TRY("INTO", ".byte 0xce");
	TRY("AAM", ".byte 0xd4, 0x0a");
	TRY("SALC", ".byte 0xd6");
	TRY("JMP far direct", ".byte 0xea, 0, 0, 0, 0, 0, 0");
	TRY("SYSENTER, no CS", "sysenter");
	TRY("MONITOR and friends: RSM", "rsm");
	TRY("LDS", ".byte 0xc5, 0x00, 0x00, 0, 0");
	TRY("SS null at CPL 0", "xor %%eax, %%eax; mov %%eax, %%ss; nop");
	TRY("SS null with RPL 3", "mov $3, %%eax; mov %%eax, %%ss");
	TRY_USER("CPL 3: SS null", "mov $3, %%eax; mov %%eax, %%ss");
	TRY("divide", "xor %%ecx, %%ecx; div %%rcx");
}

static void canonical(void)
{
#define BAD "movabs $0x800000000000, %%rbx; "
	TRY("read", BAD "mov (%%rbx), %%rax");
	TRY("write at the other end", "movabs $0xffff7fffffffffff, %%rbx; mov %%al, (%%rbx)");
	TRY("read by RBP", BAD "mov %%rbx, %%rbp; mov (%%rbp), %%rax");
	TRY("read by RBP, a DS prefix is ignored", BAD "mov %%rbx, %%rbp; mov %%ds:(%%rbp), %%rax");
	TRY("last canonical byte, not mapped", "movabs $0x7fffffffffff, %%rbx; mov (%%rbx), %%al");
	TRY("dword straddles the hole", "movabs $0x7ffffffffffe, %%rbx; mov (%%rbx), %%eax");
	TRY("JMP", BAD "jmp *%%rbx");
	say("  rip at the jump %x\n", trap.ip == trap_start + 10);
	TRY("CALL", BAD "call *%%rbx");
	TRY("RET", BAD "push %%rbx; ret");
	TRY("INVLPG", BAD "invlpg (%%rbx)");
	TRY("LGDT", BAD "push %%rbx; pushw $0xfff; lgdt (%%rsp)");
	TRY("MSR_FS_BASE", "mov $0xc0000100, %%ecx; xor %%eax, %%eax; mov $0x8000, %%edx; wrmsr");
	TRY("LSTAR", "mov $0xc0000082, %%ecx; xor %%eax, %%eax; mov $0x8000, %%edx; wrmsr");
	TRY("IRETQ", BAD "pushq $0x10; pushq %%rsp; pushfq; pushq $8; push %%rbx; iretq");
	TRY("IRETQ to a canonical hole stack", "mov %%rsp, %%r12; pushq $0x10; movabs $0x800000000000, %%rbx; push %%rbx; pushq $2; pushq $8; pushq $1f; iretq; 1: nop; mov %%r12, %%rsp");
}

static void control(void)
{
	TRY("CR0 upper half", "mov %%cr0, %%rax; bts $32, %%rax; mov %%rax, %%cr0");
	TRY("CR0.PG cleared in 64-bit mode", "mov %%cr0, %%rax; btr $31, %%rax; mov %%rax, %%cr0");
	TRY("CR3 over the physical width", "mov %%cr3, %%rax; bts $51, %%rax; mov %%rax, %%cr3");
	TRY("CR3 bit 63 without PCIDE", "mov %%cr3, %%rax; bts $63, %%rax; mov %%rax, %%cr3");
	TRY("CR4.PAE cleared", "mov %%cr4, %%rax; btr $5, %%rax; mov %%rax, %%cr4");
	TRY("CR4 reserved", "mov %%cr4, %%rax; bts $15, %%rax; mov %%rax, %%cr4");
	TRY("CR4 upper half", "mov %%cr4, %%rax; bts $32, %%rax; mov %%rax, %%cr4");
	TRY("CR8 = 15", "mov $15, %%eax; mov %%rax, %%cr8; mov %%cr8, %%rbx; mov %%rbx, result; xor %%eax, %%eax; mov %%rax, %%cr8");
	say("  %lx\n", result);
	TRY("CR8 = 16", "mov $16, %%eax; mov %%rax, %%cr8");
	TRY("CR9", ".byte 0x44, 0x0f, 0x20, 0xc8");
	TRY("EFER reserved bit", "mov $0xc0000080, %%ecx; rdmsr; bts $1, %%eax; wrmsr");
	TRY("EFER.LME cleared with PG", "mov $0xc0000080, %%ecx; rdmsr; btr $8, %%eax; wrmsr");
	TRY("EFER.LMA write is ignored", "mov $0xc0000080, %%ecx; rdmsr; btr $10, %%eax; wrmsr; rdmsr; bt $10, %%eax; jc 1f; ud2; 1:");
	TRY("DR7 upper half", "mov %%dr7, %%rax; bts $32, %%rax; mov %%rax, %%dr7");
	TRY("DR6 upper half", "mov %%dr6, %%rax; bts $40, %%rax; mov %%rax, %%dr6");
	TRY("DR8", ".byte 0x44, 0x0f, 0x21, 0xc0");
	TRY("unknown MSR", "mov $0x12345, %%ecx; rdmsr");
	TRY("write of a read-only MSR", "mov $0xfe, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr");
	TRY("PAT with a bad type", "mov $0x277, %%ecx; mov $2, %%eax; xor %%edx, %%edx; wrmsr");
	TRY("SFMASK upper half", "mov $0xc0000084, %%ecx; xor %%eax, %%eax; mov $1, %%edx; wrmsr");
	TRY("APIC base reserved bit", "mov $0x1b, %%ecx; rdmsr; bts $9, %%eax; wrmsr");
	TRY("XGETBV without OSXSAVE", "xor %%ecx, %%ecx; xgetbv");
	write_cr4(read_cr4() | 0x40000);
	TRY("XGETBV", "xor %%ecx, %%ecx; xgetbv; mov %%rax, result");
	say("  %lx\n", result);
	TRY("XSETBV without x87", "xor %%ecx, %%ecx; mov $2, %%eax; xor %%edx, %%edx; xsetbv");
	TRY("XSETBV AVX without SSE", "xor %%ecx, %%ecx; mov $5, %%eax; xor %%edx, %%edx; xsetbv");
	TRY("XSETBV index 1", "mov $1, %%ecx; mov $3, %%eax; xor %%edx, %%edx; xsetbv");
	TRY("XSETBV", "xor %%ecx, %%ecx; mov $3, %%eax; xor %%edx, %%edx; xsetbv");
	TRY("RDFSBASE without FSGSBASE", "rdfsbase %%rax");
	write_cr4(read_cr4() | 0x10000);
	TRY("WRFSBASE", "movabs $0x123456789a, %%rbx; wrfsbase %%rbx; rdfsbase %%rax; mov %%rax, result");
	say("  %lx\n", result);
	TRY("WRGSBASE not canonical", BAD "wrgsbase %%rbx");
	TRY_USER("CPL 3 RDFSBASE", "rdfsbase %%rax");
	TRY("SWAPGS", "mov $0x11, %%eax; wrgsbase %%rax; swapgs; rdgsbase %%rbx; swapgs; rdgsbase %%rax; mov %%rax, result");
	say("  %lx kernel %lx\n", result, rdmsr(0xc0000102));
	TRY_USER("CPL 3 SWAPGS", "swapgs");
	TRY_USER("CPL 3 RDTSC", "rdtsc");
	write_cr4(read_cr4() | 4);
	TRY_USER("CPL 3 RDTSC with TSD", "rdtsc");
	TRY("CPL 0 RDTSC with TSD", "rdtsc");
	TRY_USER("CPL 3 RDPMC", "xor %%ecx, %%ecx; rdpmc");
	TRY_USER("CPL 3 STAC", "stac");
	TRY_USER("CPL 3 XSETBV", "xsetbv");
	TRY_USER("CPL 3 WBINVD", "wbinvd");
	TRY_USER("CPL 3 INVPCID", "invpcid page, %%rax");
	TRY_USER("CPL 3 MOV CR8", "mov %%cr8, %%rax");
	TRY("INVPCID type 4", "mov $4, %%eax; invpcid page, %%rax");
	TRY("INVPCID reserved PCID bits", "movl $0x1000, page; mov $1, %%eax; invpcid page, %%rax");
	TRY("INVPCID reserved bits, all", "movl $0x1000, page; mov $2, %%eax; invpcid page, %%rax");
	TRY("INVPCID all", "movl $0, page; mov $2, %%eax; invpcid page, %%rax");
}

static void pcid(void)
{
	TRY("CR4.PCIDE with CR3[11:0] set", "mov %%cr3, %%rax; or $8, %%rax; mov %%rax, %%cr3;"
	    "mov %%cr4, %%rcx; bts $17, %%rcx; mov %%rcx, %%cr4");
	write_cr3(read_cr3() & ~0xffful);
	write_cr4(read_cr4() | 0x20000);
	TRY("CR3 with PCID 5, no flush", "mov %%cr3, %%rax; or $5, %%rax; bts $63, %%rax; mov %%rax, %%cr3; mov %%cr3, %%rax; and $0xfff, %%eax; mov %%rax, result; mov %%cr3, %%rax; shr $63, %%rax; jz 1f; ud2; 1:");
	say("  %lx\n", result);
	TRY("CR0.PG cleared with PCIDE", "mov %%cr0, %%rax; btr $31, %%rax; mov %%rax, %%cr0");
	write_cr3(read_cr3() & ~0xffful);
	write_cr4(read_cr4() & ~0x20000ul);
}

static void landed(void)
{
	say("  cs %lx ss %lx flags %lx\n", trap.cs & 0xffff, trap.ss & 0xffff, trap.flags & 0xfffd7);
}

static void syscalls(void)
{
	uint64_t efer = rdmsr(0xc0000080);

	trap_gate(0x90, 0xee, 0);
	wrmsr(0xc0000081, 0x0010000800000000ull | (uint64_t)(SEL_UOTHER - 3 - 0) << 48);
	wrmsr(0xc0000082, (ulong)syscall_entry);
	wrmsr(0xc0000084, 0x300);
	wrmsr(0xc0000080, efer & ~1ull);
	TRY("SYSCALL, SCE=0", "syscall");
	TRY("SYSRET, SCE=0", "sysretq");
	wrmsr(0xc0000080, efer | 1);
	user_flags = 0xa02;
	TRY_USER("SYSCALL", "syscall; back: nop");
	say("  rcx %x r11 %lx\n", result == (ulong)back, far_ip);
	landed();
	wrmsr(0xc0000081, 0x0010000800000000ull);
	TRY("SYSRETQ", "mov $1f, %%ecx; mov $0x3202, %%r11d; cli; sysretq; 1: int $0x90");
	landed();
	wrmsr(0xc0000081, 0x0040000800000000ull);
	TRY("SYSRETL", "mov $1f, %%ecx; mov $0x2, %%r11d; sysretl; 1: int $0x90");
	landed();
	TRY("SYSRETQ, RCX not canonical", "movabs $0x800000000000, %%rcx; mov $2, %%r11d; sysretq");
	say("  cpl %lu\n", trap.cs & 3);
	TRY_USER("SYSRET from CPL 3", "sysretq");
	user_flags = 2;
	wrmsr(0x174, 8);
	wrmsr(0x175, (ulong)kernel_stack - 4096);
	wrmsr(0x176, (ulong)syscall_entry);
	user_flags = 0x202;
	TRY_USER("SYSENTER", "sysenter");
	landed();
	TRY("SYSEXITQ", "mov $1f, %%edx; mov $user_stack, %%ecx; rex.w sysexit; 1: int $0x90");
	landed();
	TRY("SYSEXIT", "mov $1f, %%edx; mov $user_stack, %%ecx; sysexitl; 1: int $0x90");
	landed();
	TRY("SYSEXITQ, not canonical", "movabs $0x800000000000, %%rdx; mov $user_stack, %%ecx; rex.w sysexit");
	TRY_USER("SYSEXIT from CPL 3", "sysexitl");
}

int main(void)
{
	invalid();
	canonical();
	control();
	pcid();
	syscalls();
	return 0;
}
