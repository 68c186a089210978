// SPDX-License-Identifier: GPL-2.0
/* Refuses a value by an error that says nothing of it. */
#include <linux/module.h>
#include <linux/moduleparam.h>

static int set(const char *text, const struct kernel_param *parameter)
{
	int number;

	return kstrtoint(text, 0, &number) ? -EIO : 0;
}

static const struct kernel_param_ops ops = {
	.set = set,
};

module_param_cb(level, &ops, NULL, 0);
__MODULE_PARM_TYPE(level, "int");

static int __init life_parameter_error_init(void)
{
	return 0;
}

static void __exit life_parameter_error_exit(void)
{
}

module_init(life_parameter_error_init);
module_exit(life_parameter_error_exit);
MODULE_DESCRIPTION("refuses a value by a wrong error");
MODULE_LICENSE("GPL");
