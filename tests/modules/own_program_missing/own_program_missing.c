// SPDX-License-Identifier: GPL-2.0
/* Does nothing: what matters is how it is tested. */
#include <linux/module.h>

static int __init own_program_missing_init(void)
{
	return 0;
}
module_init(own_program_missing_init);

static void __exit own_program_missing_exit(void)
{
}
module_exit(own_program_missing_exit);

MODULE_DESCRIPTION("is to be tested by a program that nobody has built");
MODULE_LICENSE("GPL");
