// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl case_0
	.type case_0, @function
case_0:
	sub $2000, %rsp
	call case_1
	add $2000, %rsp
	ret
	.size case_0, . - case_0
	.globl case_1
	.type case_1, @function
case_1:
	sub $2000, %rsp
	call case_2
	add $2000, %rsp
	ret
	.size case_1, . - case_1
	.globl case_2
	.type case_2, @function
case_2:
	sub $2000, %rsp
	call case_3
	add $2000, %rsp
	ret
	.size case_2, . - case_2
	.globl case_3
	.type case_3, @function
case_3:
	sub $2000, %rsp
	call case_4
	add $2000, %rsp
	ret
	.size case_3, . - case_3
	.globl case_4
	.type case_4, @function
case_4:
	sub $2000, %rsp
	add $2000, %rsp
	ret
	.size case_4, . - case_4
