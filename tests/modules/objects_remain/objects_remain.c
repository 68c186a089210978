// SPDX-License-Identifier: GPL-2.0
/* Destroys a cache with an object in it. */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

static void construct(void *object)
{
}

static void *volatile object;

static noinline void destroy_too_early(void)
{
	struct kmem_cache *cache = kmem_cache_create("objects_remain", 64, 8, 0, construct);

	object = kmem_cache_alloc(cache, GFP_KERNEL);
	kmem_cache_destroy(cache);
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	destroy_too_early();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init objects_remain_init(void)
{
	return 0;
}

static void __exit objects_remain_exit(void)
{
}

module_init(objects_remain_init);
module_exit(objects_remain_exit);
MODULE_DESCRIPTION("Destroys a cache with an object in it");
MODULE_LICENSE("GPL");
