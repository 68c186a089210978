// SPDX-License-Identifier: GPL-2.0
/* Does nothing: what matters is how it is tested. */
#include <linux/module.h>

static int __init flaky_init(void)
{
	return 0;
}
module_init(flaky_init);

static void __exit flaky_exit(void)
{
}
module_exit(flaky_exit);

MODULE_DESCRIPTION("is tested by tests that depend on each other");
MODULE_LICENSE("GPL");
