// SPDX-License-Identifier: GPL-2.0
/* Never frees what it allocates. */
#include <linux/module.h>
#include <linux/slab.h>

static int __init life_kmalloc_leak_init(void)
{
	return kmalloc(1000, GFP_KERNEL) ? 0 : -ENOMEM;
}

static void __exit life_kmalloc_leak_exit(void)
{
}

module_init(life_kmalloc_leak_init);
module_exit(life_kmalloc_leak_exit);
MODULE_DESCRIPTION("does not free what it allocates");
MODULE_LICENSE("GPL");
