// SPDX-License-Identifier: GPL-2.0
/* Reading its parameter ends in BUG(). */
#include <linux/bug.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static int trigger_get(char *buffer, const struct kernel_param *kp)
{
	BUG();
}

static const struct kernel_param_ops trigger_ops = { .get = trigger_get };

module_param_cb(trigger, &trigger_ops, NULL, 0444);
MODULE_DESCRIPTION("oopses in one of its tests");
MODULE_LICENSE("GPL");
