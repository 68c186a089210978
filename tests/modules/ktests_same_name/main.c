// SPDX-License-Identifier: GPL-2.0
/* Two of its tests have the same name. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#define KTEST_GROUP "same"
#include <linux/module.h>

#include <vexlab/ktest_main.h>

static int __init ktests_same_name_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_same_name_exit(void)
{
	ktest_exit();
}

KTEST(adds, test)
{
}

module_init(ktests_same_name_init);
module_exit(ktests_same_name_exit);
MODULE_DESCRIPTION("two of its tests have the same name");
MODULE_LICENSE("GPL");
