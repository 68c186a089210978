// SPDX-License-Identifier: GPL-2.0-only
	.globl case_number
	.set case_number, 42
	.text
	.globl init_module
	.type init_module, @function
init_module:
	mov $case_number, %eax
	ret
	.size init_module, . - init_module
