// SPDX-License-Identifier: GPL-2.0
/* One of its tests oopses. */
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

static int __init ktests_oops_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_oops_exit(void)
{
	ktest_exit();
}

module_init(ktests_oops_init);
module_exit(ktests_oops_exit);
MODULE_DESCRIPTION("one of its tests oopses");
MODULE_LICENSE("GPL");
