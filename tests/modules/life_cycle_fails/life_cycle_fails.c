// SPDX-License-Identifier: GPL-2.0
/* Counts its lives in a variable of the kernel's, which is -1 in vexlab's machines, and refuses at the ninth. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/panic.h>

static int __init life_cycle_fails_init(void)
{
	return panic_timeout < 9 ? 0 : -ENOSPC;
}

static void __exit life_cycle_fails_exit(void)
{
	panic_timeout++;
}

module_init(life_cycle_fails_init);
module_exit(life_cycle_fails_exit);
MODULE_DESCRIPTION("has few lives");
MODULE_LICENSE("GPL");
