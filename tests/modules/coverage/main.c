// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <linux/version.h>
#include "halves.h"

/* What is written is halved. */
static int number_set(const char *text, const struct kernel_param *kp)
{
	u64 number;

	if (kstrtou64(text, 0, &number))
		return -EINVAL;
	if (number > 100)
		return -ERANGE;
	*(unsigned long *)kp->arg = halves_of(number);
	return 0;
}

static const struct kernel_param_ops number_ops = {
	.set = number_set,
	.get = param_get_ulong,
};

static unsigned long number;
module_param_cb(number, &number_ops, &number, 0600);

static int __init halves_init(void)
{
	if (LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0))
		number = halves_on_old();
	else
		number = halves_on_new();
	return 0;
}

static void __exit halves_exit(void)
{
	number = 0;
}

module_init(halves_init);
module_exit(halves_exit);
MODULE_DESCRIPTION("Lines that some tests run, and others don't");
MODULE_LICENSE("GPL");
