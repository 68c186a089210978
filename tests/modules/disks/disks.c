// SPDX-License-Identifier: GPL-2.0
/* Its tests use disks. */
#include <linux/module.h>

static int __init disks_init(void)
{
	return 0;
}

static void __exit disks_exit(void)
{
}

module_init(disks_init);
module_exit(disks_exit);
MODULE_DESCRIPTION("has disks");
MODULE_LICENSE("GPL");
