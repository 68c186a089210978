// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	fninit
	fxsave (%rdi)
	stmxcsr (%rsi)
movd_like:
	mov %rdi, %rax
	ret
	.size init_module, . - init_module
