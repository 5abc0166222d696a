/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry from a multiboot loader, the way to 64-bit mode (4 GiB mapped one to
 * one with 2 MiB pages, user-accessible), and the trap stubs. */
	.section .multiboot, "a"
	.long 0x1badb002, 0, -0x1badb002

	.text
	.code32
	.globl _start
_start:
	cld
	mov	$page_tables, %edi          /* PML4, PDPT, 4 page directories */
	lea	0x1007(%edi), %eax
	mov	%eax, (%edi)
	lea	0x2007(%edi), %eax
	mov	$4, %ecx
	lea	0x1000(%edi), %edx
1:	mov	%eax, (%edx)
	add	$0x1000, %eax
	add	$8, %edx
	loop	1b
	mov	$0x87, %eax
	mov	$2048, %ecx
	lea	0x2000(%edi), %edx
1:	mov	%eax, (%edx)
	add	$0x200000, %eax
	add	$8, %edx
	loop	1b
	mov	%edi, %cr3
	mov	%cr4, %eax
	or	$0x20, %eax
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80010000, %eax           /* PG, WP */
	mov	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$0x08, $1f
	.code64
1:	mov	$kernel_stack, %rsp
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	call	lib_setup
	lgdt	gdtr
	lidt	idtr
	pushq	$0x08
	pushq	$1f
	lretq
1:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$0x28, %eax
	ltr	%ax
	call	main
	mov	%eax, %edi
	call	quit

	.balign 16
	.globl trap_stubs
trap_stubs:
	.set	n, 0
	.rept	256
	.balign	16
	.if	n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
	.else
	pushq	$0
	.endif
	pushq	$n
	jmp	trap_common
	.set	n, n + 1
	.endr

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rsi
	mov	$trap, %edi
	mov	$22, %ecx
	rep	movsq
	mov	%ds, %eax
	movzwl	%ax, %eax
	mov	%rax, trap_ds
	mov	%es, %eax
	movzwl	%ax, %eax
	mov	%rax, trap_es
	incq	trap_count
	mov	%cr2, %rax
	mov	%rax, trap_cr2
	mov	%dr6, %rax
	mov	%rax, trap_dr6
	mov	trap_hook, %rax
	test	%rax, %rax
	jz	1f
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	*%rax
	mov	%rbp, %rsp
	test	%al, %al
	jz	1f
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq
1:	mov	trap_resume, %rdx
	test	%rdx, %rdx
	jz	trap_unexpected
	movq	$0, trap_resume
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	trap_sp, %rsp
	mov	trap_bp, %rbp
	pushq	$2
	popfq
	jmp	*%rdx

	.data
	.balign 8
boot_gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdtr:
	.word	23
	.quad	boot_gdt

	.bss
	.balign 4096
	.globl page_tables
page_tables:
	.skip	6 * 4096
	.skip	8192
	.globl kernel_stack
kernel_stack:
	.skip	128
	.balign 4096
	.skip	4096
	.globl trap_stack
trap_stack:
	.skip	128
	.balign 4096
	.skip	4096
	.globl user_stack
user_stack:
	.skip	128
	.section .note.GNU-stack, "", @progbits
