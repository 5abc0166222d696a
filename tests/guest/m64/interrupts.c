/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivery in 64-bit mode: frames, IST, stack alignment, IRETQ, errors on the
 * way, and the local APIC's interrupts with the shadows of STI and MOV SS and
 * the blocking of NMIs (SDM 3A 6.7, 6.8, 6.14; 11.6, 11.8). */
#include "guest.h"

enum { APIC = 0xfee00000, ICR = 0x300, SVR = 0xf0, TPR = 0x80, EOI = 0xb0, SELF = 0x40000 };
static volatile uint32_t *const apic = (uint32_t *)APIC;
uint8_t ist_stack[4096] __attribute__((aligned(16)));
ulong rip_of[8], count;

static void set_tss(unsigned offset, ulong v) { __builtin_memcpy(tss + offset, &v, 8); }

static void frames(void)
{
	TRY("same level", "and $-16, %%rsp; sub $7, %%rsp; mov %%rsp, %%r12; ud2");
	say("  ss %lx rsp is the old one %x\n", trap.ss & 0xffff, trap.sp == trap.r12);
	TRY_USER("from CPL 3", "ud2");
	say("  cs %lx ss %lx rsp %s\n", trap.cs & 0xffff, trap.ss & 0xffff,
	    trap.sp == (ulong)user_stack ? "good" : "bad");
	TRY_USER("data selectors stay", "mov $0x23, %%eax; mov %%eax, %%ds; mov %%eax, %%es; ud2");
	say("  ds %lx es %lx\n", trap_ds, trap_es);
}

/* Where the handler's stack was: the hook's frame tells. */
static ulong frame_at;
static bool see_frame(struct trap *t) { frame_at = (ulong)&t->ss + 8; return false; }

static void ist(void)
{
	trap_hook = see_frame;
	set_tss(36, (ulong)ist_stack + 4096);
	trap_gate(6, 0x8e, 1);
	TRY("IST 1 at CPL 0", "ud2");
	say("  on the IST stack %x\n", frame_at == (ulong)ist_stack + 4096);
	TRY_USER("IST 1 from CPL 3", "ud2");
	say("  on the IST stack %x\n", frame_at == (ulong)ist_stack + 4096);
	set_tss(36, (ulong)ist_stack + 4093);
	TRY("IST not aligned", "ud2");
	say("  aligned down %x\n", frame_at == (ulong)ist_stack + 4080);
	set_tss(36, 0x800000000000);
	TRY("IST not canonical", "ud2");
	set_tss(36, 0x500000000000);
	TRY("IST not mapped", "ud2");
	trap_gate(6, 0x8e, 0);
	trap_gate(8, 0x8e, 2);
	set_tss(44, (ulong)ist_stack + 4096);
	TRY("RSP not mapped: #PF, #PF, double", "movabs $0x500000000000, %%rsp; ud2");
	say("  on its IST %x rsp %lx\n", frame_at == (ulong)ist_stack + 4096, trap.sp);
	TRY("RSP not canonical: #SS, #SS, double", "movabs $0x900000000000, %%rsp; ud2");
	say("  rsp %lx\n", trap.sp);
	trap_gate(8, 0x8e, 0);
	gdt[SEL_TSS / 8] = make_desc((ulong)tss, 0x23, D_TSS, 0);
	TRY("TSS without IST 1", "ltr %%ax; mov %%eax, %%fs", SEL_TSS);
	trap_gate(6, 0x8e, 1);
	TRY(" then #UD on it", "ud2");
	trap_gate(6, 0x8e, 0);
	gdt[SEL_TSS / 8] = make_desc((ulong)tss, 103, D_TSS, 0);
	TRY("LTR again", "ltr %%ax", SEL_TSS);
	trap_hook = NULL;
}

static void gates(void)
{
	static const uint8_t types[] = { 0x85, 0x86, 0x87, 0x8c, 0x89, 0x9a };

	for (unsigned i = 0; i < sizeof(types); i++) {
		trap_gate(6, types[i], 0);
		say("gate type %x: ", types[i]);
		TRY("#UD", "ud2");
	}
	idt[12] = make_gate((ulong)main, SEL_OTHER, 0x8e, 0);
	TRY("gate to 32-bit code", "ud2");
	idt[12] = make_gate((ulong)main, 0, 0x8e, 0);
	TRY("gate to null", "ud2");
	trap_gate(6, 0x8e, 0);
	idt[13] = 0x8000;
	TRY("gate to a hole", "ud2");
	trap_gate(6, 0x0e, 0);
	TRY("gate not present", "ud2");
	trap_gate(6, 0x8e, 0);
	TRY_USER("INT 0x55 from CPL 3", "int $0x55");
}

