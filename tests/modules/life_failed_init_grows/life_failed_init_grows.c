// SPDX-License-Identifier: GPL-2.0
/* Keeps the first allocation where the second fails. */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

static unsigned long fail_alloc;
static void *first;
static void *second;

module_param(fail_alloc, ulong, 0400);

static void *allocate(void)
{
	if (fail_alloc && !--fail_alloc)
		return NULL;
	return kmalloc(1000, GFP_KERNEL);
}

static int __init life_failed_init_grows_init(void)
{
	first = allocate();
	if (!first)
		return -ENOMEM;
	second = allocate();
	return second ? 0 : -ENOMEM;
}

static void __exit life_failed_init_grows_exit(void)
{
	kfree(second);
	kfree(first);
}

module_init(life_failed_init_grows_init);
module_exit(life_failed_init_grows_exit);
MODULE_DESCRIPTION("keeps memory where init fails");
MODULE_LICENSE("GPL");
