/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87 errors with CR0.NE = 0, the PC's way (SDM 1 8.7.2, SDM 3A 2.5 "NE"): not #MF
 * but IRQ 13, before the next waiting instruction, until port 0xf0 is written. */
#include "guest.h"

enum { BASE = 0x30, IRQ13 = BASE + 13 };

static volatile ulong interrupts, at, status;

static void remap_pics(void)
{
	static const uint8_t words[] = { 0x11, BASE, 4, 1 }, slave[] = { 0x11, BASE + 8, 2, 1 };
	for (unsigned i = 0; i < 4; i++) {
		outb(i ? 0x21 : 0x20, words[i]);
		outb(i ? 0xa1 : 0xa0, slave[i]);
	}
	outb(0x21, 0xfb);               /* the cascade */
	outb(0xa1, 0xdf);               /* IRQ 13 */
	*(volatile uint32_t *)0xfee000f0 = 0x1ff;
	*(volatile uint32_t *)0xfee00350 = 0x700;       /* LINT0: ExtINT */
}

/* As old systems do it: the x87 may be used after the write, the error cleared later. */
static bool on_trap(struct trap *t)
{
	if (t->vector != IRQ13)
		return false;
	uint16_t sw;
	interrupts++;
	at = t->ip;
	outb(0xf0, 0);
	__asm__ volatile("fnstsw %0" : "=m"(sw));
	status = sw;
	__asm__ volatile("fwait; fnclex");
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	return true;
}

/* The address of the instruction that was held up, from the label 98 of TRY. */
static void what_came(void)
{
	say("  interrupts %lu", interrupts);
	if (interrupts)
		say(", at ip+%lu, ZE %lu ES %lu", at - trap_start, status >> 2 & 1, status >> 7 & 1);
	say("\n");
	interrupts = 0;
}

#define ZERO_DIVIDE "fninit; pushl $0x37b; fldcw (%%esp); fld1; fldz; fdivrp %%st, %%st(1); "

int main(void)
{
	write_cr0((read_cr0() & ~0x2cul) | 0x20);       /* EM, TS off; NE on */
	remap_pics();
	trap_hook = on_trap;
	TRY("NE=1: #MF", ZERO_DIVIDE "fwait");
	what_came();
	write_cr0(read_cr0() & ~0x20ul);
	TRY("NE=0, FWAIT", "sti; " ZERO_DIVIDE "fwait; nop; cli");
	what_came();
	TRY("NE=0, FLD", "sti; " ZERO_DIVIDE "fld1; nop; cli");
	what_came();
	TRY("NE=0, instructions that do not wait", "sti; " ZERO_DIVIDE "fnstsw %%ax; fnclex; fwait; cli");
	what_came();
	TRY("NE=0, again after it was cleared", "sti; " ZERO_DIVIDE "fwait; nop; " ZERO_DIVIDE "fwait; nop; cli");
	say("  interrupts %lu\n", interrupts);
	interrupts = 0;
	write_cr0(read_cr0() | 0x20);
	TRY("NE=1 again: #MF", ZERO_DIVIDE "fwait");
	what_came();
	TRY("fninit", "fninit");
	return 0;
}