static void iretq(void)
{
	TRY("IRETQ with NT", "pushq $0x4002; popfq; iretq");
	TRY("IRETQ to the same level restores RSP", "mov %%rsp, %%r12; pushq $0x10; pushq %%r12; pushq $2; pushq $8; pushq $1f; iretq; 1: cmp %%rsp, %%r12; je 2f; ud2; 2:");
	TRY("IRETQ SS null at CPL 0", "mov %%rsp, %%r12; pushq $0; pushq %%r12; pushq $2; pushq $8; pushq $1f; iretq; 1:");
	TRY("IRETQ SS null to CPL 3", "pushq $3; pushq $user_stack; pushq $2; pushq $0x1b; pushq $1f; iretq; 1:");
	TRY("IRETQ SS RPL 0 to CPL 3", "pushq $0x10; pushq $user_stack; pushq $2; pushq $0x1b; pushq $1f; iretq; 1:");
	TRY("IRETQ CS null", "pushq $0x10; pushq %%rsp; pushq $2; pushq $0; pushq $1f; iretq; 1:");
	TRY("IRETQ CS data", "pushq $0x10; pushq %%rsp; pushq $2; pushq $0x10; pushq $1f; iretq; 1:");
	TRY("IRETQ VM is ignored", "pushq $0x10; pushq trap_sp; pushq $0x20002; pushq $8; pushq $1f; iretq; 1: pushfq; pop %%rax; bt $17, %%rax; jnc 2f; ud2; 2:");
	TRY("IRETQ to 32-bit code at CPL 3", "pushq $0x4b - 0; pushq $user_stack; pushq $2; pushq $0x4b; pushq $1f; iretq; 1: int $0x80");
	TRY("IRETQ to 32-bit code, good stack", "pushq $0x23; pushq $user_stack; pushq $2; pushq $0x4b; pushq $1f; iretq; 1: .byte 0x48; int $0x80");
	say("  cs %lx rax %lx\n", trap.cs & 0xffff, trap.ax & 0);
	TRY_USER("CPL 3 IRETQ cannot raise IOPL or IF", "pushq $0x23; pushq $user_stack; pushq $0x3202; pushq $0x1b; pushq $1f; iretq; 1: pushfq; pop %%rax; test $0x3200, %%eax; jz 2f; ud2; 2:");
}

/* The hook for vectors 0x30..0x37: notes RIP, EOI, goes back. */
static bool device(struct trap *t)
{
	if (t->vector != 2 && (t->vector < 0x30 || t->vector > 0x37))
		return false;
	if (count < 8)
		rip_of[count] = t->vector << 32 | (uint32_t)(t->ip - trap_start);
	count++;
	if (t->vector != 2)
		apic[EOI / 4] = 0;
	return true;
}

static void show(const char *what)
{
	say("%s:", what);
	for (unsigned i = 0; i < count && i < 8; i++)
		say(" %lx at +%lu", rip_of[i] >> 32, rip_of[i] & 0xffff);
	say(trap.vector < 0x20 && trap.vector != 2 ? " and #%lu\n" : "\n", trap.vector);
	__asm__ volatile("cli");
}

#define IRQ(what, pre, code) do { count = 0; \
	TRY_RUN("mov $0xfee00300, %%ebx; mov %%ss, %%edx; " pre "; ", code, "cli"); show(what); } while (0)

static void external(void)
{
	trap_hook = device;
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	apic[SVR / 4] = 0x1ff;
	IRQ("self-IPI, IF=0, STI: one instruction later", "cli; movl $0x40030, (%%rbx)", "sti; nop; nop; nop");
	IRQ("STI, CLI: never", "cli; movl $0x40030, (%%rbx)", "sti; cli; nop; nop");
	IRQ("POPF has no shadow", "cli; movl $0x40030, (%%rbx); pushq $0x202", "popfq; nop; nop");
		IRQ("STI, MOV SS", "cli; movl $0x40030, (%%rbx)", "sti; mov %%edx, %%ss; nop; nop");
	IRQ("higher vector class first", "cli; movl $0x40030, (%%rbx); movl $0x40032, (%%rbx); movl $0x40036, (%%rbx)", "sti; nop; nop; nop");
	apic[TPR / 4] = 0x30;
	IRQ("TPR holds it back", "cli; movl $0x40030, (%%rbx)", "sti; nop; nop; mov $2, %%eax; mov %%rax, %%cr8; nop; nop");
	apic[TPR / 4] = 0;
	IRQ("HLT ends by it, after the HLT", "cli; movl $0x40031, (%%rbx)", "sti; hlt; nop");
	IRQ("a fault comes before it", "cli; movl $0x40030, (%%rbx)", "sti; ud2");
	IRQ("and waits", "cli", "sti; nop; nop");
	IRQ("timer, one shot", "movl $0xb, 0xe0(%%rbx); movl $0x33, 0x20(%%rbx); movl $100000, 0x80(%%rbx)",
	    "sti; hlt; nop");
	count = 0;
	apic[ICR / 4] = 0x80400;
	while (!*(volatile ulong *)&count)
		;
	say("NMI to itself with IF=0: %lx\n", rip_of[0] >> 32);
	trap_hook = NULL;
}

int main(void)
{
	frames();
	ist();
	gates();
	iretq();
	external();
	return 0;
}
