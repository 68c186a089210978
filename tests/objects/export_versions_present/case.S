// SPDX-License-Identifier: GPL-2.0-only
// As EXPORT_SYMBOL and the kernel's linker script make it.
	.text
	.globl case_open
	.type case_open, @function
case_open:
	ret
	.size case_open, . - case_open
	.section __ksymtab_strings,"aMS",@progbits,1
__kstrtab_case_open:
	.asciz "case_open"
__kstrtabns_case_open:
	.asciz ""
	.section __ksymtab,"a"
__ksymtab_case_open:
	.long case_open - .
	.long __kstrtab_case_open - .
	.long __kstrtabns_case_open - .
	.section __kcrctab,"a"
	.long 0x12345678
