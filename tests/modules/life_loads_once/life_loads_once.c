// SPDX-License-Identifier: GPL-2.0
/* Leaves a mark in the kernel by which its next init knows that it is not the first. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/panic.h>

static int __init life_loads_once_init(void)
{
	if (panic_timeout == 77) {
		pr_err("life_loads_once: not again\n");
		return -EBUSY;
	}
	return 0;
}

static void __exit life_loads_once_exit(void)
{
	panic_timeout = 77;
}

module_init(life_loads_once_init);
module_exit(life_loads_once_exit);
MODULE_DESCRIPTION("can be loaded once");
MODULE_LICENSE("GPL");
