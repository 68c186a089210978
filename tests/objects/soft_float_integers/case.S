// SPDX-License-Identifier: GPL-2.0-only
	.text
	.globl init_module
	.type init_module, @function
init_module:
	call __udivti3
	jmp __fix_to_virt
	.size init_module, . - init_module
