// SPDX-License-Identifier: GPL-2.0
/* Its test never ends. */
#include <linux/module.h>

static int __init test_hangs_init(void)
{
	return 0;
}

static void __exit test_hangs_exit(void)
{
}

module_init(test_hangs_init);
module_exit(test_hangs_exit);
MODULE_DESCRIPTION("a test hangs");
MODULE_LICENSE("GPL");
