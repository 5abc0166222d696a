/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two processors: INIT and start-up IPIs (SDM 3A 8.4), atomics (8.1), IPIs and
 * NMIs between them, TLB shoot-down and cross-modified code (8.1.3, 4.10.5). */
#include "guest.h"

enum { START = 0x8000, TURNS = 20000, IPIS = 200, SVR = 0xf0 / 4, EOI = 0xb0 / 4, ICR = 0x300 / 4,
       ICR2 = 0x310 / 4, ID = 0x20 / 4, INIT = 0x500, SIPI = 0x600, NMI = 0x400, PENDING = 0x1000 };
static volatile uint32_t *const apic = (uint32_t *)0xfee00000;
extern char ap_start[], ap_end[];
extern uint64_t page_tables[512];
char ap_stack[8192] __attribute__((aligned(16)));
void ap_main(void);
__asm__(".pushsection .text\n"
	".code16\n"
	"ap_start: cli\n"
	"	xor %ax, %ax; mov %ax, %ds\n"
	"	lgdtl (1f - ap_start + 0x8000)\n"
	"	mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
	"	mov $page_tables, %eax; mov %eax, %cr3\n"
	"	mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
	"	mov %cr0, %eax; or $0x80010001, %eax; mov %eax, %cr0\n"
	"	ljmpl $8, $2f\n"
	"1:	.word 2047; .long gdt\n"
	"ap_end:\n"
	".code64\n"
	"2:	mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
	"	xor %eax, %eax; mov %eax, %fs; mov %eax, %gs\n"
	"	mov $ap_stack + 8192, %rsp\n"
	"	lidt idtr\n"
	"	call ap_main\n"
	".popsection");

volatile ulong up, job, done, atomic_count, locked_count, lock, ipis, nmis, beats, seen_page;
volatile uint64_t pair[2] __attribute__((aligned(16)));
uint64_t pdpt[512] __attribute__((aligned(4096))), pd[512] __attribute__((aligned(4096))),
	pt[512] __attribute__((aligned(4096)));
volatile uint8_t page1[4096] __attribute__((aligned(4096))), page2[4096] __attribute__((aligned(4096)));
static volatile uint8_t *const window = (uint8_t *)0x400000000000;
uint8_t patched[64] __attribute__((aligned(64)));

static void pause(void) { __asm__ volatile("pause"); }

static void atomic_work(void)
{
	for (unsigned i = 0; i < TURNS; i++) {
		__asm__ volatile("lock incq %0" : "+m"(atomic_count));
		while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
			pause();
		locked_count = locked_count + 1;
		__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
	}
}

/* Both halves count up together, or the exchange was not one. */
static void pair_work(void)
{
	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t a = pair[0], b = pair[1];
		bool ok;

		do {
			__asm__ volatile("lock cmpxchg16b %1" : "=@ccz"(ok), "+m"(pair), "+a"(a), "+d"(b)
					 : "b"(a + 1), "c"(b + 1) : "memory");
		} while (!ok);
	}
}

void ap_main(void)
{
	ulong last = 0;

	apic[SVR] = 0x1ff;
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		beats = beats + 1;
		if (job == last) {
			__asm__ volatile("sti; pause; cli");
			continue;
		}
		last = job;
		switch (last & 0xff) {
		case 1: atomic_work(); break;
		case 2: pair_work(); break;
		case 3: seen_page = *window; break;
		case 4: __asm__ volatile("cpuid" ::: "eax", "ebx", "ecx", "edx");
			seen_page = ((ulong (*)(void))patched)(); break;
		case 5: while (job == last)
				__asm__ volatile("sti; hlt; cli");
			break;
		}
		done = last;
	}
}

static bool on_ap(struct trap *t)
{
	if (t->vector == 2) {
		nmis = nmis + 1;
	} else if (t->vector == 0x40) {
		ipis = ipis + 1;
		apic[EOI] = 0;
	} else if (t->vector == 0x41) {
		__asm__ volatile("invlpg (%0)" :: "r"(window) : "memory");
		ipis = ipis + 1;
		apic[EOI] = 0;
	} else {
		return false;
	}
	return true;
}

static void ipi(uint32_t command)
{
	apic[ICR2] = 1u << 24;
	apic[ICR] = command;
	while (apic[ICR] & PENDING)
		pause();
}

/* Give the other one work: a kind, and a number to know it by. */
static ulong begin(ulong kind)
{
	static ulong number;

	return job = ++number << 8 | kind;
}

/* False: it did not come to that in a long time. */
static bool wait_for(volatile ulong *v, ulong value)
{
	for (ulong i = 0; i < 400000000 && *v != value; i++)
		pause();
	return *v == value;
}

static void run(ulong kind) { wait_for(&done, begin(kind)); }

static void start(void)
{
	__builtin_memcpy((void *)START, ap_start, ap_end - ap_start);
	ipi(INIT | 0x4000);
	ipi(SIPI | START >> 12);
	ipi(SIPI | START >> 12);
}

static void shoot_down(void)
{
	page_tables[128] = (ulong)pdpt | 3;
	pdpt[0] = (ulong)pd | 3;
	pd[0] = (ulong)pt | 3;
	pt[0] = (ulong)page1 | 3;
	page1[0] = 1;
	page2[0] = 2;
	run(3);
	say("page %lu", seen_page);
	pt[0] = (ulong)page2 | 3;
	ipis = 0;
	ipi(0x41);
	wait_for(&ipis, 1);
	run(3);
	say(", after the shoot-down %lu\n", seen_page);
}

static void patch(uint32_t value)
{
	patched[0] = 0xb8;             /* mov $value, %eax; ret */
	__builtin_memcpy(patched + 1, &value, 4);
	patched[5] = 0xc3;
	run(4);
	say("patched code returns %lu\n", seen_page);
}

int main(void)
{
	ulong before = 0, n;

	trap_hook = on_ap;
	apic[SVR] = 0x1ff;
	start();
	say("up: %u, id %u\n", wait_for(&up, 1), apic[ID] >> 24);
	n = begin(1);
	atomic_work();
	wait_for(&done, n);
	say("lock inc %lu, under a lock %lu\n", atomic_count, locked_count);
	n = begin(2);
	pair_work();
	wait_for(&done, n);
	say("cmpxchg16b %lu %lu\n", (ulong)pair[0], (ulong)pair[1]);
	for (ulong i = 1; i <= IPIS; i++) {
		ipi(0x40);
		if (!wait_for(&ipis, i))
			break;
	}
	say("IPIs %lu\n", ipis);
	begin(5);
	ipis = 0;
	for (ulong i = 1; i <= IPIS; i++) {
		ipi(0x40);
		if (!wait_for(&ipis, i))
			break;
	}
	say("IPIs out of HLT %lu\n", ipis);
	begin(6);
	ipi(0x40);
	for (ulong i = 1; i <= 20; i++) {
		ipi(NMI);
		if (!wait_for(&nmis, i))
			break;
	}
	say("NMIs %lu\n", nmis);
	shoot_down();
	patch(17);
	patch(42);
	ipi(INIT | 0x4000);
	/* it may notice late: its host thread may not be running */
	for (unsigned tries = 0; tries < 20 && before != beats; tries++) {
		before = beats;
		for (unsigned i = 0; i < 500000; i++)
			pause();
	}
	say("INIT stops it: %u\n", beats == before);
	ipi(SIPI | START >> 12);
	say("up again: %u\n", wait_for(&up, 2));
	return 0;
}
