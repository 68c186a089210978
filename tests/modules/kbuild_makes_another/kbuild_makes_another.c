// SPDX-License-Identifier: GPL-2.0
/* Is called otherwise than vexlab.toml says. */
#include <linux/module.h>

static int __init kbuild_makes_another_init(void)
{
	return 0;
}

static void __exit kbuild_makes_another_exit(void)
{
}

module_init(kbuild_makes_another_init);
module_exit(kbuild_makes_another_exit);
MODULE_DESCRIPTION("has another name");
MODULE_LICENSE("GPL");
