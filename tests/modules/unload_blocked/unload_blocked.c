// SPDX-License-Identifier: GPL-2.0
/* Holds a reference on itself that it never gives back. */
#include <linux/module.h>

static int __init unload_blocked_init(void)
{
	__module_get(THIS_MODULE);
	return 0;
}

static void __exit unload_blocked_exit(void)
{
}

module_init(unload_blocked_init);
module_exit(unload_blocked_exit);
MODULE_DESCRIPTION("can't be unloaded");
MODULE_LICENSE("GPL");
