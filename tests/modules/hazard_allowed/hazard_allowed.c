// SPDX-License-Identifier: GPL-2.0
/* It has a constructor, which this kernel never runs, and its project knows. */
#include <linux/module.h>

static int hazard_allowed_set;

static void __attribute__((constructor)) hazard_allowed_construct(void)
{
	hazard_allowed_set = 1;
}

static int __init hazard_allowed_init(void)
{
	pr_info("set: %d\n", hazard_allowed_set);
	return 0;
}

static void __exit hazard_allowed_exit(void)
{
}

module_init(hazard_allowed_init);
module_exit(hazard_allowed_exit);
MODULE_DESCRIPTION("a constructor");
MODULE_LICENSE("GPL");
