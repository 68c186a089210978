// SPDX-License-Identifier: GPL-2.0
/* Never removes its folder in debugfs. */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/module.h>

static int __init life_debugfs_leak_init(void)
{
	return PTR_ERR_OR_ZERO(debugfs_create_dir("life_debugfs_leak", NULL));
}

static void __exit life_debugfs_leak_exit(void)
{
}

module_init(life_debugfs_leak_init);
module_exit(life_debugfs_leak_exit);
MODULE_DESCRIPTION("does not remove its folder in debugfs");
MODULE_LICENSE("GPL");
