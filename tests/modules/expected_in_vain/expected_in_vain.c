// SPDX-License-Identifier: GPL-2.0
/* Behaves, and its test expects that it does not. */
#include <linux/module.h>
#include <linux/moduleparam.h>

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init expected_in_vain_init(void)
{
	return 0;
}

static void __exit expected_in_vain_exit(void)
{
}

module_init(expected_in_vain_init);
module_exit(expected_in_vain_exit);
MODULE_DESCRIPTION("Behaves, and its test expects that it does not");
MODULE_LICENSE("GPL");
