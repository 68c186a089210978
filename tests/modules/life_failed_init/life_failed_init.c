// SPDX-License-Identifier: GPL-2.0
/* Leaves its folder in /proc where init fails for want of memory. */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>

static unsigned long fail_alloc;
static void *memory;

/* As docs/quick-start.md has it: it counts down, and what it gets to 0 with fails. */
module_param(fail_alloc, ulong, 0400);

static void *allocate(void)
{
	if (fail_alloc && !--fail_alloc)
		return NULL;
	return kmalloc(64, GFP_KERNEL);
}

static int __init life_failed_init_init(void)
{
	void *more;

	memory = allocate();
	if (!memory)
		return -ENOMEM;
	if (!proc_mkdir("life_failed_init", NULL))
		goto out;
	more = allocate();
	if (!more)
		goto out;
	kfree(more);
	return 0;
out:
	kfree(memory);
	return -ENOMEM;
}

static void __exit life_failed_init_exit(void)
{
	remove_proc_entry("life_failed_init", NULL);
	kfree(memory);
}

module_init(life_failed_init_init);
module_exit(life_failed_init_exit);
MODULE_DESCRIPTION("does not take all back where init fails");
MODULE_LICENSE("GPL");
