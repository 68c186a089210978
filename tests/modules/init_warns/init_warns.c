// SPDX-License-Identifier: GPL-2.0
/* Works, but not without a warning of the kernel. */
#include <linux/bug.h>
#include <linux/module.h>

static int __init init_warns_init(void)
{
	WARN_ON(1);
	return 0;
}

static void __exit init_warns_exit(void)
{
}

module_init(init_warns_init);
module_exit(init_warns_exit);
MODULE_DESCRIPTION("makes the kernel warn");
MODULE_LICENSE("GPL");
