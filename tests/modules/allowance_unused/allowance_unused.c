// SPDX-License-Identifier: GPL-2.0
/* Its project allows what it does not do. */
#include <linux/module.h>

static int __init allowance_unused_init(void)
{
	return 0;
}

static void __exit allowance_unused_exit(void)
{
}

module_init(allowance_unused_init);
module_exit(allowance_unused_exit);
MODULE_DESCRIPTION("an example");
MODULE_LICENSE("GPL");
