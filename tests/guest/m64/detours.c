/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loops whose usual way leads over taken branches, forward and back, which a translator may
 * lay out as they are run: what they compute, flags over such a branch, code that changes
 * there, faults there (RIP), and interrupts, which must reach each of them. */
#include "loops.h"
#include "ticks.h"

#define LOOP(name, body) LOOP_ALIGNED(256, name, body)

LOOP(there_and_back, "1: mov (%rsi,%rax,8), %rdx\n test $31, %dl\n jne 3f\n rol $1, %rbx\n2: inc %rax\n cmp %rcx, %rax\n"
	" jne 1b\n jmp 4f\n3: add %rdx, %rbx\n mov %rbx, (%rdi,%rax,8)\n jmp 2b\n4:\n");
LOOP(with_carry, "clc\n1: jmp 3f\n2: dec %rcx\n jnz 1b\n jmp 4f\n3: mov (%rsi), %rdx\n adc %rdx, (%rdi)\n lea 8(%rsi), %rsi\n"
	" lea 8(%rdi), %rdi\n jmp 2b\n4: setc %bl\n");
LOOP(from_within, "jmp 2f\n1: add (%rsi,%rax,8), %rbx\n inc %rax\n add (%rsi,%rax,8), %rbx\n2: ror $3, %rbx\n cmp %rcx, %rax\n jb 1b\n");
LOOP(behind_a_call, "jmp 1f\n5: add %rdx, %rbx\n ret\n1: mov (%rsi,%rax,8), %rdx\n push %rdx\n call 5b\n pop %rdx\n xor %rdx, (%rdi,%rax,8)\n"
	" inc %rax\n cmp %rcx, %rax\n jae 4f\n jmp 1b\n4:\n");
LOOP(around, "jmp 1f\n2: inc %rax\n cmp %rcx, %rax\n jne 1f\n jmp 4f\n nop\n1: mov (%rsi,%rax,8), %rdx\n mov %rdx, %r10\n"
	" add 8(%rsi,%rax,8), %r10\n lea (%r10,%rbx), %rbx\n jmp 2b\n4:\n");
LOOP(two_ways, "1: mov (%rsi,%rax,8), %rdx\n bt $1, %rdx\n jc 2f\n add %rdx, %rbx\n jmp 3f\n2: sub %rdx, %rbx\n3: movq %rbx, %xmm0\n"
	" movups %xmm0, (%rdi,%rax,8)\n add $1, %rax\n cmp %rcx, %rax\n je 4f\n jmp 1b\n4:\n");
LOOP(kept_flags, "1: cmp %rcx, %rax\n jmp 2f\n3: je 4f\n jmp 1b\n2: lea 1(%rax), %rax\n mov (%rsi,%rax,8), %rdx\n lea (%rbx,%rdx), %rbx\n jmp 3b\n4:\n");
LOOP(nested, "1: mov $5, %edx\n2: test %edx, %edx\n jg 3f\n inc %rax\n cmp %rcx, %rax\n jb 1b\n jmp 4f\n"
	"3: add (%rsi,%rdx,8), %rbx\n dec %edx\n jmp 2b\n4:\n");

static const struct { const char *name; loop *run; } loops[] = {
	{ "there_and_back", there_and_back }, { "with_carry", with_carry }, { "from_within", from_within },
	{ "behind_a_call", behind_a_call }, { "around", around }, { "two_ways", two_ways },
	{ "kept_flags", kept_flags }, { "nested", nested },
};

static void compute(void)
{
	for (unsigned n = 0; n < sizeof(loops) / sizeof(loops[0]); n++) {
		ulong h = 0;
		fill();
		for (unsigned hot = 0; hot < 4; hot++)
			h = h * 31 + once(loops[n].run, 0, HOT);
		for (unsigned k = 0; k < 2 * HOT; k++)
			h = h * 31 + once(loops[n].run, 504 + k % 8, 1 + k % 5);
		say("%s: %lx %lx\n", loops[n].name, h, sum(0, to, WORDS));
	}
}

