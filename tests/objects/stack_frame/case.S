// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl case_0
	.type case_0, @function
case_0:
	sub $4096, %rsp
	add $4096, %rsp
	ret
	.size case_0, . - case_0
