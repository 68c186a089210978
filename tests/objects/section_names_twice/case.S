// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	ret
	.size init_module, . - init_module
	.section .case.first,"a"
	.quad 0
	.section .case.second,"a"
	.quad 0
	.section .case.empty,"a"
	.section .case.comment
	.quad 0
