// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl case_call
	.type case_call, @function
case_call:
	sub $8, %rsp
	call *%rax
	add $8, %rsp
	ret
	.size case_call, . - case_call
	.globl case_jump
	.type case_jump, @function
case_jump:
	jmp *8(%rdi)
	.size case_jump, . - case_jump
