// SPDX-License-Identifier: GPL-2.0-only
// As EXPORT_SYMBOL and the kernel's linker script make it.
	.text
	.globl kfree
	.type kfree, @function
kfree:
	ret
	.size kfree, . - kfree
	.section __ksymtab_strings,"aMS",@progbits,1
__kstrtab_kfree:
	.asciz "kfree"
__kstrtabns_kfree:
	.asciz ""
	.section __ksymtab,"a"
__ksymtab_kfree:
	.long kfree - .
	.long __kstrtab_kfree - .
	.long __kstrtabns_kfree - .
	.section __kcrctab,"a"
	.long 0x12345678
