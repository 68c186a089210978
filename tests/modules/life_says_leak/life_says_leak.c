// SPDX-License-Identifier: GPL-2.0
/* Keeps an account of its memory, and says who did not give some back. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static unsigned long caller;

static noinline void *allocate(size_t size)
{
	caller = _RET_IP_;
	return kmalloc(size, GFP_KERNEL);
}

/* Not in init, whose functions are gone when the module goes. */
static noinline int remember(void)
{
	void *memory = allocate(64);

	return memory ? 0 : -ENOMEM;
}

static int __init life_says_leak_init(void)
{
	return remember();
}

static void __exit life_says_leak_exit(void)
{
	pr_warn("life_says_leak: leak: 64 bytes at %pS\n", (void *)caller);
}

module_init(life_says_leak_init);
module_exit(life_says_leak_exit);
MODULE_DESCRIPTION("says that it leaks");
MODULE_LICENSE("GPL");
