// SPDX-License-Identifier: GPL-2.0
/* It says more than the kernel's log can hold until somebody reads it. */
#include <linux/module.h>

static int __init log_flooded_init(void)
{
	int i;

	for (i = 0; i < 20000; i++)
		pr_info("line %d of too many of them, none of which says anything\n", i);
	return 0;
}

static void __exit log_flooded_exit(void)
{
}

module_init(log_flooded_init);
module_exit(log_flooded_exit);
MODULE_DESCRIPTION("a module that says too much");
MODULE_LICENSE("GPL");
