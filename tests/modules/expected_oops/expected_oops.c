// SPDX-License-Identifier: GPL-2.0
/* Ends in BUG(), as its test expects. */
#include <linux/bug.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static noinline void misused(void)
{
	BUG();
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	misused();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init expected_oops_init(void)
{
	return 0;
}

static void __exit expected_oops_exit(void)
{
}

module_init(expected_oops_init);
module_exit(expected_oops_exit);
MODULE_DESCRIPTION("Ends in BUG(), as its test expects");
MODULE_LICENSE("GPL");
