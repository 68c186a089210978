// SPDX-License-Identifier: GPL-2.0
/* One of its tests oopses, as it is to. */
#include <linux/module.h>

#include <vexlab/ktest_main.h>

static void *nowhere;

KTEST(before, test)
{
}

KTEST(oopses, test)
{
	*(int *)READ_ONCE(nowhere) = 1;
}

KTEST(then, test)
{
}

static int __init ktests_expected_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_expected_exit(void)
{
	ktest_exit();
}

module_init(ktests_expected_init);
module_exit(ktests_expected_exit);
MODULE_DESCRIPTION("one of its tests oopses on purpose");
MODULE_LICENSE("GPL");
