// SPDX-License-Identifier: GPL-2.0
/* Has an init function and no exit function: the kernel never lets go of it. */
#include <linux/module.h>

static int __init no_exit_init(void)
{
	return 0;
}

module_init(no_exit_init);
MODULE_DESCRIPTION("has no exit function");
MODULE_LICENSE("GPL");
