/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loops that a translator may lay out several turns at a time: registers that move
 * by constants, over page ends, left after every number of turns. */
#include "loops.h"

#define LOOP(name, body) LOOP_ALIGNED(64, name, body)

LOOP(by_index, "1: mov (%rsi,%rax,8), %rdx\n add %rdx, (%rdi,%rax,8)\n add $1, %rax\n cmp %rcx, %rax\n jne 1b\n");
LOOP(by_pointers, "1: mov (%rsi), %rdx\n xor 8(%rsi), %rdx\n mov %rdx, 24(%rdi)\n add $8, %rsi\n lea 16(%rdi), %rdi\n"
	" sub $8, %rdi\n dec %rcx\n jnz 1b\n");
LOOP(downwards, "lea (%rax,%rcx,8), %rax\n1: dec %rax\n movzbl (%rsi,%rax), %edx\n rol $5, %rbx\n xor %rdx, %rbx\n"
	" sub $7, %rax\n dec %rcx\n jnz 1b\n");
LOOP(with_carry, "clc\n1: mov (%rsi), %rdx\n adc %rdx, (%rdi)\n lea 8(%rsi), %rsi\n lea 8(%rdi), %rdi\n dec %rcx\n jnz 1b\n"
	" setc %bl\n");
LOOP(other_registers, "mov %rsi, %r10\n mov %rdi, %r11\n1: mov (%r10), %rdx\n add %rdx, 8(%r11)\n add $8, %r10\n"
	" sub $-8, %r11\n add (%r10), %rbx\n dec %rcx\n jnz 1b\n");
LOOP(aligned, "shl $3, %rcx\n and $-16, %rcx\n add $16, %rcx\n1: movdqa (%rsi,%rax), %xmm0\n paddq (%rdi,%rax), %xmm0\n"
	" movups 8(%rdi,%rax), %xmm1\n movaps %xmm0, (%rdi,%rax)\n movups %xmm1, 8(%rdi,%rax)\n add $16, %rax\n"
	" cmp %rcx, %rax\n jne 1b\n movq %xmm0, %rbx\n");
LOOP(on_stack, "lea -1024(%rsp), %rsp\n and $127, %rcx\n inc %rcx\n1: push %rdx\n mov %rax, 8(%rsp,%rax,8)\n"
	" add 8(%rsp,%rax,8), %rdx\n pop %rbp\n add %rbp, %rbx\n inc %rax\n cmp %rcx, %rax\n jne 1b\n lea 1024(%rsp), %rsp\n");
LOOP(by_jump, "1: cmp %rcx, %rax\n je 2f\n add (%rsi,%rax,8), %rbx\n inc %rax\n jmp 1b\n2:\n");
LOOP(wide, "1: mov (%rsi), %rdx\n add %rdx, 1000(%rsi)\n add $248, %rsi\n add $-16, %rcx\n jg 1b\n");
LOOP(set_within, "1: mov (%rsi,%rax,8), %rdx\n and $7, %edx\n add (%rdi,%rdx,8), %rbx\n mov %rsi, %rbp\n add $8, %rbp\n"
	" add (%rbp,%rax,8), %rbx\n inc %rax\n cmp %rcx, %rax\n jne 1b\n");
LOOP(two_ends, "1: add (%rsi,%rax,8), %rbx\n inc %rax\n test $0x1f, %bl\n je 2f\n cmp %rcx, %rax\n jb 1b\n2:\n");
/* By the links that links() makes. */
LOOP(chain, "1: mov (%rdi), %rdx\n add 8(%rdi), %rbx\n mov %rbx, 16(%rdi)\n lea to(%rdx), %rdi\n dec %rcx\n jnz 1b\n");

static const struct { const char *name; loop *run; } loops[] = {
	{ "by_index", by_index }, { "by_pointers", by_pointers }, { "downwards", downwards }, { "with_carry", with_carry },
	{ "other_registers", other_registers }, { "aligned", aligned }, { "on_stack", on_stack }, { "by_jump", by_jump },
	{ "wide", wide }, { "set_within", set_within }, { "two_ends", two_ends },
};

/* A few links to each page, and back at the end. */
static void links(void)
{
	for (unsigned n = 0; n < WORDS; n++)
		to[n] = n % 14 ? n : 8 * (n + 14 + 3 < WORDS ? n + 14 : 0);
}

/* Along the links: in one page, then over its end in each of the turns. */
static void along(void)
{
	ulong h = 0;

	links();
	for (unsigned hot = 0; hot < 2 * HOT; hot++)
		h = h * 31 + once(chain, 126, 5);
	for (unsigned at = 126; at < 1030; at += 14)
		h = h * 31 + once(chain, at, 5);
	h = h * 31 + once(chain, 0, 9000);
	say("chain: %lx %lx\n", h, sum(0, to, WORDS));
}

int main(void)
{
	write_cr4(read_cr4() | 0x600);             /* OSFXSR, OSXMMEXCPT */
	for (unsigned n = 0; n < sizeof(loops) / sizeof(loops[0]); n++) {
		ulong h = 0;
		fill();
		for (unsigned hot = 0; hot < 4; hot++)
			h = h * 31 + once(loops[n].run, 0, HOT);
		for (unsigned count = 1; count < 20; count++)
			for (unsigned at = 496; at < 514; at += 2)
				h = h * 31 + once(loops[n].run, at, count);
		say("%s: %lx %lx %lx\n", loops[n].name, h, sum(0, from, WORDS), sum(0, to, WORDS));
	}
	along();
	return 0;
}
