// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	xor %eax, %eax
	ret
	.size init_module, . - init_module
	.data
in_data:
	.quad 0
// As modpost makes it: the state and the list, the name, the function that is run first.
	.section .gnu.linkonce.this_module,"aw"
	.zero 24
	.asciz "case"
	.org 312
	.quad init_module
	.org 1280
