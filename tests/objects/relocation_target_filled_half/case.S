// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	ret
	.size init_module, . - init_module
	.data
	.quad 0, 0
	.reloc 0, R_X86_64_64, init_module
	.reloc 4, R_X86_64_PC32, init_module
