// SPDX-License-Identifier: GPL-2.0-only
	.section .case.comment
passed_over:
	.quad 0
