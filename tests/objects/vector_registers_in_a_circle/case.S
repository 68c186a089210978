// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl case_clear
	.type case_clear, @function
case_clear:
	pxor %xmm0, %xmm0
	test %rdi, %rdi
	je 1f
	call case_again
1:
	ret
	.size case_clear, . - case_clear
	.globl case_again
	.type case_again, @function
case_again:
	dec %rdi
	jmp case_clear
	.size case_again, . - case_again
