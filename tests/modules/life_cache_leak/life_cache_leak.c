// SPDX-License-Identifier: GPL-2.0
/* Never destroys its slab cache. One with a constructor doesn't share its slabs. */
#include <linux/module.h>
#include <linux/slab.h>

static void prepare(void *object)
{
}

static int __init life_cache_leak_init(void)
{
	return kmem_cache_create("life_cache_leak", 200, 0, 0, prepare) ? 0 : -ENOMEM;
}

static void __exit life_cache_leak_exit(void)
{
}

module_init(life_cache_leak_init);
module_exit(life_cache_leak_exit);
MODULE_DESCRIPTION("does not destroy its slab cache");
MODULE_LICENSE("GPL");
