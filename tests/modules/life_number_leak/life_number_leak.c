// SPDX-License-Identifier: GPL-2.0
/* Never gives its device number back. */
#include <linux/fs.h>
#include <linux/module.h>

static int __init life_number_leak_init(void)
{
	dev_t number;

	return alloc_chrdev_region(&number, 0, 1, "life_number");
}

static void __exit life_number_leak_exit(void)
{
}

module_init(life_number_leak_init);
module_exit(life_number_leak_exit);
MODULE_DESCRIPTION("does not give its device number back");
MODULE_LICENSE("GPL");
