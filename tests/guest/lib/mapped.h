/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User code in pages at an address of its own, whose mappings and bytes a test changes;
 * drive calls what RBX points to R15D times, EDX is the result. */
#ifndef GUEST_MAPPED_H
#define GUEST_MAPPED_H

#include "guest.h"

#define P 1ull
#define W 2ull
#define U 4ull
#ifndef TOP
#define TOP 0x400000000000                 /* PML4 entry 128 */
#endif
typedef uint64_t table[512] __attribute__((aligned(4096)));
extern table page_tables;                  /* the library's PML4 */
table pdpt, pd, pt;
typedef uint8_t frame[4096] __attribute__((aligned(4096)));
frame first, second, third;
extern const frame code_first, code_second;
ulong seen;

__asm__(".text\n.balign 64\ndrive: call *%rbx\n dec %r15d\n jnz drive\n mov %rdx, seen\n ret\n");

#define TEXT(x) TEXT2(x)
#define TEXT2(x) #x
#define DRIVE(what, where, times) do { \
	seen = 0; \
	TRY_USER(what, "movabs $" TEXT(TOP) " + " where ", %%rbx; mov $" times ", %%r15d; xor %%edx, %%edx; xor %%ecx, %%ecx; call drive"); \
	say("  %lx\n", seen); } while (0)

static void copy(uint8_t *to, const uint8_t *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = from[i];
}

static void set(unsigned n, const frame f, uint64_t rights)
{
	pt[n] = (ulong)f | rights;
	invlpg((void *)(TOP + n * 4096ul));
}

/* Low addresses have a page directory of the library's. */
static void map(ulong at)
{
	page_tables[128] = (ulong)pdpt | P | W | U;
	pdpt[0] = (ulong)pd | P | W | U;
	pd[0] = (ulong)pt | P | W | U;
	if (at < 1ull << 32)
		((uint64_t *)page_tables)[1024 + at / (1 << 21)] = (ulong)pt | P | W | U;
}

#endif
