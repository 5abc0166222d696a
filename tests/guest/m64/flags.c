/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flags over accesses to memory, which a translator's checks cost: each condition, read
 * by a jump, SETcc and CMOVcc, and what INC, DEC and ADC keep or take. */
#include "loops.h"

/* RAX and RCX are compared, then memory is read; where it goes is told by bit 16. */
#define TOLD "pushf\n pop %rbx\n and $0x8d5, %ebx\n"
#define ELSE " " TOLD " jmp 2f\n1: mov 8(%rsi), %rbp\n " TOLD " btc $16, %rbx\n2:\n"
#define CONDITION(cc) \
	LOOP_ALIGNED(64, jump_##cc, "cmp %rcx, %rax\n mov (%rsi), %rdx\n j" #cc " 1f\n" ELSE); \
	LOOP_ALIGNED(64, jumps_##cc, "cmp %rcx, %rax\n mov (%rsi), %rdx\n jp 1f\n mov %rdx, (%rdi)\n j" #cc " 1f\n" ELSE); \
	LOOP_ALIGNED(64, set_##cc, "cmp %rcx, %rax\n mov (%rsi), %rdx\n set" #cc " (%rdi)\n movzbl (%rdi), %ebp\n" \
		" set" #cc " %al\n cmov" #cc " %rcx, %rdx\n xchg %rbp, 8(%rdi)\n " TOLD); \
	LOOP_ALIGNED(64, dec_##cc, "cmp %rcx, %rax\n mov (%rsi), %rdx\n dec %rax\n mov %rdx, (%rdi)\n j" #cc " 1f\n" ELSE); \
	LOOP_ALIGNED(64, loop_##cc, "mov $8, %ebp\n cmp %rcx, %rax\n1: mov (%rsi), %rdx\n adc %rdx, (%rdi)\n inc %rax\n" \
		" lea 8(%rsi), %rsi\n mov %rdx, 8(%rdi)\n lea -1(%rbp), %rbp\n xchg %rcx, %rbp\n jrcxz 2f\n xchg %rcx, %rbp\n" \
		" j" #cc " 1b\n2: " TOLD); \
	LOOP_ALIGNED(64, only_##cc, "mov $9, %ebp\n cmp %rcx, %rax\n1: movq (%rsi), %xmm0\n inc %rcx\n movq %xmm0, (%rdi)\n" \
		" lea 8(%rsi), %rsi\n set" #cc " %dl\n lea 1(%rdi), %rdi\n dec %rbp\n jnz 1b\n " TOLD)

CONDITION(o); CONDITION(no); CONDITION(b); CONDITION(ae); CONDITION(e); CONDITION(ne); CONDITION(be); CONDITION(a);
CONDITION(s); CONDITION(ns); CONDITION(p); CONDITION(np); CONDITION(l); CONDITION(ge); CONDITION(le); CONDITION(g);

#define ALL(cc) { #cc, { jump_##cc, jumps_##cc, set_##cc, dec_##cc, loop_##cc, only_##cc } }
static const struct { const char *name; loop *run[6]; } conditions[] = {
	ALL(o), ALL(no), ALL(b), ALL(ae), ALL(e), ALL(ne), ALL(be), ALL(a),
	ALL(s), ALL(ns), ALL(p), ALL(np), ALL(l), ALL(ge), ALL(le), ALL(g),
};
static const ulong values[] = { 0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff };
enum { VALUES = sizeof(values) / sizeof(values[0]) };

static ulong pairs(ulong h, loop *run)
{
	for (unsigned a = 0; a < VALUES; a++)
		for (unsigned b = 0; b < VALUES; b++) {
			ulong regs[7] = { (ulong)&from[8 * a + b], (ulong)&to[8 * b], values[a], values[b] };
			run(regs);
			h = sum(h, regs + 2, 5);
		}
	return h;
}

int main(void)
{
	write_cr4(read_cr4() | 0x600);             /* OSFXSR, OSXMMEXCPT */
	for (unsigned n = 0; n < sizeof(conditions) / sizeof(conditions[0]); n++) {
		ulong h[6];
		fill();
		for (unsigned k = 0; k < 6; k++) {
			h[k] = 0;
			for (unsigned hot = 0; hot < HOT / 50; hot++)
				h[k] = pairs(h[k], conditions[n].run[k]);
		}
		say("%s: %lx %lx %lx %lx %lx %lx %lx\n", conditions[n].name, h[0], h[1], h[2], h[3], h[4], h[5], sum(0, to, WORDS));
	}
	return 0;
}
