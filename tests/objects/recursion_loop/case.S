// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl case_twice
	.type case_twice, @function
case_twice:
	call case_loop
	jmp case_loop
	.size case_twice, . - case_twice
	.globl case_loop
	.type case_loop, @function
case_loop:
	dec %rdi
	jne case_loop
	ret
	.size case_loop, . - case_loop
