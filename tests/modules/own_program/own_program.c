// SPDX-License-Identifier: GPL-2.0
/* Does nothing: what matters is how it is tested. */
#include <linux/module.h>

static int __init own_program_init(void)
{
	return 0;
}
module_init(own_program_init);

static void __exit own_program_exit(void)
{
}
module_exit(own_program_exit);

MODULE_DESCRIPTION("is tested by a script of its own");
MODULE_LICENSE("GPL");
