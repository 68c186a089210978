// SPDX-License-Identifier: GPL-2.0
/* Takes a reference that is not there. */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/refcount.h>

static refcount_t count;

static noinline void put_twice(void)
{
	refcount_set(&count, 1);
	if (refcount_sub_and_test(2, &count))
		refcount_set(&count, 1);
	barrier();
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	put_twice();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init refcount_underflows_init(void)
{
	return 0;
}

static void __exit refcount_underflows_exit(void)
{
}

module_init(refcount_underflows_init);
module_exit(refcount_underflows_exit);
MODULE_DESCRIPTION("Takes a reference that is not there");
MODULE_LICENSE("GPL");
