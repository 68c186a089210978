# SPDX-License-Identifier: GPL-2.0-only
# Calls functions that go through a global offset table, each with some numbers, and writes down the result and
# the status flags: CF, PF, ZF, SF and OF. AF is left out, because logical instructions leave it undefined.

	.section .rodata.table, "a"
table:

	.macro function name
	.pushsection .rodata.table, "a"
	.quad \name
	.popsection
	.type \name, @function
\name:
	.endm

	.macro arithmetic operation
	function \operation\()_low
	bt $0, %rdi
	\operation\()q datum@GOTPCREL(%rip), %rdi
	mov %rdi, %rax
	ret
	function \operation\()_high
	mov %rdi, %r13
	bt $0, %rdi
	\operation\()q datum@GOTPCREL(%rip), %r13
	mov %r13, %rax
	ret
	function \operation\()_half
	bt $0, %rdi
	\operation\()l datum@GOTPCREL(%rip), %edi
	mov %rdi, %rax
	ret
	.endm

	.macro load register
	function load_\register
	movq datum@GOTPCREL(%rip), %\register
	mov %\register, %rax
	ret
	.endm

	.text
	.globl _start
_start:
	lea table(%rip), %r14
	lea results(%rip), %r15
each:
	mov (%r14), %r12
	test %r12, %r12
	jz done
	lea numbers(%rip), %rbp
	mov $6, %ebx
call:
	mov (%rbp), %rdi
	push %rbp
	push %r14
	call *%r12
	pushf
	pop %rcx
	pop %r14
	pop %rbp
	and $0x8c5, %ecx
	mov %rax, (%r15)
	mov %rcx, 8(%r15)
	add $16, %r15
	add $8, %rbp
	dec %ebx
	jnz call
	add $8, %r14
	jmp each
done:
	mov $1, %eax
	mov $1, %edi
	lea results(%rip), %rsi
	mov %r15, %rdx
	sub %rsi, %rdx
	syscall
	mov $60, %eax
	xor %edi, %edi
	syscall

	arithmetic adc
	arithmetic add
	arithmetic and
	arithmetic cmp
	arithmetic or
	arithmetic sbb
	arithmetic sub
	arithmetic xor
	load rax
	load rcx
	load rsi
	load r8
	load r11
	load r13
	function load_half
	movl datum@GOTPCREL(%rip), %eax
	ret
	function load_high_half
	movl datum@GOTPCREL(%rip), %r9d
	mov %r9, %rax
	ret
	function test_low
	testq %rdi, datum@GOTPCREL(%rip)
	ret
	function test_high
	mov %rdi, %r10
	testq %r10, datum@GOTPCREL(%rip)
	ret
	function call_it
	call *thrice@GOTPCREL(%rip)
	inc %rax
	ret
	function jump_to_it
	jmp *thrice@GOTPCREL(%rip)
	function push_it
	push datum@GOTPCREL(%rip)
	pop %rax
	ret
	function load_missing
	movq missing@GOTPCREL(%rip), %rax
	ret
	function load_missing_high
	movq missing@GOTPCREL(%rip), %r9
	mov %r9, %rax
	ret
	function load_number
	movq a_number@GOTPCREL(%rip), %rax
	ret
	function add_number
	addq a_number@GOTPCREL(%rip), %rdi
	mov %rdi, %rax
	ret

	.type thrice, @function
thrice:
	lea (%rdi,%rdi,2), %rax
	test %rax, %rax
	ret

	.weak missing
	.globl a_number
	.set a_number, 0x1234567
	.section .rodata.table
	.quad 0
	.section .rodata
numbers:
	.quad 0, 1, 0x601000, 0xffffffffff9ff000, 0x8000000000000000, 0x123456789abcdef0
	.data
	.balign 4096
	.skip 4096
datum:
	.quad 1
	.bss
results:
	.skip 65536
