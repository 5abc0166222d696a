/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Far JMP, CALL and RET: code segments conforming and not, call gates, change
 * of stack (SDM 3A 5.8; JMP, CALL, RET in SDM 2A/2B).  A transfer that works
 * lands on INT 0x90, which shows where. */
#include "guest.h"

enum { S = SEL_FREE, G = SEL_FREE + 8, K = SEL_FREE + 16 };
struct { uint32_t ip; uint16_t sel; } __attribute__((packed)) target;
extern char landing[], landing_ret[], landing_ret8[];
__asm__(".pushsection .text\n"
	"landing: int $0x90\n"
	"landing_ret: lretl\n"
	"landing_ret8: lretl $8\n"
	".popsection");
ulong result;

static void code(uint32_t limit, uint8_t type, uint8_t flags)
{
	gdt[S / 8] = make_desc(0, limit, type, flags);
}

static void gate(uint8_t type, uint16_t sel, unsigned count)
{
	gdt[G / 8] = make_gate((ulong)landing, sel, type, count);
}

static void landed(void)
{
	if (trap.vector == 0x90)
		say("  at %s, cs %lx ds %lx\n", trap.ip == (ulong)landing + 2 ? "landing" : "?",
		    trap.cs & 0xffff, trap_ds);
}

static void aim(uint16_t sel)
{
	target.ip = (ulong)landing;
	target.sel = sel;
}

#define JMP(what, s) do { aim(s); TRY(what, "ljmp *target"); landed(); } while (0)
#define CALL(what, s) do { aim(s); TRY(what, "lcall *target"); landed(); } while (0)
#define UJMP(what, s) do { aim(s); TRY_USER(what, "ljmp *target"); landed(); } while (0)
#define UCALL(what, s) do { aim(s); TRY_USER(what, "lcall *target"); landed(); } while (0)

static void direct(void)
{
	JMP("JMP null", 0);
	JMP("JMP null, RPL 3", 3);
	JMP("JMP beyond the GDT", 0x1000);
	JMP("JMP data segment", SEL_DATA);
	JMP("JMP code", SEL_CODE);
	JMP("JMP code, RPL 3", SEL_CODE | 3);
	JMP("JMP code DPL 3 from CPL 0", SEL_UCODE & ~3);
	code(0xfffff, 0x98, 0xc);
	JMP("JMP execute-only", S);
	say("  accessed %x\n", (unsigned)(gdt[S / 8] >> 40) & 1);
	code(0xfffff, 0x9e, 0xc);
	JMP("JMP conforming DPL 0", S);
	JMP("JMP conforming DPL 0, RPL 3", S | 3);
	UJMP("CPL 3 JMP conforming DPL 0", S);
	UCALL("CPL 3 CALL conforming DPL 0", S);
	UJMP("CPL 3 JMP non-conforming DPL 0", SEL_CODE);
	code(0xfffff, 0xfe, 0xc);
	JMP("JMP conforming DPL 3 from CPL 0", S);
	code(0xfffff, 0x1e, 0xc);
	JMP("JMP not present", S);
	code(0xff, 0x9a, 4);
	JMP("JMP beyond the limit", S);
	CALL("CALL beyond the limit", S);
	gdt[S / 8] = make_desc(0, 0xffff, D_LDT, 0);
	JMP("JMP to an LDT", S);
	gdt[S / 8] = make_desc(0, 0xffff, 0x8e, 0);
	JMP("JMP to an interrupt gate", S);
	CALL("CALL code", SEL_CODE);
}

static void call_gates(void)
{
	gate(0x8c, SEL_CODE, 0);
	JMP("JMP gate", G);
	CALL("CALL gate", G);
	CALL("CALL gate, RPL 3 > DPL", G | 3);
	UCALL("CPL 3 CALL gate of DPL 0", G);
	gate(0x0c, SEL_CODE, 0);
	CALL("gate not present", G);
	gate(0x8c, 0, 0);
	CALL("gate to null", G);
	gate(0x8c, 0x1000, 0);
	CALL("gate beyond", G);
	gate(0x8c, SEL_DATA, 0);
	CALL("gate to data", G);
	gate(0x8c, SEL_UCODE & ~3, 0);
	CALL("gate to DPL 3 from CPL 0", G);
	code(0xfffff, 0x1a, 0xc);
	gate(0x8c, S, 0);
	CALL("gate to code not present", G);
	gate(0xec, SEL_CODE, 0);
	UJMP("CPL 3 JMP gate to DPL 0", G);
	code(0xfffff, 0x9e, 0xc);
	gate(0xec, S, 0);
	UJMP("CPL 3 JMP gate to conforming", G);
	UCALL("CPL 3 CALL gate to conforming", G);
	gate(0xec, SEL_CODE | 3, 0);
	UCALL("CPL 3 CALL gate, selector's RPL does not matter", G | 3);
}

