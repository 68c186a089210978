// SPDX-License-Identifier: GPL-2.0-only
	.section .init.data,"aw"
	.quad 1
	.data
	.globl case_names
case_names:
	.quad .init.data
