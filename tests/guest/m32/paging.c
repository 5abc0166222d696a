/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 32-bit and PAE paging: rights, WP, large pages, reserved bits, accessed and
 * dirty bits, NX, PDPTEs (SDM 3A 4.3, 4.4, 4.6 to 4.8, 4.10). */
#include "guest.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, BASE = 0x40000000 };
uint32_t pd[1024] __attribute__((aligned(4096))), pt[1024] __attribute__((aligned(4096)));
uint64_t pdpt[4] __attribute__((aligned(4096))), pd_pae[4][512] __attribute__((aligned(4096))),
	pt_pae[512] __attribute__((aligned(4096)));
uint8_t page[8192] __attribute__((aligned(8192)));
volatile uint8_t *const window = (uint8_t *)BASE;

/* One to one with 4 MiB pages for the low gigabyte; the window by pt. */
static void setup32(void)
{
	for (unsigned i = 0; i < 256; i++)
		pd[i] = i << 22 | P | W | U | PS;
	pd[BASE >> 22] = (ulong)pt | P | W | U;
	pt[0] = (ulong)page | P | W | U;
	write_cr4(read_cr4() | 0x10);
	write_cr3((ulong)pd);
	write_cr0(read_cr0() | 0x80000000);
}

static void set_pt(uint32_t flags) { pt[0] = (ulong)page | flags; invlpg(window); }
static void set_pd(uint32_t flags) { pd[BASE >> 22] = (ulong)pt | flags; invlpg(window); }
#define READ(what) TRY(what ": read", "mov 0x40000000, %%eax")
#define WRITE(what) TRY(what ": write", "mov %%eax, 0x40000000")
#define UREAD(what) TRY_USER(what ": CPL 3 read", "mov 0x40000000, %%eax")
#define UWRITE(what) TRY_USER(what ": CPL 3 write", "mov %%eax, 0x40000000")
#define FETCH(what) TRY(what ": fetch", "call 0x40000000")
#define UFETCH(what) TRY_USER(what ": CPL 3 fetch", "mov $0x40000000, %%eax; call *%%eax")
#define ALL(what) do { READ(what); WRITE(what); UREAD(what); UWRITE(what); } while (0)

static void rights(void)
{
	ALL("user, writable");
	set_pt(P | W);
	ALL("supervisor");
	set_pt(P | U);
	ALL("read-only, WP=0");
	write_cr0(read_cr0() | 0x10000);
	ALL("read-only, WP=1");
	set_pt(P | W | U);
	set_pd(P | U);
	ALL("directory read-only");
	set_pd(P | W);
	ALL("directory supervisor");
	set_pd(0);
	ALL("directory not present");
	set_pd(P | W | U);
	set_pt(0);
	ALL("not present");
	set_pt(W | U);
	ALL("not present, other bits set");
	set_pt(P | W | U);
	pt[1] = 0;
	TRY("dword across into a missing page", "mov 0x40000ffe, %%eax");
	TRY("write across: nothing is written", "movl $0x11111111, 0x40000ffc; movl $0x22222222, 0x40000ffe");
	say("  left %x\n", *(uint32_t *)(page + 0xffc));
	TRY("RMW of a read-only page", "lock incl 0x40000000");
	set_pt(P | U);
	TRY("RMW of a read-only page: a write", "lock incl 0x40000000");
	set_pt(P | W | U);
}

static void accessed_dirty(void)
{
	set_pt(P | W | U);
	set_pd(P | W | U);
	(void)window[0];
	say("A/D after read: pte %x pde %x\n", pt[0] & 0x60, pd[BASE >> 22] & 0x60);
	window[0] = 0xc3;
	say("after write: pte %x pde %x\n", pt[0] & 0x60, pd[BASE >> 22] & 0x60);
	pt[0] &= ~0x60u;
	window[1] = 1;
	say("TLB keeps D: pte %x\n", pt[0] & 0x60);
	set_pt(P | U);
	WRITE("refused write");
	say("  A/D: pte %x\n", pt[0] & 0x60);
	set_pt(P | W | U);
	page[0] = 0xc3;
	FETCH("A by fetch");
	say("  A/D: pte %x\n", pt[0] & 0x60);
	pd[BASE >> 22] = ((ulong)page & ~0x3fffffu) | P | W | U | PS;
	invlpg(window);
	*(volatile uint8_t *)(BASE + ((ulong)page & 0x3fffff)) = 0xc3;
	say("4M page: pde %x\n", pd[BASE >> 22] & 0x60);
	pd[BASE >> 22] |= 1 << 21;
	invlpg(window);
	ALL("4M page, reserved bit 21");
	set_pd(P | W | U);
}

