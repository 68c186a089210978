// SPDX-License-Identifier: GPL-2.0
/* Runs on two processors. */
#include <linux/module.h>

static int __init two_processors_init(void)
{
	return 0;
}

static void __exit two_processors_exit(void)
{
}

module_init(two_processors_init);
module_exit(two_processors_exit);
MODULE_DESCRIPTION("runs on two processors");
MODULE_LICENSE("GPL");
