/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User code that has run often enough for a translator to know its pages by heart:
 * each change of a mapping, and its rights, must reach it (SDM 3A 4.10.4). */
#include "guest.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define TOP 0x400000000000ull              /* PML4 entry 128 */
typedef uint64_t table[512] __attribute__((aligned(4096)));
extern table page_tables;                  /* the library's PML4 */
table pdpt, pd, pt;
uint8_t page[4096] __attribute__((aligned(4096))), other[4096] __attribute__((aligned(4096)));
ulong seen;

/* RBX: where; RDI: how much further each time; ECX: times; AL: what is stored. */
__asm__(".text\n"
	".balign 64\nhot_read: movq (%rbx), %rax\n add %rdi, %rbx\n dec %ecx\n jnz hot_read\n mov %rax, seen\n ret\n"
	".balign 64\nhot_write: movb %al, (%rbx)\n add %rdi, %rbx\n dec %ecx\n jnz hot_write\n ret\n"
	".balign 64\nhot_aligned: movaps (%rbx), %xmm0\n add %rdi, %rbx\n dec %ecx\n jnz hot_aligned\n"
	" movq %xmm0, seen\n ret\n"
	".balign 64\nhot_frame: push %rax\n push %rbx\n mov 8(%rsp), %rdx\n add $1, %rdx\n mov %rdx, 8(%rsp)\n"
	" pop %rbx\n pop %rax\n dec %ecx\n jnz hot_frame\n mov %rax, seen\n ret\n"
	/* turns: what is at -1000 goes by the check for 0 and -500 of the turn before, when 0 has gone by another */
	".balign 64\nhot_turns: xor %eax, %eax\n2: mov %rbx, %rsi\n mov $5, %edx\n1: add (%rsi), %rax\n add -500(%rsi), %rax\n"
	" rol $3, %rax\n add -1000(%rsi), %rax\n add $600, %rsi\n dec %edx\n jnz 1b\n"
	" add %rdi, %rbx\n dec %ecx\n jnz 2b\n mov %rax, seen\n ret\n");

#define RUN(what, where, step, times, name) \
	TRY_USER(what, "movabs $" where ", %%rbx; mov $" step ", %%edi; mov $" times ", %%ecx; call " name)
#define START "0x400000000000"
#define READ(what) do { RUN(what ": read", START, "0", "9000", "hot_read"); say("  %lx\n", seen); } while (0)
#define WRITE(what) RUN(what ": write", START, "0", "9000", "hot_write")

static void set(uint64_t entry)
{
	pt[0] = entry;
	invlpg((void *)TOP);
}

static void rights(void)
{
	READ("first page");
	WRITE("first page");
	set((ulong)other | P | W | U);
	READ("INVLPG to another");
	pt[0] = (ulong)page | P | W | U;
	write_cr3(read_cr3());
	page[0] = 0x11;
	READ("CR3 to the first");
	set((ulong)page | P | U);
	READ("read-only");
	WRITE("read-only");
	set((ulong)page | P | W);
	READ("supervisor");
	WRITE("supervisor");
	set((ulong)page | W | U);
	READ("not present");
	set((ulong)page | P | W | U);
	WRITE("present again");
	READ("present again");
}

static void edges(void)
{
	RUN("over the end", START, "1", "5000", "hot_read");
	RUN("over the end, written", START, "1", "5000", "hot_write");
	RUN("aligned", START, "0", "9000", "hot_aligned");
	RUN("aligned, over the end", START, "16", "9000", "hot_aligned");
	RUN("misaligned", "0x400000000008", "0", "1", "hot_aligned");
	RUN("not canonical", "0x8000000000000000", "0", "1", "hot_read");
	pt[1] = (ulong)other | P | W | U;
	other[0] = 0x22;
	RUN("into the next page", "0x400000000ffc", "0", "9000", "hot_read");
	say("  %lx\n", seen >> 32 & 0xff);
	pt[1] = (ulong)page | P | W | U;
	invlpg((void *)(TOP + 4096));
	for (unsigned n = 0; n < 4096; n++)
		page[n] = (uint8_t)(n * n >> 4);
	RUN("turns", "0x4000000003f0", "0", "3000", "hot_turns");
	say("  %lx\n", seen);
	RUN("turns, over the end", "0x4000000003f0", "8", "250", "hot_turns");
	say("  %lx\n", seen);
	RUN("frames", START, "0", "9000", "hot_frame");
	say("  %lx\n", seen);
}

/* The page that is stored to becomes code, and changes under it. */
static void code(void)
{
	page[0] = 0xc3;
	WRITE("data");
	for (unsigned n = 0; n < 3; n++) {
		TRY_USER("code: RET", "movabs $0x400000000000, %%rbx; movb $0xc3, (%%rbx); call *%%rbx");
		TRY_USER("code: UD2", "movabs $0x400000000000, %%rbx; mov $0x0f, %%eax; xor %%edi, %%edi; mov $1, %%ecx;"
			 "movb $0x0b, 1(%%rbx); call hot_write; movabs $0x400000000000, %%rbx; call *%%rbx");
	}
}

int main(void)
{
	page_tables[128] = (ulong)pdpt | P | W | U;
	pdpt[0] = (ulong)pd | P | W | U;
	pd[0] = (ulong)pt | P | W | U;
	pt[0] = (ulong)page | P | W | U;
	write_cr3(read_cr3());
	write_cr4(read_cr4() | 0x600);             /* OSFXSR, OSXMMEXCPT */
	page[0] = 0x10;
	other[0] = 0x20;
	rights();
	edges();
	code();
	return 0;
}
