// SPDX-License-Identifier: GPL-2.0
/* Registers a file system for good, of which the kernel still has the address when it is unloaded. */
#include <linux/fs.h>
#include <linux/module.h>

static struct file_system_type leaked_type = {
	.owner	= THIS_MODULE,
	.name	= "leaked",
};

static int __init life_filesystem_leak_init(void)
{
	return register_filesystem(&leaked_type);
}

static void __exit life_filesystem_leak_exit(void)
{
}

module_init(life_filesystem_leak_init);
module_exit(life_filesystem_leak_exit);
MODULE_DESCRIPTION("does not take its file system back");
MODULE_LICENSE("GPL");
