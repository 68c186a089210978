// SPDX-License-Identifier: GPL-2.0
/* Adds an element to a list twice. */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static LIST_HEAD(list);
static struct list_head element;

static noinline void add_twice(void)
{
	list_add(&element, &list);
	list_add(&element, &list);
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	add_twice();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init list_broken_init(void)
{
	return 0;
}

static void __exit list_broken_exit(void)
{
}

module_init(list_broken_init);
module_exit(list_broken_exit);
MODULE_DESCRIPTION("Adds an element to a list twice");
MODULE_LICENSE("GPL");