static void pae(void)
{
	write_cr0(read_cr0() & ~0x80000000ul);
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (ulong)pd_pae[i] | P;
	for (unsigned i = 0; i < 512; i++)
		pd_pae[0][i] = (uint64_t)i << 21 | P | W | U | PS;
	pd_pae[1][0] = (ulong)pt_pae | P | W | U;
	pt_pae[0] = (ulong)page | P | W | U;
	write_cr4(read_cr4() | 0x20);
	write_cr3((ulong)pdpt);
	write_cr0(read_cr0() | 0x80000000);
	ALL("PAE user");
	page[0] = 0xc3;
	pt_pae[0] |= 1ull << 63;
	invlpg(window);
	READ("PAE bit 63 without NXE");
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	READ("PAE NX");
	FETCH("PAE NX");
	UFETCH("PAE NX");
	pt_pae[0] = (ulong)page | P | W;
	invlpg(window);
	UFETCH("PAE supervisor page");
	pt_pae[0] = (ulong)page | P | W | U | 1ull << 52;
	invlpg(window);
	READ("PAE reserved bit 52");
	pt_pae[0] = (ulong)page | P | W | U | 1ull << 51;
	invlpg(window);
	READ("PAE reserved bit 51");
	UWRITE("PAE reserved bit 51");
	pt_pae[0] = (ulong)page | P | W | U;
	pd_pae[1][0] = ((ulong)page & ~0x1fffffull) | P | W | U | PS | 1 << 13;
	invlpg(window);
	READ("PAE 2M page, reserved bit 13");
	pd_pae[1][0] = (ulong)pt_pae | P | W | U;
	write_cr3((ulong)pdpt);
	pdpt[1] = 0;
	invlpg(window);
	READ("PDPTE cleared in memory only");
	write_cr3((ulong)pdpt);
	READ("PDPTE cleared and CR3 loaded");
	pdpt[1] = (ulong)pd_pae[1] | P | W;
	TRY("CR3 with a reserved bit in a PDPTE", "mov %%eax, %%cr3", (ulong)pdpt);
	pdpt[1] = (ulong)pd_pae[1] | 2;
	TRY("CR3, PDPTE not present: no check", "mov %%eax, %%cr3", (ulong)pdpt);
	pdpt[1] = (ulong)pd_pae[1] | P;
	write_cr3((ulong)pdpt);
	TRY("PG without PE", "mov %%cr0, %%eax; and $~1, %%eax; mov %%eax, %%cr0");
	TRY("NW without CD", "mov %%cr0, %%eax; or $0x20000000, %%eax; and $~0x40000000, %%eax; mov %%eax, %%cr0");
	TRY("CR4 reserved bit", "mov %%cr4, %%eax; or $0x80000000, %%eax; mov %%eax, %%cr4");
	TRY("CR4.PCIDE outside long mode", "mov %%cr4, %%eax; or $0x20000, %%eax; mov %%eax, %%cr4");
}

static void smep_smap(void)
{
	write_cr0(read_cr0() | 0x10000);
	page[0] = 0xc3;
	/* the library itself must be in supervisor pages */
	for (unsigned i = 0; i < 512; i++)
		pd_pae[0][i] &= ~(uint64_t)U;
	write_cr3((ulong)pdpt);
	write_cr4(read_cr4() | 0x100000);
	READ("SMEP");
	FETCH("SMEP");
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull);
	FETCH("SMEP, NXE=0");
	write_cr4((read_cr4() & ~0x100000ul) | 0x200000);
	READ("SMAP");
	WRITE("SMAP");
	TRY("SMAP with AC", "stac; mov 0x40000000, %%eax; mov %%eax, 0x40000000; clac");
	FETCH("SMAP does not touch fetches");
	pt_pae[0] = (ulong)page | P | W;
	invlpg(window);
	READ("SMAP, supervisor page");
}

int main(void)
{
	page[0] = 0xc3;
	setup32();
	rights();
	accessed_dirty();
	pae();
	smep_smap();
	return 0;
}
