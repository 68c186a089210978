// SPDX-License-Identifier: GPL-2.0-only
	.text
	.type _ZN4case3nth17h0123456789abcdefE, @function
_ZN4case3nth17h0123456789abcdefE:
	call _ZN4core9panicking5panic17h0123456789abcdefE
	.size _ZN4case3nth17h0123456789abcdefE, . - _ZN4case3nth17h0123456789abcdefE
	.section .rodata,"a"
	.globl case_operations
case_operations:
	.quad _ZN4case3nth17h0123456789abcdefE
