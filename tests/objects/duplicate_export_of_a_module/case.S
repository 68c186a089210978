// SPDX-License-Identifier: GPL-2.0-only
// As EXPORT_SYMBOL and the kernel's linker script make it.
	.text
	.globl fuse_abort_conn
	.type fuse_abort_conn, @function
fuse_abort_conn:
	ret
	.size fuse_abort_conn, . - fuse_abort_conn
	.section __ksymtab_strings,"aMS",@progbits,1
__kstrtab_fuse_abort_conn:
	.asciz "fuse_abort_conn"
__kstrtabns_fuse_abort_conn:
	.asciz ""
	.section __ksymtab,"a"
__ksymtab_fuse_abort_conn:
	.long fuse_abort_conn - .
	.long __kstrtab_fuse_abort_conn - .
	.long __kstrtabns_fuse_abort_conn - .
	.section __kcrctab,"a"
	.long 0x12345678