/* The constant of the MOV is changed on the way that is rarely taken, or on the usual one. */
LOOP(changed_beside, "1: test $0x3ff, %ecx\n jne 2f\n incb 3f+1(%rip)\n2: inc %rax\n jmp 3f\n nop\n4: dec %rcx\n jnz 1b\n jmp 5f\n"
	"3: mov $16, %edx\n add %rdx, %rbx\n jmp 4b\n5:\n");
LOOP(changed_within, "lea 3f+1(%rip), %rbp\n1: lea (%rdi), %rsi\n cmp $777, %ecx\n cmove %rbp, %rsi\n inc %rax\n jmp 2f\n"
	"4: dec %rcx\n jnz 1b\n jmp 5f\n2: movb $33, (%rsi)\n3: mov $16, %edx\n add %rdx, %rbx\n jmp 4b\n5:\n");

static void change(const char *name, loop *run)
{
	ulong regs[7] = { (ulong)from, (ulong)to, 0, 8000 };
	run(regs);
	say("%s: %lu %lx\n", name, regs[6], regs[4]);
	regs[3] = 3000;
	run(regs);
	say("%s again: %lx\n", name, regs[4]);
}

/* RBX: what is read; RSI: what it is divided by. */
__asm__(".text\n.balign 256\nfault: dec %ecx\n jnz 1f\n ret\n2: add $1, %rdi\n jmp fault\n nop\n1: mov $7, %eax\n xor %edx, %edx\n"
	"fault_read: add (%rbx), %rdi\nfault_div: div %esi\n jmp 2b\n");
extern const char fault[], fault_read[], fault_div[];

static void faults(void)
{
	TRY("none", "mov $5000, %%ecx; mov $1, %%esi; lea from, %%rbx; xor %%edi, %%edi; call fault; mov %%rdi, to");
	say("  %lx\n", to[0]);
	TRY("read", "mov $5, %%ecx; mov $1, %%esi; mov $8, %%ebx; shl $60, %%rbx; xor %%edi, %%edi; call fault");
	say("  at %ld, %ld left, %ld\n", trap.ip - (ulong)fault_read, trap.cx, trap.di);
	TRY("divide", "mov $5, %%ecx; xor %%esi, %%esi; lea to, %%rbx; movq $3, to; xor %%edi, %%edi; call fault");
	say("  at %ld, %ld left, %ld\n", trap.ip - (ulong)fault_div, trap.cx, trap.di);
}

/* They end when the timer has ticked often enough. */
#define WAIT(name, body) \
	__asm__(".text\n.balign 256\n" #name ": xor %eax, %eax\n" body " ret\n"); \
	void name(void)
WAIT(wait_back, "1: cmpl $0, enough\n je 3f\n jmp 4f\n3: inc %rax\n jmp 1b\n4:\n");
WAIT(wait_ahead, "jmp 1f\n2: inc %rax\n jnz 1f\n jmp 4f\n nop\n1: cmpl $0, enough\n je 2b\n4:\n");
WAIT(wait_flags, "stc\n1: jmp 3f\n2: jc 1b\n jmp 4f\n3: mov enough, %edx\n lea -1(%rdx), %rdx\n add %edx, %edx\n jmp 2b\n4:\n");
WAIT(wait_within, "jmp 2f\n1: inc %rax\n2: lea 1(%rax), %rax\n cmpl $1, enough\n jne 1b\n");
WAIT(wait_nested, "1: mov $3, %edx\n2: dec %edx\n jg 3f\n cmpl $0, enough\n jne 4f\n jmp 1b\n3: inc %rax\n jmp 2b\n4:\n");

static void wait(const char *name, void (*run)(void))
{
	ticks_begin(TICK_COUNT);
	__asm__ volatile("sti; call *%0; cli" :: "r"(run) : "rax", "rdx", "memory", "cc");
	say("%s: %s\n", name, ticks_end());
}

static void interrupts(void)
{
	ticks_prepare();
	wait("back", wait_back);
	wait("ahead", wait_ahead);
	wait("flags", wait_flags);
	wait("within", wait_within);
	wait("nested", wait_nested);
}

int main(void)
{
	write_cr4(read_cr4() | 0x600);             /* OSFXSR, OSXMMEXCPT */
	compute();
	change("changed_beside", changed_beside);
	change("changed_within", changed_within);
	faults();
	interrupts();
	return 0;
}
