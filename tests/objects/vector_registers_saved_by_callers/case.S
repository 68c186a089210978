// SPDX-License-Identifier: GPL-2.0-only
	.text
	.type case_clear, @function
case_clear:
	pxor %xmm0, %xmm0
	ret
	.size case_clear, . - case_clear
	.type case_between, @function
case_between:
	jmp case_clear
	.size case_between, . - case_between
	.globl case_one
	.type case_one, @function
case_one:
	call kernel_fpu_begin_mask
	call case_between
	jmp kernel_fpu_end
	.size case_one, . - case_one
	.globl case_other
	.type case_other, @function
case_other:
	call kernel_fpu_begin_mask
	call case_clear
	jmp kernel_fpu_end
	.size case_other, . - case_other
