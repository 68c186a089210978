// SPDX-License-Identifier: GPL-2.0
/* Nothing is wrong with it. */
#include <linux/module.h>

static int __init good_c_init(void)
{
	return 0;
}

static void __exit good_c_exit(void)
{
}

module_init(good_c_init);
module_exit(good_c_exit);
MODULE_DESCRIPTION("a good module in C");
MODULE_LICENSE("GPL");
