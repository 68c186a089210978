// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	ret
	.size init_module, . - init_module
	.data
	.quad gone
	.section .case.comment,"a"
gone:
	.quad 0
	.quad gone
