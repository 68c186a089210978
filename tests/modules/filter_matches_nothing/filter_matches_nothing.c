// SPDX-License-Identifier: GPL-2.0
/* Does nothing: what matters is how it is tested. */
#include <linux/module.h>

static int __init filter_matches_nothing_init(void)
{
	return 0;
}
module_init(filter_matches_nothing_init);

static void __exit filter_matches_nothing_exit(void)
{
}
module_exit(filter_matches_nothing_exit);

MODULE_DESCRIPTION("has a test that nobody asks for");
MODULE_LICENSE("GPL");
