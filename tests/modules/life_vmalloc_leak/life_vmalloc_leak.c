// SPDX-License-Identifier: GPL-2.0
/* Never frees its vmalloc() memory. */
#include <linux/module.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

/* Not in init: init's functions are gone when the kernel is asked who they were. */
static noinline void *take(void)
{
	void *memory = vmalloc(3 * PAGE_SIZE);

	/* With something left to do this is the function that vmalloc() is called from. */
	if (memory)
		memset(memory, 0, PAGE_SIZE);
	return memory;
}

static int __init life_vmalloc_leak_init(void)
{
	return take() ? 0 : -ENOMEM;
}

static void __exit life_vmalloc_leak_exit(void)
{
}

module_init(life_vmalloc_leak_init);
module_exit(life_vmalloc_leak_exit);
MODULE_DESCRIPTION("does not free its vmalloc() memory");
MODULE_LICENSE("GPL");
