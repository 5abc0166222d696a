/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct branches of user code from page to page, run often enough for a translator to
 * know by heart where they lead: each change of a mapping and of the code must reach
 * them, and the flags must get over (SDM 3A 4.10.4, 8.1.3). */
#include "mapped.h"

frame ring;

/* Two pages of code. At 0: there and back; at 256: to what needs no flags; at 512:
 * flags over a backward branch; at 1024: a conditional one; at 1280: flags over both. */
__asm__(".section .rodata\n.balign 4096\n"
	"code_first: jmp 1f\n .org code_first + 16\n2: cmp %eax, %eax\n jmp 3f\n1: mov $300, %ecx\n jmp 2b\n"
	" .org code_first + 256\n cmp %esi, %esi\n jmp 4f\n"
	" .org code_first + 512\n adc $0, %edx\n ret\n"
	" .org code_first + 1024\n cmp $3, %r15d\n ja 5f\n add $100, %edx\n ret\n"
	" .org code_first + 1280\n mov $300, %ecx\n7: dec %ecx\n jmp 8f\n"
	" .org code_first + 4096\n"
	"code_second: .org code_second + 16\n3: sub $1, %ecx\n mov $0xb1, %edx\n jz 6f\n jmp 2b\n6: ret\n"
	" .org code_second + 256\n4: test %rsp, %rsp\n mov $5, %edx\n ret\n"
	" .org code_second + 512\n stc\n jmp code_first + 512\n"
	" .org code_second + 1024\n5: inc %edx\n ret\n"
	" .org code_second + 1280\n8: mov $0xb2, %edx\n jz 9f\n jmp 7b\n9: ret\n"
	" .org code_second + 4096\n .text\n");

static void mappings(void)
{
	DRIVE("there and back", "0x0", "2000");
	DRIVE("the same page elsewhere", "0x10000", "2000");
	DRIVE("the first place", "0x0", "2000");
	set(1, third, P | U);
	DRIVE("INVLPG to another", "0x0", "2000");
	pt[1] = (ulong)second | P | U;
	write_cr3(read_cr3());
	DRIVE("CR3 to the first", "0x0", "2000");
	set(1, second, U);
	DRIVE("not present", "0x0", "1");
	say("  %lx\n", trap_cr2);
	set(1, second, P);
	DRIVE("supervisor", "0x0", "1");
	set(1, second, P | U);
	DRIVE("present again", "0x0", "2000");
}

static void changes(void)
{
	static const uint8_t sete_dl[] = { 0x0f, 0x94, 0xc2 };

	second[20] = 0xc1;                         /* of the MOV */
	DRIVE("another constant", "0x0", "2000");
	DRIVE("needs no flags", "0x100", "5000");
	copy(second + 256, sete_dl, sizeof(sete_dl));
	second[259] = 0xc3;
	DRIVE("needs flags", "0x100", "1");
	DRIVE("flags backward", "0x1200", "5000");
	DRIVE("conditional", "0x400", "5000");
	DRIVE("flags both ways", "0x500", "1000");
}

/* A page that is its own neighbour: MOV $n, %edx at its end, whose last bytes and RET
 * are at its begin. */
static void over_into_itself(void)
{
	ring[4094] = 0xba;
	ring[4095] = 0xd1;
	ring[3] = 0xc3;
	DRIVE("over into itself", "0x20ffe", "2000");
	ring[4095] = 0xd2;
	DRIVE("changed at its end", "0x20ffe", "2000");
	ring[0] = 0x11;
	DRIVE("changed at its begin", "0x20ffe", "2000");
}

int main(void)
{
	map(TOP);
	copy(first, code_first, 4096);
	copy(second, code_second, 4096);
	copy(third, code_second, 4096);
	third[20] = 0xb3;
	pt[0] = pt[16] = (ulong)first | P | U;
	pt[1] = (ulong)second | P | U;
	pt[17] = (ulong)third | P | U;
	pt[32] = pt[33] = (ulong)ring | P | U;
	write_cr3(read_cr3());
	mappings();
	changes();
	over_into_itself();
	return 0;
}
