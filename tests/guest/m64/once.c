/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One message, one interrupt: while its handler computes with IF=0, for milliseconds and without
 * anything that leaves the guest, nothing else comes in, nor does it come a second time (SDM 3A
 * 6.8.1, 11.8.4). QEMU's emulated AMD-V by itself gets this wrong: docs/kvm.md. */
#include "guest.h"

enum { APIC = 0xfee00000, SVR = 0xf0, EOI = 0xb0, VECTOR = 0x30, MESSAGES = 3 };
static volatile uint32_t *const apic = (uint32_t *)APIC;
volatile uint32_t taken, within, against_if, busy;
void device(void);

/* Its own, since the library's reads DR6, which a hypervisor may want to see. */
__asm__(".text\n"
	"device: push %rax\n"
	"	btq $9, 24(%rsp)\n"              /* IF of the interrupted */
	"	sbb %eax, %eax\n"
	"	inc %eax\n"
	"	add %eax, against_if\n"
	"	incl taken\n"
	"	mov busy, %eax\n"
	"	add %eax, within\n"
	"	movl $1, busy\n"
	"	mov $2000000, %eax\n"
	"1:	dec %eax\n"
	"	jnz 1b\n"
	"	movl $0, busy\n"
	"	mov $0xfee000b0, %eax\n"
	"	movl $0, (%rax)\n"
	"	pop %rax\n"
	"	iretq\n");

int main(void)
{
	idt[VECTOR * 2] = make_gate((ulong)device, SEL_CODE, 0x8e, 0);
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	apic[SVR / 4] = 0x1ff;
	for (unsigned n = 0; n < MESSAGES; n++)
		TRY_RUN("cli; mov $0xfee00300, %%ebx; movl $0x40030, (%%rbx); ", "sti; nop; nop; nop", "cli");
	say("%u messages, %u interrupts\n", MESSAGES, taken);
	say("%u within the handler of another, %u with IF=0\n", within, against_if);
	return 0;
}
