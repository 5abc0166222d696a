/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stack whose pages lie apart in memory: pushes, PUSHF and pops as the pointer stands
 * at each word around the border between two of them. */
#include "guest.h"

#define P 1ull
#define W 2ull
#define TOP 0x400000000000ull              /* PML4 entry 128 */
#define BORDER (TOP + 4096)
typedef uint64_t table[512] __attribute__((aligned(4096)));
extern table page_tables;                  /* the library's PML4 */
table pdpt, pd, pt;
typedef uint8_t frame[4096] __attribute__((aligned(4096)));
frame frames[4];
ulong saved, got[4];

#define STACKED(name, body) \
	__asm__(".balign 64\n" #name ": push %rbx\n push %rbp\n" \
		"mov %rsp, saved\n mov %rdi, %rsp\n mov $7, %ecx\n mov $9, %edx\n xor %eax, %eax\n xor %esi, %esi\n" body \
		"\nmov saved, %rsp\n mov %rax, got\n mov %rcx, got + 8\n mov %rdx, got + 16\n mov %rsi, got + 24\n" \
		"pop %rbp\n pop %rbx\n ret\n"); \
	void name(ulong sp)

/* As a compiler writes the beginning of a function, and what asks for the interrupt flag. */
STACKED(prologue, "push %rcx\n push %rdx\n push %rcx\n push %rdx\n sub $16, %rsp\n pushf\n pop %rax\n and $0x202, %eax\n"
		"add $16, %rsp\n pop %rcx\n pop %rdx\n pop %rcx\n pop %rdx");
STACKED(between, "push %rcx\n pushf\n push %rdx\n pop %rsi\n pop %rax\n pop %rdx\n and $0x202, %eax");
STACKED(twice, "pushf\n pushf\n pop %rax\n pop %rcx\n and $0x202, %eax\n and $0x202, %ecx\n push %rdx\n mov (%rsp), %rsi\n pop %rdx");
STACKED(word, "pushfw\n push %rcx\n pop %rdx\n popw %ax\n and $0x202, %eax\n push %rdx\n mov (%rsp), %rsi\n pop %rcx");
STACKED(back, "push %rdx\n pushf\n mov 8(%rsp), %rsi\n popf\n mov (%rsp), %rcx\n pop %rdx\n setz %al");

static void around(const char *name, void (*fn)(ulong sp))
{
	ulong sum = 0;
	for (int turn = 0; turn < 300; turn++)
		for (int words = -2; words <= 12; words++) {
			if (turn % 100 == 0)
				invlpg((void *)TOP);
			fn(BORDER + (ulong)(words * 8));
			for (int i = 0; i < 4; i++)
				sum = sum * 31 + got[i];
		}
	say("%s %lx %lx %lx %lx, all %lx\n", name, got[0], got[1], got[2], got[3], sum);
}

int main(void)
{
	page_tables[128] = (ulong)pdpt | P | W;
	pdpt[0] = (ulong)pd | P | W;
	pd[0] = (ulong)pt | P | W;
	pt[0] = (ulong)frames[3] | P | W;
	pt[1] = (ulong)frames[1] | P | W;
	write_cr3(read_cr3());
	around("prologue", prologue);
	around("between", between);
	around("twice", twice);
	around("word", word);
	around("back", back);
	return 0;
}
