// SPDX-License-Identifier: GPL-2.0-only
// As module_param makes it: the name, the module, what reads and writes it, and where it is.
	.section .rodata
name:
	.asciz "limit"
	.data
limit:
	.quad 0
	.section __param,"aw"
	.quad name
	.quad 0
	.quad param_ops_int
	.long 0644, 0
	.quad limit
	.zero 40
