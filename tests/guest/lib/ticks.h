/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A timer that ticks, for loops that end when it has ticked often enough. */
#ifndef GUEST_TICKS_H
#define GUEST_TICKS_H

#include "guest.h"

static volatile uint32_t *const apic = (uint32_t *)0xfee00000;
enum { TICKS = 20, TICK_VECTOR = 0x30, SVR = 0xf0, LVT_TIMER = 0x320, INITIAL = 0x380, DIVIDE = 0x3e0, TICK_COUNT = 200000 };
volatile uint32_t ticks, enough;
void tick(void);
__asm__(".text\n.balign 64\ntick: push %rax\n incl ticks\n cmpl $20, ticks\n setae enough\n mov $0xfee000b0, %eax\n"
	" movl $0, (%rax)\n movl $200000, 0x2d0(%rax)\n pop %rax\n iretq\n");

static void ticks_prepare(void)
{
	idt[TICK_VECTOR * 2] = make_gate((ulong)tick, SEL_CODE, 0x8e, 0);
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	apic[SVR / 4] = 0x1ff;
	apic[DIVIDE / 4] = 0xb;
	apic[LVT_TIMER / 4] = TICK_VECTOR;
}

/* Around what waits for `enough`: the first tick comes after so many cycles of the timer. */
static void ticks_begin(uint32_t first)
{
	ticks = enough = 0;
	apic[INITIAL / 4] = first;
}

static const char *ticks_end(void)
{
	apic[INITIAL / 4] = 0;
	return ticks >= TICKS ? "interrupted" : "over too soon";
}

#endif
