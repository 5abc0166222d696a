/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 4-level paging: rights of all levels, NX, reserved bits, 2M and 1G pages,
 * accessed and dirty bits, global pages, PCID, SMEP, SMAP (SDM 3A 4.5 to 4.10). */
#include "guest.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define PS 0x80ull
#define G 0x100ull
#define NX (1ull << 63)
#define TOP 0x400000000000ull              /* PML4 entry 128 */
typedef uint64_t table[512] __attribute__((aligned(4096)));
extern table page_tables;                  /* the library's PML4 */
table pdpt, pd, pt;
uint8_t page[4096] __attribute__((aligned(4096))), other[4096] __attribute__((aligned(4096)));
volatile uint8_t *const window = (uint8_t *)TOP;

static void reset(void)
{
	page_tables[128] = (ulong)pdpt | P | W | U;
	pdpt[0] = (ulong)pd | P | W | U;
	pd[0] = (ulong)pt | P | W | U;
	pt[0] = (ulong)page | P | W | U;
	write_cr3(read_cr3());
}

#define SET(entry, value) do { reset(); entry = (value); invlpg(window); } while (0)
#define READ(what) TRY(what ": read", "movabs $0x400000000000, %%rbx; mov (%%rbx), %%rax")
#define WRITE(what) TRY(what ": write", "movabs $0x400000000000, %%rbx; mov %%rax, (%%rbx)")
#define FETCH(what) TRY(what ": fetch", "movabs $0x400000000000, %%rbx; movb $0xc3, page; call *%%rbx")
#define UREAD(what) TRY_USER(what ": CPL 3 read", "movabs $0x400000000000, %%rbx; mov (%%rbx), %%rax")
#define UWRITE(what) TRY_USER(what ": CPL 3 write", "movabs $0x400000000000, %%rbx; mov %%rax, (%%rbx)")
#define UFETCH(what) TRY_USER(what ": CPL 3 fetch", "movabs $0x400000000000, %%rbx; movb $0xc3, page; call *%%rbx")

static void level(const char *name, uint64_t *entry)
{
	uint64_t good;

	reset();
	good = *entry;
	say("%s\n", name);
	SET(*entry, good & ~P);
	READ(" not present");
	UWRITE(" not present");
	SET(*entry, good & ~W);
	WRITE(" read-only");
	UWRITE(" read-only");
	SET(*entry, good & ~U);
	READ(" supervisor");
	UREAD(" supervisor");
	UFETCH(" supervisor");
	SET(*entry, good | NX);
	READ(" NX, NXE=0");
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	READ(" NX");
	FETCH(" NX");
	UFETCH(" NX");
	SET(*entry, good | 1ull << 45);
	READ(" bit 45 reserved");
	SET(*entry, good | 1ull << 52 | 1ull << 9 | 1ull << 62);
	READ(" ignored bits");
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull);
}

static void large(void)
{
	uint64_t base2 = (ulong)page & ~0x1fffffull;

	SET(page_tables[128], ((ulong)pdpt) | P | W | U | PS);
	READ("PS in the PML4");
	SET(pd[0], base2 | P | W | U | PS);
	READ("2M page");
	say("  A/D %lx\n", pd[0] & 0x60);
	WRITE("2M page");
	say("  A/D %lx pdpte %lx\n", pd[0] & 0x60, pdpt[0] & 0x60);
	SET(pd[0], base2 | P | W | U | PS | 1 << 14);
	READ("2M page, bit 14");
	SET(pd[0], base2 | P | W | U | PS | 1 << 12);
	READ("2M page, PAT bit 12");
	SET(pdpt[0], P | W | U | PS);
	READ("1G page");
	say("  A/D %lx\n", pdpt[0] & 0x60);
	SET(pdpt[0], P | W | U | PS | 1 << 20);
	READ("1G page, bit 20");
	SET(pdpt[0], P | PS | U);
	UWRITE("1G page read-only");
	SET(pt[0], (ulong)page | P | W | U | PS);
	READ("PAT bit 7 in a PTE");
}

/* Does the TLB still have the old page? A stale read is allowed where no
 * flush is due, so only the cases that must flush or must not are shown. */
static uint8_t swap_and_read(void (*flush)(void), uint64_t flags)
{
	reset();
	pt[0] |= flags;
	write_cr4(read_cr4() & ~0x80ul);
	write_cr4(read_cr4() | 0x80);
	page[0] = 1;
	other[0] = 2;
	(void)*window;
	pt[0] = (ulong)other | P | W | U | flags;
	flush();
	return *window;
}

static void by_invlpg(void) { invlpg(window); }
static void by_cr3(void) { write_cr3(read_cr3()); }
static void by_cr4(void) { write_cr4(read_cr4() ^ 0x80); }
static void by_invpcid(ulong type)
{
	uint64_t d[2] __attribute__((aligned(16))) = { 0, TOP };

	__asm__ volatile("invpcid %0, %1" :: "m"(d), "r"(type) : "memory");
}
static void by_invpcid0(void) { by_invpcid(0); }
static void by_invpcid1(void) { by_invpcid(1); }
static void by_invpcid2(void) { by_invpcid(2); }
static void by_invpcid3(void) { by_invpcid(3); }

