/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switch: JMP, CALL, interrupt and exception through task gates,
 * IRET; link, NT, busy, TS; 16-bit TSS; every check (SDM 3A 7.2, 7.3). */
#include "guest.h"

enum { TSS2 = SEL_FREE, TSS16 = SEL_FREE + 8, GATE = SEL_FREE + 16, LDT = SEL_FREE + 24,
       TSS3 = SEL_FREE + 40 };

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	uint32_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, iomap;
};
struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
	uint16_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
struct tss32 t2;
struct tss16 t16;
uint8_t task_stack[4096] __attribute__((aligned(16)));
extern char task_entry[], task_entry16[];
struct { uint32_t ip; uint16_t sel; } __attribute__((packed)) far;
static struct tss32 *const t1 = (struct tss32 *)tss;

/* The other task notes what it finds and goes back; once more when entered again. */
struct seen { uint32_t flags, cr0, link, ss, esp, ax, tr, error; } seen;
ulong go_back;       /* 0 IRET, 1 JMP, 2 take an error code off, IRET past the fault */
__asm__(".pushsection .text\n"
	"task_entry:\n"
	"pushfl; popl seen; mov %eax, seen+20\n"
	"mov %cr0, %eax; mov %eax, seen+4; clts\n"
	"mov t2, %eax; mov %eax, seen+8\n"
	"mov %ss, %eax; mov %eax, seen+12; mov %esp, seen+16\n"
	"str %eax; mov %eax, seen+24\n"
	"cmpl $1, go_back; je 1f; jb 2f; popl seen+28; movl $after_fault, tss+32\n"
	"2: iretl; jmp task_entry\n"
	"1: ljmp $0x28, $0; jmp task_entry\n"
	"task_entry16:\n"
	"mov %esp, seen+16; mov %eax, seen+20; clts; iretl; jmp task_entry16\n"
	".popsection");

static void prepare(void)
{
	__builtin_memset(&t2, 0, sizeof(t2));
	__builtin_memset(&seen, 0, sizeof(seen));
	t2.eip = (ulong)task_entry;
	t2.eflags = 2;
	t2.ax = 0xaaaa5555;
	t2.sp = (ulong)task_stack + sizeof(task_stack);
	t2.es = t2.ds = t2.ss = SEL_DATA;
	t2.cs = SEL_CODE;
	t2.iomap = 104;
	gdt[TSS2 / 8] = make_desc((ulong)&t2, 103, D_TSS, 0);
	gdt[GATE / 8] = make_gate(0, TSS2, 0x85, 0);
	far.ip = 0x12345678;
	far.sel = TSS2;
	go_back = 0;
	write_cr0(read_cr0() & ~8ul);
}

static unsigned busy(unsigned sel) { return gdt[sel / 8] >> 41 & 1; }

static void show(void)
{
	say("  task: nt %x ts %x link %x ss %x tr %x ax %x\n", seen.flags >> 14 & 1, seen.cr0 >> 3 & 1,
	    seen.link, seen.ss, seen.tr, seen.ax);
	say("  back: ts %x busy %x/%x nt1 %x nt2 %x\n", (unsigned)read_cr0() >> 3 & 1, busy(SEL_TSS),
	    busy(TSS2), (unsigned)t1->eflags >> 14 & 1, (unsigned)t2.eflags >> 14 & 1);
}

/* Faults after the switch: the trap finds the new task's selectors; TR is the
 * new one until the library's task is put back. */