static void inner_stack(void)
{
	uint32_t *sp;

	gate(0xec, SEL_CODE, 3);
	aim(G);
	TRY_USER("CALL gate to CPL 0, 3 parameters", "push $0x33; push $0x22; push $0x11; lcall *target");
	landed();
	/* the trap's own frame lies at the same level: no SP in it */
	sp = (uint32_t *)((ulong *)tss)[1];
	say("  ss %x esp-%lx params %x %x %x cs %x\n", sp[-1], (ulong)user_stack - sp[-2],
	    sp[-3], sp[-4], sp[-5], sp[-6]);
	gate(0xe4, SEL_CODE, 1);
	gdt[G / 8] = make_gate((ulong)landing & 0xffff, S, 0xe4, 1);
	gdt[S / 8] = make_desc((ulong)landing & ~0xffffu, 0xffff, 0x9a, 4);
	TRY_USER("16-bit CALL gate", "pushw $0x1234; lcall *target");
	sp = (uint32_t *)((ulong *)tss)[1];
	say("  vector %lx ss %x sp-%x param %x cs %x\n", trap.vector, sp[-1] >> 16,
	    ((ulong)user_stack - sp[-1]) & 0xffff, sp[-2] >> 16, sp[-2] & 0xffff);
}

/* The trap itself needs ss0: the gate leads to CPL 1, whose stack is ss1. */
static void bad_stacks(void)
{
	gdt[K / 8] = make_desc(0, 0xfffff, 0xba, 0xc);
	gate(0xec, K, 0);
	*(uint32_t *)(tss + 12) = (ulong)user_stack - 2048;
	*(uint32_t *)(tss + 16) = 0;
	UCALL("ss1 null", G);
	*(uint32_t *)(tss + 16) = 0x1001;
	UCALL("ss1 beyond", G);
	*(uint32_t *)(tss + 16) = S;
	gdt[S / 8] = make_desc(0, 0xfffff, 0xb2, 0xc);
	UCALL("ss1 with RPL 0", G);
	*(uint32_t *)(tss + 16) = S | 1;
	gdt[S / 8] = make_desc(0, 0xfffff, 0x92, 0xc);
	UCALL("ss1 with DPL 0", G);
	gdt[S / 8] = make_desc(0, 0xfffff, 0xb0, 0xc);
	UCALL("ss1 read-only", G);
	gdt[S / 8] = make_desc(0, 0xfffff, 0x32, 0xc);
	UCALL("ss1 not present", G);
	gdt[S / 8] = make_desc(0, 0xff, 0xb2, 0);
	UCALL("ss1 too small", G);
	gdt[S / 8] = make_desc(0, 0xfffff, 0xb2, 0xc);
	UCALL("ss1 good", G);
	say("  ss %lx\n", trap.ss);
}

#define RET(what, code) do { TRY(what, code); landed(); } while (0)

static void returns(void)
{
	RET("RET same level", "push $8; push $landing; lret");
	RET("RET null", "push $0; push $landing; lret");
	RET("RET data", "push $0x10; push $landing; lret");
	RET("RET beyond limit", "push $0x38; push $0x10000; lret");
	RET("RET to CPL 3", "push $0x23; push $user_stack; push $0x1b; push $landing; lret");
	say("  ss %lx esp %s ds %lx\n", trap.ss, trap.sp == (ulong)user_stack ? "good" : "bad", trap_ds);
	RET("RET to CPL 3, DS of DPL 3 stays", "mov $0x23, %%eax; mov %%eax, %%ds; push $0x23; push $user_stack; push $0x1b; push $landing; lret");
	RET("RET 8 to CPL 3 drops from both", "push $0x23; push $user_stack - 64; push $0; push $0; push $0x1b; push $landing; lret $8");
	say("  esp-%lx\n", (ulong)user_stack - trap.sp);
	RET("RET to CPL 3, SS null", "push $0; push $user_stack; push $0x1b; push $landing; lret");
	RET("RET to CPL 3, SS of DPL 0", "push $0x13; push $user_stack; push $0x1b; push $landing; lret");
	RET("RET to code DPL 3 with RPL 0", "push $0x18; push $landing; lret");
	RET("RET to code DPL 0 with RPL 3", "push $0x23; push $user_stack; push $0xb; push $landing; lret");
	TRY_USER("CPL 3 RET to CPL 0", "push $8; push $landing; lret");
	TRY_USER("CPL 3 RET same level", "push $0x1b; push $landing; lret");
	landed();
	gate(0xec, SEL_CODE, 2);
	gdt[G / 8] = make_gate((ulong)landing_ret8, SEL_CODE, 0xec, 2);
	aim(G);
	TRY_USER("gate and back with RET 8", "mov %%esp, %%ebx; push $1; push $2; lcall *target; cmp %%esp, %%ebx; je 1f; ud2; 1:");
	gdt[G / 8] = make_gate((ulong)landing_ret, SEL_CODE, 0xec, 0);
	TRY_USER("gate and back", "mov %%esp, %%ebx; lcall *target; cmp %%esp, %%ebx; je 1f; ud2; 1:");
}

int main(void)
{
	trap_gate(0x90, 0xee, 0);
	direct();
	call_gates();
	inner_stack();
	bad_stacks();
	returns();
	return 0;
}
