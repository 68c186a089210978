// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	jmp return_site
	.size init_module, . - init_module
return_site:
	ret
behind:
	.data
in_data:
	.quad 0
	.section .return_sites,"a"
	.long behind - .
