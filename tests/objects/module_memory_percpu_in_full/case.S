// SPDX-License-Identifier: GPL-2.0-only
	.section .data..percpu,"aw"
	.zero 8192
