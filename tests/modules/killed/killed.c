// SPDX-License-Identifier: GPL-2.0
/* Does nothing: what matters is how it is tested. */
#include <linux/module.h>

static int __init killed_init(void)
{
	return 0;
}
module_init(killed_init);

static void __exit killed_exit(void)
{
}
module_exit(killed_exit);

MODULE_DESCRIPTION("has a disk that outlives its machine");
MODULE_LICENSE("GPL");