static bool back_home(struct trap *t)
{
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	say("  in task %x: #%lu(%lx) ip %s\n", tr, t->vector, t->error,
	    t->ip == (ulong)task_entry ? "entry" : "old");
	gdt[SEL_TSS / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %0; lldt %1" :: "r"((uint16_t)SEL_TSS), "r"((uint16_t)0));
	return false;
}

static void good(void)
{
	prepare();
	TRY("CALL TSS, IRET", "lcall *far");
	show();
	prepare();
	go_back = 1;
	TRY("JMP TSS, JMP back", "ljmp *far");
	show();
	prepare();
	far.sel = GATE;
	TRY("CALL task gate", "lcall *far");
	show();
	prepare();
	gdt[GATE / 8] = make_gate(0, TSS2, 0xe5, 0);
	far.sel = GATE | 3;
	TRY_USER("CPL 3 CALL task gate", "lcall *far");
	show();
	prepare();
	idt[0x91] = make_gate(0, TSS2, 0xe5, 0);
	TRY("INT through task gate", "int $0x91");
	show();
	prepare();
	TRY_USER("CPL 3 INT through task gate", "int $0x91");
	show();
	prepare();
	TRY("registers are kept", "mov $0x1234, %%ebx; mov $0x77, %%edi; lcall *far;"
	    "cmp $0x1234, %%ebx; jne 1f; cmp $0x77, %%edi; je 2f; 1: ud2; 2:");
	prepare();
	t2.trap = 1;
	trap_hook = back_home;
	TRY("T flag", "lcall *far");
	say("  dr6 %lx\n", trap_dr6 & 0xe00f);
	trap_hook = NULL;
}

/* #GP through a task gate: the error code lies on the new task's stack. */
static void exception(void)
{
	uint64_t saved = idt[13];

	prepare();
	go_back = 2;
	idt[13] = make_gate(0, TSS2, 0x85, 0);
	__asm__ volatile("mov $0x1000, %%eax; mov %%eax, %%ds; after_fault:" ::: "eax", "memory");
	idt[13] = saved;
	say("exception through task gate\n  error %x rf %x\n", seen.error, t1->eflags >> 16 & 1);
	show();
}

static void bad_switches(void)
{
	prepare();
	gdt[TSS2 / 8] &= ~(1ull << 47);
	TRY("TSS not present", "lcall *far");
	prepare();
	gdt[TSS2 / 8] |= 2ull << 40;
	TRY("TSS busy", "lcall *far");
	prepare();
	gdt[TSS2 / 8] = make_desc((ulong)&t2, 102, D_TSS, 0);
	TRY("TSS too small", "lcall *far");
	prepare();
	TRY_USER("CPL 3 to TSS of DPL 0", "lcall *far");
	prepare();
	gdt[GATE / 8] = make_gate(0, TSS2, 0x05, 0);
	far.sel = GATE;
	TRY("gate not present", "lcall *far");
	gdt[GATE / 8] = make_gate(0, TSS2 | 4, 0x85, 0);
	TRY("gate to the LDT", "lcall *far");
	gdt[GATE / 8] = make_gate(0, SEL_DATA, 0x85, 0);
	TRY("gate to data", "lcall *far");
	gdt[GATE / 8] = make_gate(0, 0x1000, 0x85, 0);
	TRY("gate beyond", "lcall *far");
	prepare();
	TRY("INT: gate to busy TSS", "mov gdt + 0x52, %%eax; orb $2, gdt + 0x55; int $0x91");
	prepare();
	t1->link = SEL_DATA;
	TRY("IRET with NT to no TSS", "pushl $0x4002; popfl; iretl");
	t1->link = TSS2;
	TRY("IRET with NT to available TSS", "pushl $0x4002; popfl; iretl");
	say("  busy %x/%x\n", busy(SEL_TSS), busy(TSS2));
}

/* A fault may find the new task without a stack: a third task handles it, says
 * whose fault it is, and goes on after the TRY in the library's task. */
struct tss32 t3;
uint8_t stack3[1024] __attribute__((aligned(16)));
extern char task3[];
__asm__(".pushsection .text\n"
	"task3: call handle_fault\n"
	"pushl $2; popfl; clts\n"
	"mov trap_resume, %eax; mov trap_sp, %esp; mov trap_bp, %ebp; jmp *%eax\n"
	".popsection");
void handle_fault(ulong error);

void handle_fault(ulong error)
{
	say("  in task %x: error %lx, its eip is %s\n", t3.link, error,
	    t2.eip == (ulong)task_entry ? "the entry" : "elsewhere");
	gdt[SEL_TSS / 8] &= ~(2ull << 40);
	gdt[TSS3 / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %0; lldt %1" :: "r"((uint16_t)SEL_TSS), "r"((uint16_t)0));
}

static void prepare3(void)
{
	t3.eip = (ulong)task3;
	t3.eflags = 2;
	t3.sp = (ulong)stack3 + sizeof(stack3);
	t3.es = t3.ds = t3.ss = SEL_DATA;
	t3.cs = SEL_CODE;
	gdt[TSS3 / 8] = make_desc((ulong)&t3, 103, D_TSS, 0);
	for (unsigned i = 10; i <= 12; i++)
		idt[i] = make_gate(0, TSS3, 0x85, 0);
}

static void bad_tasks(void)
{
	prepare3();
#define BAD(what, set) do { prepare(); set; say(what "\n"); \
	TRY_RUN(TRY_LOAD_ARG, "lcall *far", ""); } while (0)
	BAD("LDT is data", t2.ldt = SEL_DATA);
	BAD("LDT in an LDT", t2.ldt = 0x1c);
	gdt[LDT / 8] = make_desc(0, 0xff, 0x02, 0);
	BAD("LDT not present", t2.ldt = LDT);
	BAD("CS null", t2.cs = 0);
	BAD("CS is data", t2.cs = SEL_DATA);
	BAD("CS RPL 3, DPL 0", (t2.cs = SEL_CODE | 3, t2.ss = t2.ds = t2.es = SEL_UDATA));
	BAD("DS beyond", t2.ds = 0x1000);
	BAD("ES is a TSS", t2.es = SEL_TSS);
	gdt[LDT / 8] = make_desc(0, 0xff, 0x12, 0);
	BAD("FS not present", t2.fs = LDT);
	BAD("GS RPL 3 over DPL 0", t2.gs = SEL_DATA | 3);
	BAD("SS null", t2.ss = 0);
	BAD("SS RPL 3, CPL 0", t2.ss = SEL_UDATA);
	BAD("SS not present", t2.ss = LDT);
	for (unsigned i = 10; i <= 12; i++)
		trap_gate(i, 0x8e, 0);
}

static void narrow(void)
{
	prepare();
	__builtin_memset(&t16, 0, sizeof(t16));
	t16.ip = (ulong)task_entry16 & 0xffff;
	t16.flags = 2;
	t16.ax = 0x1234;
	t16.sp = 0x4000;
	t16.cs = SEL_FREE + 32;
	t16.ss = t16.ds = t16.es = SEL_DATA;
	gdt[SEL_FREE / 8 + 4] = make_desc((ulong)task_entry16 & ~0xffffu, 0xffff, D_CODE, 4);
	gdt[TSS16 / 8] = make_desc((ulong)&t16, 43, 0x81, 0);
	far.sel = TSS16;
	TRY("16-bit TSS", "lcall *far");
	say("  ax %x sp %x link %x busy %x\n", seen.ax & 0xffff, seen.esp & 0xffff, t16.link, busy(TSS16));
	gdt[TSS16 / 8] = make_desc((ulong)&t16, 42, 0x81, 0);
	TRY("16-bit TSS too small", "lcall *far");
}

int main(void)
{
	good();
	exception();
	bad_switches();
	bad_tasks();
	narrow();
	return 0;
}
