// SPDX-License-Identifier: GPL-2.0
/* Its init fails with the error that a module gets which is loaded already. */
#include <linux/module.h>

static int __init init_exists_init(void)
{
	return -EEXIST;
}
module_init(init_exists_init);

static void __exit init_exists_exit(void)
{
}
module_exit(init_exists_exit);

MODULE_DESCRIPTION("says that it is there already");
MODULE_LICENSE("GPL");
