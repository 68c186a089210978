// SPDX-License-Identifier: GPL-2.0
/* Warns, which is allowed for the run. */
#include <linux/bug.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static noinline void warn(void)
{
	WARN_ON(1);
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	warn();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init allowed_warning_init(void)
{
	return 0;
}

static void __exit allowed_warning_exit(void)
{
}

module_init(allowed_warning_init);
module_exit(allowed_warning_exit);
MODULE_DESCRIPTION("Warns, which is allowed for the run");
MODULE_LICENSE("GPL");
