/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults on the way to a handler: error codes with IDT and EXT, contributory
 * faults and the double fault (SDM 3A 6.13, 6.15 and table 6-5). */
#include "guest.h"

enum { S = SEL_FREE, TSS3 = SEL_FREE + 16 };
ulong missing = 0x1000;
struct { uint32_t link, a[7], eip, eflags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, fs, gs,
	ldt, t; } t3;
uint8_t stack3[1024] __attribute__((aligned(16)));

static void gate(unsigned vector, uint16_t sel, uint8_t type)
{
	idt[vector] = make_gate(0x1000, sel, type, 0);
}

static void restore(void)
{
	for (unsigned i = 0; i < 32; i++)
		trap_gate(i, i == 3 || i == 4 ? 0xee : 0x8e, 0);
}

#define UD(what, setup) do { setup; TRY("#UD, " what, "ud2"); restore(); } while (0)
#define INT(what, setup) do { setup; TRY("INT 0x91, " what, "int $0x91"); restore(); } while (0)
#define DE(what, setup) do { setup; TRY("#DE, " what, "xor %%ecx, %%ecx; div %%ecx"); restore(); } while (0)

static void bad_gates(void)
{
	UD("gate not present", gate(6, SEL_CODE, 0x0e));
	UD("gate type 0", gate(6, SEL_CODE, 0x80));
	UD("call gate", gate(6, SEL_CODE, 0x8c));
	UD("gate is code", gate(6, SEL_CODE, 0x9a));
	UD("null selector", gate(6, 0, 0x8e));
	UD("selector beyond", gate(6, 0x1000, 0x8e));
	UD("selector in the LDT", gate(6, 0x14, 0x8e));
	UD("data selector", gate(6, SEL_DATA, 0x8e));
	UD("code of DPL 3", gate(6, SEL_UCODE, 0x8e));
	gdt[S / 8] = make_desc(0, 0xfffff, 0x1a, 0xc);
	UD("code not present", gate(6, S, 0x8e));
	gdt[S / 8] = make_desc(0, 0xfff, 0x9a, 4);
	UD("offset beyond the limit", gate(6, S, 0x8e));
	INT("gate not present", gate(0x91, SEL_CODE, 0x6e));
	INT("null selector", gate(0x91, 0, 0xee));
	INT("data selector", gate(0x91, SEL_DATA, 0xee));
	INT("code not present", (gdt[S / 8] = make_desc(0, 0xfffff, 0x1a, 0xc), gate(0x91, S, 0xee)));
	DE("gate not present: double", gate(0, SEL_CODE, 0x0e));
	DE("null selector: double", gate(0, 0, 0x8e));
	say("  eip %s\n", trap.ip == trap_start + 2 ? "at the DIV" : "?");
	gate(0x0d, SEL_CODE, 0x0e);
	TRY("#GP, gate not present: double", "mov %%ds:missing, %%eax; mov %%eax, %%fs");
	restore();
	gate(0x0d, 0, 0x8e);
	TRY("#UD, null selector, then #GP's gate is bad: double", "xor %%eax, %%eax; movl $0, idt + 48; movl $0x8e00, idt + 52; ud2");
	restore();
}

static void small_idt(void)
{
	struct dtr small = { 0x97, (ulong)idt }, saved = idtr;

	__asm__ volatile("lidt %0" :: "m"(small));
	TRY("INT beyond the IDT", "int $0x20");
	TRY("INT at its last byte", "int $0x12");
	TRY("INT one more", "int $0x13");
	__asm__ volatile("lidt %0" :: "m"(saved));
}

static void page_faults(void)
{
	static uint32_t pd[1024] __attribute__((aligned(4096)));

	for (unsigned i = 0; i < 256; i++)
		pd[i] = i << 22 | 0x83;
	write_cr4(read_cr4() | 0x10);
	write_cr3((ulong)pd);
	write_cr0(read_cr0() | 0x80000000);
	TRY("#PF", "mov 0x50000000, %%eax");
	gate(14, SEL_CODE, 0x0e);
	TRY("#PF, gate not present: double", "mov 0x50000000, %%eax");
	say("  cr2 %lx\n", trap_cr2);
	restore();
	gate(14, 0, 0x8e);
	TRY("#PF, null selector: double", "mov 0x50000004, %%eax");
	restore();
	idt[6] = make_gate(0, SEL_CODE, 0x8e, 0);
	TRY("#UD handler's own #PF is no double", "movl $0x00080000, idt + 48; movl $0x50008e00, idt + 52; ud2");
	restore();
	write_cr0(read_cr0() & ~0x80000000ul);
}

/* The double-fault handler is a task: the fault was the stack's. */
extern char df_task[];
__asm__(".pushsection .text\n"
	"df_task: call df_handler\n"
	"mov trap_resume, %eax; mov trap_sp, %esp; mov trap_bp, %ebp; jmp *%eax\n"
	".popsection");
void df_handler(ulong error);

void df_handler(ulong error)
{
	say("  #DF(%lx) in its task, link %x, cs %x\n", error, t3.link, ((uint16_t *)tss)[38]);
	gdt[SEL_TSS / 8] &= ~(2ull << 40);
	gdt[TSS3 / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %0; pushl $2; popfl; clts" :: "r"((uint16_t)SEL_TSS));
}

static void stack_faults(void)
{
	t3.eip = (ulong)df_task;
	t3.eflags = 2;
	t3.sp = (ulong)stack3 + sizeof(stack3);
	t3.es = t3.ds = t3.ss = SEL_DATA;
	t3.cs = SEL_CODE;
	gdt[TSS3 / 8] = make_desc((ulong)&t3, 103, D_TSS, 0);
	idt[8] = make_gate(0, TSS3, 0x85, 0);
	*(uint32_t *)(tss + 8) = 0;
	say("INT from CPL 3 with ss0 null: #TS, #TS\n");
	TRY_RUN(TRY_TO_USER, "int $0x80", "");
	*(uint32_t *)(tss + 8) = SEL_DATA;
	gdt[S / 8] = make_desc(0, 0xff, 0x92, 4);
	say("#UD with a stack that has no room: #SS, #SS\n");
	TRY_RUN("mov $0x50, %%eax; mov %%eax, %%ss; mov $4, %%esp; ", "ud2", "");
	restore();
}

int main(void)
{
	bad_gates();
	small_idt();
	page_faults();
	stack_faults();
	return 0;
}
