/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry from a multiboot loader (32-bit protected mode), and the trap stubs. */
	.section .multiboot, "a"
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	cld
	mov	$kernel_stack, %esp
	call	lib_setup
	lgdt	gdtr
	lidt	idtr
	ljmp	$0x08, $1f
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
	push	%eax
	call	quit

	.balign 16
	.globl trap_stubs
trap_stubs:
	.set	n, 0
	.rept	256
	.balign	16
	.if	n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
	.else
	pushl	$0
	.endif
	pushl	$n
	jmp	trap_common
	.set	n, n + 1
	.endr

trap_common:
	pushal
	mov	%ds, %ebx
	mov	%es, %ebp
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	cld
	mov	%esp, %esi
	mov	$trap, %edi
	mov	$19, %ecx
	rep	movsl
	movzwl	%bx, %ebx
	mov	%ebx, trap_ds
	movzwl	%bp, %ebp
	mov	%ebp, trap_es
	incl	trap_count
	mov	%cr2, %eax
	mov	%eax, trap_cr2
	mov	%dr6, %eax
	mov	%eax, trap_dr6
	mov	trap_hook, %eax
	test	%eax, %eax
	jz	1f
	push	%esp
	call	*%eax
	add	$4, %esp
	test	%al, %al
	jz	1f
	popal
	add	$8, %esp
	iretl
1:	mov	trap_resume, %edx
	test	%edx, %edx
	jz	trap_unexpected
	movl	$0, trap_resume
	mov	$0x10, %eax
	mov	%eax, %ss
	mov	trap_sp, %esp
	mov	trap_bp, %ebp
	pushl	$2
	popfl
	jmp	*%edx

	.bss
	.balign 4096
	.skip	8192
	.globl kernel_stack
kernel_stack:
	.skip	64
	.balign 4096
	.skip	4096
	.globl trap_stack
trap_stack:
	.skip	64
	.balign 4096
	.skip	4096
	.globl user_stack
user_stack:
	.skip	64
	.section .note.GNU-stack, "", @progbits
