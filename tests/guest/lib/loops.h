/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loops in assembly over two arrays of words, run hot and summed up. */
#ifndef GUEST_LOOPS_H
#define GUEST_LOOPS_H

#include "guest.h"

enum { WORDS = 4096, HOT = 1500 };
ulong from[WORDS] __attribute__((aligned(4096))), to[WORDS] __attribute__((aligned(4096)));
typedef void loop(ulong *regs);

/* RDI: { RSI, RDI, RAX, RCX } in, RBX and RDX of the end out. */
#define LOOP_ALIGNED(bytes, name, body) \
	__asm__(".text\n.balign " #bytes "\n" #name ": push %rbx\n push %rbp\n push %rdi\n" \
		" mov (%rdi), %rsi\n mov 16(%rdi), %rax\n mov 24(%rdi), %rcx\n mov 8(%rdi), %rdi\n" \
		" xor %ebx, %ebx\n xor %edx, %edx\n" body \
		" pop %rdi\n mov %rbx, 32(%rdi)\n mov %rdx, 40(%rdi)\n mov %rax, 48(%rdi)\n pop %rbp\n pop %rbx\n ret\n"); \
	loop name

static void fill(void)
{
	ulong x = 88172645463325252ull;
	for (unsigned n = 0; n < WORDS; n++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		from[n] = x;
		to[n] = n;
	}
}

static ulong sum(ulong h, const ulong *p, unsigned n)
{
	while (n--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static inline ulong once(loop *run, unsigned at, unsigned count)
{
	ulong regs[7] = { (ulong)&from[at], (ulong)&to[at], 0, count };
	run(regs);
	return sum(0, regs + 2, 5);
}

#endif
