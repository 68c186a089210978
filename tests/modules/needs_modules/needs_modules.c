// SPDX-License-Identifier: GPL-2.0
/* Wants a module of the kernel beside it, and does not say so itself. */
#include <linux/module.h>

static int __init needs_modules_init(void)
{
	return 0;
}

static void __exit needs_modules_exit(void)
{
}

module_init(needs_modules_init);
module_exit(needs_modules_exit);
MODULE_DESCRIPTION("needs another module");
MODULE_LICENSE("GPL");
