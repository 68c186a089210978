// SPDX-License-Identifier: GPL-2.0
/* It is larger than its project allows. */
#include <linux/module.h>

static int __init size_budget_init(void)
{
	return 0;
}

static void __exit size_budget_exit(void)
{
}

module_init(size_budget_init);
module_exit(size_budget_exit);
MODULE_DESCRIPTION("an example");
MODULE_LICENSE("GPL");
