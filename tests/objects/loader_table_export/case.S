// SPDX-License-Identifier: GPL-2.0-only
	.section __ksymtab,"a"
__ksymtab_case_open:
	.long 0, 0, 0
	.section __kcrctab,"a"
	.long 0x12345678
