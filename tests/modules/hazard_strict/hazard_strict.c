// SPDX-License-Identifier: GPL-2.0
/* It has a constructor, which this kernel never runs, and its project has no patience with that. */
#include <linux/module.h>

static int hazard_strict_set;

static void __attribute__((constructor)) hazard_strict_construct(void)
{
	hazard_strict_set = 1;
}

static int __init hazard_strict_init(void)
{
	pr_info("set: %d\n", hazard_strict_set);
	return 0;
}

static void __exit hazard_strict_exit(void)
{
}

module_init(hazard_strict_init);
module_exit(hazard_strict_exit);
MODULE_DESCRIPTION("a constructor");
MODULE_LICENSE("GPL");
