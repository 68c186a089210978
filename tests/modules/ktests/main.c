// SPDX-License-Identifier: GPL-2.0
/* A module with tests in C: two pass, one fails, one skips, one says too much. */
#include <linux/module.h>

#include <vexlab/ktest_main.h>

static int __init ktests_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_exit(void)
{
	ktest_exit();
}

KTEST(is_there, test)
{
	KTEST_EXPECT_STREQ(test, KBUILD_MODNAME, "ktests");
}

module_init(ktests_init);
module_exit(ktests_exit);
MODULE_DESCRIPTION("tests in C");
MODULE_LICENSE("GPL");
