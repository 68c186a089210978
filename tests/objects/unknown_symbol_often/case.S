// SPDX-License-Identifier: GPL-2.0-only
	.irp tens, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	.irp ones, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
	.globl nowhere_\tens\()_\ones
	.endr
	.endr
