// SPDX-License-Identifier: GPL-2.0-only
	.text
	.type case_clear, @function
case_clear:
	pxor %xmm0, %xmm0
	ret
	.size case_clear, . - case_clear
	.globl case_one
	.type case_one, @function
case_one:
	call kernel_fpu_begin_mask
	call case_clear
	jmp kernel_fpu_end
	.size case_one, . - case_one
	.section .rodata,"a"
	.globl case_operations
case_operations:
	.quad case_clear
