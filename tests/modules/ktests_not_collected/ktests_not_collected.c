// SPDX-License-Identifier: GPL-2.0
/* Its link leaves out what collects its tests. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/module.h>

#include <vexlab/ktest_main.h>

KTEST(passes, test)
{
}

static int __init ktests_not_collected_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_not_collected_exit(void)
{
	ktest_exit();
}

module_init(ktests_not_collected_init);
module_exit(ktests_not_collected_exit);
MODULE_DESCRIPTION("its link leaves out what collects its tests");
MODULE_LICENSE("GPL");
