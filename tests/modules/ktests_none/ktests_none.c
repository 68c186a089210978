// SPDX-License-Identifier: GPL-2.0
/* A module that could have tests and has none. */
#include <linux/module.h>

#include <vexlab/ktest_main.h>

static int __init ktests_none_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_none_exit(void)
{
	ktest_exit();
}

module_init(ktests_none_init);
module_exit(ktests_none_exit);
MODULE_DESCRIPTION("a module that could have tests and has none");
MODULE_LICENSE("GPL");
