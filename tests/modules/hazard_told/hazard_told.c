// SPDX-License-Identifier: GPL-2.0
/* It has a constructor, which this kernel never runs. */
#include <linux/module.h>

static int hazard_told_set;

static void __attribute__((constructor)) hazard_told_construct(void)
{
	hazard_told_set = 1;
}

static int __init hazard_told_init(void)
{
	pr_info("set: %d\n", hazard_told_set);
	return 0;
}

static void __exit hazard_told_exit(void)
{
}

module_init(hazard_told_init);
module_exit(hazard_told_exit);
MODULE_DESCRIPTION("a constructor");
MODULE_LICENSE("GPL");