static void flushes(void)
{
	say("flush: invlpg %u cr3 %u invpcid %u %u %u %u\n", swap_and_read(by_invlpg, 0),
	    swap_and_read(by_cr3, 0), swap_and_read(by_invpcid0, 0), swap_and_read(by_invpcid1, 0),
	    swap_and_read(by_invpcid2, 0), swap_and_read(by_invpcid3, 0));
	say("flush global: invlpg %u cr4 %u invpcid-2 %u\n", swap_and_read(by_invlpg, G),
	    swap_and_read(by_cr4, G), swap_and_read(by_invpcid2, G));
	write_cr4(read_cr4() & ~0x80ul);
}

static void pcid(void)
{
	uint8_t a, b, c;

	reset();
	write_cr3(read_cr3() & ~0xffful);
	write_cr4(read_cr4() | 0x20000);
	page[0] = 1;
	other[0] = 2;
	(void)*window;                             /* PCID 0 has the page */
	pt[0] = (ulong)other | P | W | U;
	write_cr3(read_cr3() | 5);                 /* PCID 5, flushed */
	a = *window;
	pt[0] = (ulong)page | P | W | U;
	write_cr3((read_cr3() & ~0xffful) | 5);    /* flush of the same */
	b = *window;
	write_cr3(read_cr3() & ~0xffful);
	c = *window;
	say("PCID: %u %u %u\n", a, b, c);
	write_cr4(read_cr4() & ~0x20000ul);
}

static void smep_smap(void)
{
	reset();
	/* the program itself moves into supervisor pages */
	for (unsigned i = 0; i < 512; i++)
		((uint64_t *)page_tables)[1024 + i] &= ~U;
	write_cr3(read_cr3());
	page[0] = 0xc3;
	write_cr4(read_cr4() | 0x100000);
	TRY("SMEP: fetch", "movabs $0x400000000000, %%rbx; call *%%rbx");
	READ("SMEP");
	SET(pd[0], (ulong)pt | P | W);
	TRY("SMEP, supervisor by the directory: fetch", "movabs $0x400000000000, %%rbx; call *%%rbx");
	write_cr4((read_cr4() & ~0x100000ul) | 0x200000);
	reset();
	READ("SMAP");
	WRITE("SMAP");
	TRY("SMAP, AC=1", "stac; movabs $0x400000000000, %%rbx; mov (%%rbx), %%rax; mov %%rax, (%%rbx); clac");
	TRY("SMAP after CLAC", "stac; clac; movabs $0x400000000000, %%rbx; mov (%%rbx), %%rax");
	TRY("SMAP, the same page before and after CLAC",
	    "movabs $0x400000000000, %%rbx; stac; mov (%%rbx), %%rax; mov 8(%%rbx), %%rcx; mov %%rcx, 16(%%rbx); clac; mov 24(%%rbx), %%rax");
	TRY("SMAP, CLAC with flags alive", "xor %%eax, %%eax; stac; jnz 1f; cmp $1, %%eax; clac; jc 2f; 1: ud2; 2:");
	TRY("SMAP, POPF sets AC", "pushq $0x40002; popfq; movabs $0x400000000000, %%rbx; mov (%%rbx), %%rax");
	gdt[SEL_FREE / 8] = make_desc(0, 0xff, D_LDT, 0);
	gdt[SEL_FREE / 8 + 1] = TOP >> 32;
	TRY("SMAP, descriptor table in a user page: AC does not count",
	    "mov $0x50, %%eax; lldt %%ax; stac; mov $4, %%eax; mov %%eax, %%fs");
	TRY("SMAP, supervisor page", "mov page, %%rax");
	TRY("STAC's AC is in the frame, not in the handler", "stac; ud2");
	say("  ac %lu\n", trap.flags >> 18 & 1);
}

/* Prefetches of what is there, is not, and cannot be: none faults, and flags stay. */
static void prefetches(void)
{
	reset();
	READ("before prefetches");
	TRY("prefetches", "movabs $0x400000000000, %%rbx; cmp $1, %%ebx; prefetcht0 (%%rbx); prefetchw 64(%%rbx,%%rbx);"
	    "movabs $0x5000000000000000, %%rcx; prefetchnta (%%rcx); xor %%r10d, %%r10d; stc; prefetcht1 (%%r10); prefetcht2 8(%%rbx,%%r10,4);"
	    "jnc 1f; cmp %%rbx, %%rbx; prefetcht0 %%gs:(%%rbx,%%r10,2); jz 2f; 1: ud2; 2:");
	pt[0] = 0;
	write_cr3(read_cr3());
	TRY("prefetch of a page taken away", "movabs $0x400000000000, %%rbx; cmp %%rbx, %%rbx; prefetchw (%%rbx); jz 1f; ud2; 1:");
	READ("after it");
}

int main(void)
{
	level("PML4E", &page_tables[128]);
	level("PDPTE", &pdpt[0]);
	level("PDE", &pd[0]);
	level("PTE", &pt[0]);
	large();
	flushes();
	pcid();
	prefetches();
	smep_smap();
	return 0;
}
